"""A diagnosis in words: what it means, likely causes, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .verdict import AT_CHANCE, Verdict

if TYPE_CHECKING:
    from .report import Diagnosis

SAME_VIEWS = 0.9999  # mean cosine of the positives that augmented views do not reach
NAMED = 3  # alternatives named in a sentence; all are in the table


def _number(value: float) -> str:
    return f"{value:.4g}"


def _stated(report: Diagnosis) -> str:
    negatives = "" if report.queue is None else f", K = {report.queue}"
    return f"{report.variant} with N = {report.batch_size}{negatives}, τ = {report.temperature:g}"


def _certified(report: Diagnosis) -> Iterator[str]:
    if report.similarity_interval is None:
        return
    low, high = report.similarity_interval
    ends = [f"at least {low:.3f}"] * (low > -1) + [f"at most {high:.3f}"] * (high < 1)
    if ends:
        yield f"It proves that the positive pairs have a mean cosine of {' and '.join(ends)}."


def _same_views(report: Diagnosis) -> Iterator[str]:
    """In the study this found every run without augmentation at its first step, and no other."""
    if report.positive_similarity is not None and report.positive_similarity >= SAME_VIEWS:
        yield (
            "The two views of every image agree perfectly: the augmentation may be missing, and "
            "then the encoder learns next to nothing."
        )


def _exact_hit(report: Diagnosis) -> Iterator[str]:
    hits = [a for a in report.alternatives if a.exactly_chance]
    if hits:
        words = "; ".join(f"{a.convention}: {a.chance:.4f}" for a in hits[:NAMED])
        yield (
            "To three decimals it is the chance level of another convention, which is rarely an "
            f"accident: {words}. Check whether that is what the code computes."
        )


def _impossible(report: Diagnosis) -> Iterator[str]:
    ends = f"{_number(report.floor)} to {_number(report.ceiling)}"
    if report.floor <= report.loss <= report.ceiling:
        yield (
            f"{_stated(report)} can have a loss of {_number(report.loss)}, but not with the "
            "measured similarities: loss, N, τ and similarities do not belong to the same batch "
            "and convention."
        )
    else:
        yield (
            f"No unit embeddings have a loss of {_number(report.loss)} under {_stated(report)}: "
            f"its range is {ends}."
        )
    if report.alternatives:
        names = "; ".join(a.convention for a in report.alternatives[:NAMED])
        others = len(report.alternatives) - NAMED
        more = f"; and {others} more, listed as alternatives" if others > 0 else ""
        yield f"It is possible under: {names}{more}."
    yield from _exact_hit(report)
    yield "Next: find out which of them the code computes, then ask again with those arguments."


def _at_floor(report: Diagnosis) -> Iterator[str]:
    if report.loss < report.floor:
        yield "The value is below the floor by no more than logging rounds."
    yield (
        f"Next to nothing is left to gain: no embeddings get below {_number(report.floor)} at "
        f"N = {report.batch_size}, τ = {report.temperature:g}. This is not a failure to converge."
    )
    yield from _same_views(report)
    yield from _certified(report)
    yield from _exact_hit(report)
    yield (
        "Next: judge the encoder by a linear or kNN probe, not by this loss. To give the loss "
        "room: lower τ, raise N, or augment more strongly."
    )


def _learning(report: Diagnosis) -> Iterator[str]:
    position = report.position or 0.0
    yield (
        f"Training works: it is {1 - position:.0%} of the way down from chance, "
        f"{_number(report.chance)}, to the floor, {_number(report.floor)}."
    )
    yield from _same_views(report)
    yield from _certified(report)
    yield from _exact_hit(report)
    yield (
        "Next: keep training. Compare this value with runs of the same N, τ and augmentation "
        "only: across them neither the loss nor the position ranks encoders, a probe does "
        "(docs/study.md). If it stays here, try a longer schedule or another learning rate."
    )


def _at_chance(report: Diagnosis) -> Iterator[str]:
    unresolved = report.chance - report.floor
    yield (
        f"This is chance, {_number(report.chance)}: the embeddings tell the positive from the "
        "other candidates no better than guessing."
    )
    if unresolved < 0.1:
        yield (
            f"Mind that τ = {report.temperature:g} leaves only {unresolved:.2g} between floor and "
            "chance: log more decimals, or lower τ."
        )
    yield from _exact_hit(report)
    if report.positive_similarity is None and report.negative_similarity is None:
        yield (
            "The loss alone cannot tell why: all embeddings equal (collapse), logits all near 0 "
            "(normalised along the wrong axis), a wrong mask or pairing of positives, or a "
            "learning rate so high that the encoder was destroyed. In the first steps it is normal."
        )
        yield (
            "Next: measure the mean cosine of positives and of negatives. Both near 1: collapse. "
            "Both near 0: logits or pairing. Positives clearly higher: the mask."
        )
    else:
        yield (
            "The measured similarities exclude collapse. Next: check that row i of both views is "
            "the same image, that the mask keeps positives and drops self, that embeddings are "
            "normalised along the last axis, and the learning rate."
        )


def _collapsed(report: Diagnosis) -> Iterator[str]:
    known = {"positives": report.positive_similarity, "negatives": report.negative_similarity}
    measured = ", ".join(f"{name} {s:.3f}" for name, s in known.items() if s is not None)
    yield (
        f"Collapse: the loss is chance, {_number(report.chance)}, and the mean cosine is high "
        f"({measured}): all embeddings point the same way."
    )
    yield (
        "Likely causes: a learning rate too high or no warm-up, positives that are not pairs (the "
        "views shuffled apart), dead units before the loss, too strong weight decay, a batch norm "
        "that runs per view or in evaluation mode."
    )
    yield "Next: restart with a lower learning rate; a collapsed encoder has almost no gradient."


def _above_chance(report: Diagnosis) -> Iterator[str]:
    yield (
        f"Worse than guessing, {_number(report.chance)}: some negatives are more similar than "
        "their positives."
    )
    yield from _certified(report)
    yield from _exact_hit(report)
    if report.random is None:
        yield (
            "Early in training at a low τ this is normal, since random embeddings have such a "
            "loss. Give the dimension to compare."
        )
    elif report.loss <= report.random + AT_CHANCE * (report.random - report.floor):
        yield (
            f"Random embeddings in d = {report.dim} have about {_number(report.random)}: in the "
            "first steps such a loss is normal."
        )
    else:
        yield (
            f"Even random embeddings in d = {report.dim} have only about "
            f"{_number(report.random)}: positives are pushed apart."
        )
    yield (
        "Next: if it stays after warm-up, check the pairing of the views, the sign of the "
        "similarity, stale or duplicate negatives, and the learning rate."
    )


def _degenerate(report: Diagnosis) -> Iterator[str]:
    yield (
        "N = 1 has no negatives: the positive is the only candidate, the loss is 0 for all "
        "embeddings and so is its gradient."
    )
    if report.alternatives:
        names = "; ".join(a.convention for a in report.alternatives[:NAMED])
        yield f"A loss of {_number(report.loss)} is possible under: {names}."
    yield "Next: raise the batch size, gather negatives from all ranks, or use a queue."


_SENTENCES: dict[Verdict, Callable[[Diagnosis], Iterator[str]]] = {
    "impossible": _impossible,
    "at_floor": _at_floor,
    "learning": _learning,
    "at_chance": _at_chance,
    "collapsed": _collapsed,
    "above_chance": _above_chance,
    "degenerate": _degenerate,
}


def sentences(report: Diagnosis) -> tuple[str, ...]:
    return tuple(_SENTENCES[report.verdict](report))
