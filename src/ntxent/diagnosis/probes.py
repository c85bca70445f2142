"""What the probes say of an encoder, beside raw pixels and the encoder before training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

__all__ = ["ProbeVerdict", "deciding_probe", "judge_probes"]

# What needs no training, in the words of a sentence.
BASELINES = {"raw_pixels": "raw pixels", "untrained_encoder": "the encoder before training"}


class ProbeVerdict(NamedTuple):
    """Whether training was worth its while, by held-out accuracy.

    ``verdict`` is ``behind`` where a baseline is better, ``ahead`` where the 95 % interval of the
    encoder is above both, else ``level``.
    """

    verdict: Literal["behind", "level", "ahead"]
    headline: str
    sentence: str
    advice: tuple[str, ...]


def deciding_probe(evaluation: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Returns the probe that decides: the linear one on all labels, or the last that all have.

    >>> deciding_probe({"encoder": {"knn": 0, "linear_all": 0}, "raw_pixels": {"linear_all": 0}})
    'linear_all'
    """
    every = [p for p in evaluation.get("encoder", {}) if all(p in s for s in evaluation.values())]
    return "linear_all" if "linear_all" in every else every[-1] if every else None


def judge_probes(
    evaluation: Mapping[str, Mapping[str, Mapping[str, Any]]], epochs: int | None = None
) -> ProbeVerdict | None:
    """Returns what the accuracies say; None without an encoder or without a baseline.

    Args:
        evaluation: Scores by representation and probe, as ``summary.json`` has them.
        epochs: How often each image was seen.

    >>> def score(mean): return {"linear_all": {"mean": mean, "low": mean - 0.01}}
    >>> found = judge_probes({"raw_pixels": score(0.84), "encoder": score(0.80)}, epochs=1)
    >>> found.headline
    'The encoder is worse than raw pixels'
    """
    probe = deciding_probe(evaluation)
    if probe is None or evaluation.keys().isdisjoint(BASELINES):
        return None
    others = {name: evaluation[name][probe]["mean"] for name in BASELINES if name in evaluation}
    own = evaluation["encoder"][probe]
    best = max(others, key=others.__getitem__)
    beside = f"{100 * own['mean']:.1f} % against {100 * others[best]:.1f} % of {BASELINES[best]}"
    if own["mean"] < others[best]:
        seen = "" if epochs is None else f"; each image was seen in {epochs} epochs"
        return ProbeVerdict(
            "behind",
            f"The encoder is worse than {BASELINES[best]}",
            f"Held-out accuracy is {beside}: whatever the loss says, what it learnt does not help.",
            (
                f"Train longer: too few steps are the commonest reason{seen}.",
                "Look at the views (ntxent data inspect --plot): too strong, they share nothing "
                "but colour; too weak, a detail gives the pair away.",
                "Take a larger N if it is below 256, and a smaller temperature.",
            ),
        )
    low = own.get("low", own["mean"])
    if (own["mean"] if low is None else low) > others[best]:
        return ProbeVerdict("ahead", "The encoder has learnt", f"Accuracy is {beside}.", ())
    return ProbeVerdict(
        "level",
        f"The encoder is no better than {BASELINES[best]}",
        f"Held-out accuracy is {beside}, a difference within its 95 % interval.",
        ("Train longer, or look for views that keep what tells the classes apart.",),
    )
