"""The exact loss of two views, its limits, and measures of the embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ntxent import bounds, measures
from ntxent.analysis.equal import EQUAL, EqualNegatives, equal_negatives
from ntxent.diagnosis import Diagnosis, diagnose, notebook
from ntxent.distributed import Batch
from ntxent.measures import SimilarityHistogram
from ntxent.primitive import contrast

__all__ = ["Analysis", "analyze", "exact_loss"]

Progress = Callable[[str, float], object]

# Anchors in one call of the primitive; each has all 2N candidates.
ANCHORS = 4096
# Shares of the time of the loss and of the ranking; uniformity takes the rest. Measured at
# N = 100,000, d = 128 on 2 cores: 90, 40 and 20 s.
LOSS, RANKING = 0.6, 0.27
NAMED = 5  # equal samples named in a sentence


@dataclass(frozen=True)
class Analysis:
    """The loss of N pairs as one batch, what it proves of them, and what is measured of them.

    Limits are those of :mod:`ntxent.bounds`, in nats. Measures are those of
    :mod:`ntxent.measures`, of unit rows.

    similarity_interval: the interval that the loss alone proves for s̄ (Theorem 8).
    similarity_gap: the smallest s̄ − n̄ that the loss alone allows (Theorem 8).
    measured_floor: the smallest loss that s̄ and n̄ allow (Theorem 5).
    similarity_ceiling: the largest loss that s̄ allows (Theorem 3).
    candidate_similarity: the mean cosine over all candidates, positives included.
    candidate_similarity_interval: what the loss and s̄ prove of it (Theorem 11).
    contrastive_accuracy: the share of anchors whose positive is their most similar candidate; the
        diagnosis has what the loss proves of it, ``top1_share`` (Theorem 9).
    equal_negatives: the negatives equal to their anchors, duplicates or false negatives.
    uniformity: the mean of the two views, t = 2.
    """

    diagnosis: Diagnosis
    similarity_interval: tuple[float, float]
    similarity_gap: float
    measured_floor: float
    similarity_ceiling: float
    candidate_similarity: float
    candidate_similarity_interval: tuple[float, float]
    contrastive_accuracy: float
    alignment: float
    uniformity: float
    effective_rank: float
    histogram: SimilarityHistogram
    equal_negatives: EqualNegatives

    @property
    def sentences(self) -> tuple[str, ...]:
        """Those of the diagnosis, then what the negatives say that are equal to their anchors."""
        found, judged = self.equal_negatives, self.diagnosis
        count = 2 * judged.batch_size
        if not found.pairs or judged.verdict in ("collapsed", "impossible"):
            return judged.sentences
        pairs = ", ".join(f"({i}, {k})" for i, k in found.first[:NAMED])
        mean = 2 * found.pairs / found.anchors
        return (
            *judged.sentences,
            f"{found.pairs} pairs of negatives are equal (cosine >= {EQUAL}): {found.anchors} of "
            f"the {count} rows have such a negative, {mean:.3g} on average. The first samples, "
            f"numbered from 0: {pairs}. Duplicates and false negatives hold a loss up: k equal "
            "samples in a batch at about ln k. Next: give the loss ids=, one for each distinct "
            "sample, which takes them out of the negatives.",
        )

    def to_dict(self) -> dict[str, Any]:
        """A flat dict of JSON values: the fields of the diagnosis and those of the analysis."""
        nested = ("diagnosis", "histogram", "equal_negatives")
        own = {k: v for k, v in vars(self).items() if k not in nested}
        lists = {k: list(v) for k, v in own.items() if isinstance(v, tuple)}
        more = {
            "histogram": self.histogram._asdict(),
            "equal_negatives": self.equal_negatives._asdict(),
            "sentences": list(self.sentences),
        }
        return self.diagnosis.to_dict() | own | lists | more

    def to_frame(self) -> Any:
        """A pandas table of one row: every number and word of ``to_dict``."""
        return notebook.frame([{k: v for k, v in self.to_dict().items() if not _nested(v)}])

    def plot(self) -> Any:
        """The cosines of the positive and of the negative pairs, as a plotly figure."""
        edges, positive, negative, _ = self.histogram
        return notebook.bars_figure(edges, {"positives": positive, "negatives": negative})

    def _repr_html_(self) -> str:
        judged = self.diagnosis
        measured = {
            "positive cosine": judged.positive_similarity or 0.0,
            "negative cosine": judged.negative_similarity or 0.0,
            "positives on top": self.contrastive_accuracy,
            "alignment": self.alignment,
            "uniformity": self.uniformity,
            "effective rank": self.effective_rank,
        }
        return notebook.diagnosis_html(judged, self.sentences, below=notebook.table_html(measured))


def _nested(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict))


def _silent(stage: str, done: float) -> None:
    pass


@torch.no_grad()
def exact_loss(
    z1: Tensor,
    z2: Tensor,
    temperature: float,
    on_progress: Callable[[float], object] | None = None,
    *,
    ranks: Batch = measures.LOCAL,
) -> float:
    r"""NT-Xent of all rows as one batch, in nats, without gradient and in O(N d) memory.

    The value is that of :func:`ntxent.nt_xent_loss`. Anchors are processed in chunks, each against
    all candidates; ``ranks`` divide the chunks among themselves.

    >>> round(exact_loss(torch.eye(2), torch.eye(2), temperature=0.5), 6)
    0.239545
    """
    with ranks:
        z = measures.unit_pairs(z1, z2)
        measures.handshake(ranks, "exact_loss", z, temperature=temperature)
    row = torch.arange(len(z), device=z.device)
    pair, positive = row // 2, row ^ 1
    scale = z.new_tensor(1 / temperature)
    total = 0.0
    for start in range(ANCHORS * ranks.rank, len(z), ANCHORS * ranks.size):
        rows = slice(start, start + ANCHORS)
        nll, _ = contrast(z[rows], z, scale, x_ids=pair[rows], y_ids=pair, target=positive[rows])
        # Self and positive are excluded, so nll = log Σ exp(negatives) − positive, and the loss of
        # the anchor is log(1 + exp(nll)).
        total += float(softplus(nll.double(), threshold=40).sum())
        if on_progress is not None:
            on_progress(min(1.0, rows.stop / len(z)))
    return float(ranks.total(torch.tensor(total, dtype=torch.float64))) / len(z)


def analyze(
    z1: Tensor,
    z2: Tensor,
    temperature: float = 0.5,
    *,
    names: tuple[str, str] = ("z1", "z2"),
    ranks: Batch = measures.LOCAL,
    on_progress: Progress = _silent,
) -> Analysis:
    """Measure two views of N >= 2 embeddings, all as one batch.

    It takes 11 N^2 d multiply-adds and O(N d) memory. The loss grows with N: do not compare it with
    the loss that a training run logged at a smaller N.

    Args:
        z1: First views ``[N, d]``; float16, bfloat16, float32 or float64.
        z2: Second views ``[N, d]``; row i is the positive of row i of ``z1``.
        temperature: tau, 1e-6 to 1e6.
        names: What an error calls the views.
        ranks: The ranks of a process group, which divide the work. Each has all rows and returns
            the whole analysis.
        on_progress: Called with the name of the stage and the share of the work that is done.

    Raises:
        TypeError: a view is not a floating-point tensor.
        ValueError: shapes differ or are not ``[N, d]``; a row is zero or not finite; temperature.

    >>> report = analyze(torch.eye(8), torch.eye(8))
    >>> report.diagnosis.verdict, report.contrastive_accuracy, round(report.effective_rank, 6)
    ('at_floor', 1.0, 8.0)
    """
    with ranks:
        if not 1e-6 <= temperature <= 1e6:
            raise ValueError(
                f"temperature: received {temperature}, expected 1e-6 to 1e6; 0.05 to 1 is usual"
            )
        on_progress("reading", 0.0)
        z = measures.unit_pairs(z1, z2, names)
        measures.handshake(ranks, "analyze", z, temperature=temperature)
    z1, z2 = z[0::2], z[1::2]
    n, d = z1.shape
    loss = exact_loss(
        z1, z2, temperature, lambda done: on_progress("loss", LOSS * done), ranks=ranks
    )
    accuracy = measures.contrastive_accuracy(
        z1, z2, ranks=ranks, on_progress=lambda done: on_progress("ranking", LOSS + RANKING * done)
    )
    similarities = measures.mean_similarities(z1, z2)
    positive, negative = similarities
    uniformity = []
    for view, done in ((z1, LOSS + RANKING), (z2, (1 + LOSS + RANKING) / 2)):
        on_progress("uniformity", done)
        uniformity.append(measures.uniformity(view, ranks=ranks))
    histogram = measures.similarity_histogram(z1, z2)
    equal = equal_negatives(z1, z2, ranks=ranks)
    on_progress("done", 1.0)
    return Analysis(
        diagnosis=diagnose(
            loss,
            n,
            temperature,
            dim=d,
            positive_similarity=positive,
            negative_similarity=negative,
        ),
        similarity_interval=bounds.similarity_interval(loss, n, temperature),
        # No gap is larger than 2; a loss that underflowed to 0 would claim an infinite one.
        similarity_gap=min(2.0, bounds.similarity_gap(loss, n, temperature)),
        measured_floor=bounds.measured_floor(n, temperature, positive, negative),
        similarity_ceiling=bounds.upper_bound(n, temperature, positive),
        candidate_similarity=(positive + (2 * n - 2) * negative) / (2 * n - 1),
        candidate_similarity_interval=bounds.candidate_similarity_interval(
            loss, n, temperature, positive
        ),
        contrastive_accuracy=accuracy,
        alignment=measures.alignment(z1, z2),
        uniformity=fmean(uniformity),
        effective_rank=measures.effective_rank(z),
        histogram=histogram,
        equal_negatives=equal,
    )
