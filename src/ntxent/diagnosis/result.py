"""What a diagnosis says: its fields, and their form as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from . import notebook
from .equal import Equal
from .verdict import Verdict


@dataclass(frozen=True)
class Alternative:
    """A convention other than the stated one under which the loss is possible.

    ``floor``, ``chance``, ``ceiling`` and ``position`` are those of this convention, in the units
    of the loss. ``exactly_chance``: the loss is its chance level to three decimals, which rarely
    happens by accident.
    """

    convention: str
    verdict: Verdict
    position: float | None
    floor: float
    chance: float
    ceiling: float
    exactly_chance: bool


@dataclass(frozen=True)
class Diagnosis:
    """What a loss value means; its limits are in the units of the loss itself.

    position: (loss − floor)/(chance − floor); None where the two are equal.
    random: mean loss of independent uniform embeddings, a reference and no bound; needs ``dim``.
    random_spread: standard deviation of the loss of one such batch.
    loss_interval: holds the mean cosine similarity of the positive pairs, as the loss alone proves
        (Theorem 8).
    similarity_interval: the same, as loss and measured negatives prove (Theorems 5 and 8).
    top1_share: at least this share of the anchors has its positive on top (Theorem 9).
    gradient_bound: Σ ‖∂loss/∂z‖ over the embeddings is at most this (Theorem 10).
    alternatives: for an impossible loss all known conventions under which it is possible, the most
        plausible first; for a possible loss those whose chance level it hits exactly.
    equal: with ``classes``, how many samples of a batch are of one class, and the loss of an
        encoder that maps those to one point.
    held_at: so many equal samples of a batch hold any encoder at this loss or above.
    sentences: what the value means, likely causes, what to do next.

    A certificate is None where it is not proven for the variant, or the loss is impossible.
    """

    loss: float
    batch_size: int
    temperature: float
    variant: str
    queue: int | None
    dim: int | None
    views: int
    negatives: int
    normalized: bool
    positive_similarity: float | None
    negative_similarity: float | None
    verdict: Verdict
    position: float | None
    floor: float
    chance: float
    ceiling: float
    random: float | None
    random_spread: float | None
    loss_interval: tuple[float, float] | None
    similarity_interval: tuple[float, float] | None
    top1_share: float | None
    gradient_bound: float | None
    alternatives: tuple[Alternative, ...]
    classes: int | None = None
    equal: Equal | None = None
    held_at: float | None = None
    sentences: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields and the sentences as JSON values: an infinite number becomes None."""
        values: dict[str, Any] = plain(asdict(self))
        if self.equal is not None:
            values["equal"] = self.equal._asdict()
        return values

    def to_frame(self) -> Any:
        """A pandas table of one row: every field that is a number or a word."""
        fields = asdict(self)
        single = {k: v for k, v in fields.items() if not isinstance(v, (tuple, list))}
        return notebook.frame([single])

    def _repr_html_(self) -> str:
        return notebook.diagnosis_html(self)


def plain(value: Any) -> Any:
    """Values of strict JSON: tuples become lists, NaN and the infinities None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
