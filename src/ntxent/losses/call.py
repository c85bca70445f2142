"""The options that every loss has, and what one call makes of them."""

from collections.abc import Sequence
from typing import Any, Final, Literal, TypedDict

import torch
from torch import Tensor

from ntxent import engines
from ntxent.distributed import Batch, Mode
from ntxent.losses.checks import (
    check_choice,
    check_finite_rows,
    check_logits,
    checked_scale,
    checked_weights,
)
from ntxent.unit_rows import row_norms, unit_rows, with_norms

Reduction = Literal["none", "mean", "sum"]

TEMPERATURE: Final = 0.5
"""The default, by which a call tells whether a temperature was given beside a scale."""


class LossOptions(TypedDict, total=False):
    """Keyword arguments of every loss."""

    temperature: float | Tensor
    """tau > 0, a number or a one-element tensor, whose gradient is exact; 0.5 by default. A logit
    of size 1 / tau is rounded to eps / tau: tau is at least 1.2e-7 in float32 and 2.2e-16 in
    float64, and at most 9.2e18 and 6.7e153, where its gradient underflows."""
    scale: float | Tensor | None
    """1 / tau, instead of ``temperature``."""
    reduction: Reduction
    """``"mean"`` over the anchors (the default), ``"sum"``, or ``"none"`` for each anchor's."""
    weights: Tensor | None
    """One an anchor, in the order of ``"none"``, of any real dtype: they are used in that of the
    loss. The mean becomes sum(w l) / sum(w), for w >= 0, and 0 where all w are 0; with ``"sum"``
    and ``"none"`` they are factors, which may be negative."""
    normalize: bool
    """Divide each row by its Euclidean norm (the default). Without, rows are used as they are, and
    the bounds of :mod:`ntxent.bounds` hold only if they have unit norm."""
    engine: str
    """``"auto"`` (the default) or a name that :func:`ntxent.engines.status` lists. Those on CUDA
    multiply half-precision embeddings in half precision: their unit rows, computed in float32, are
    rounded back to that dtype, which moves a cosine by up to 2^-7 (bfloat16) or 2^-10 (float16).
    Pass ``z.float()`` to have nothing rounded. The ``"tiled"`` engine multiplies float32 rows."""
    distributed: Mode
    """Whose rows are candidates. ``"auto"`` (the default): those of all processes where a process
    group is initialised, by the better of ``"gather"`` (few messages) and ``"ring"`` (memory and
    work divided by their number); the loss is then the global one, see :mod:`ntxent.distributed`.
    ``"local"``: those of this process only, which is another loss with fewer negatives."""
    process_group: "torch.distributed.ProcessGroup | None"
    """The processes that share the batch; by default all."""
    check_values: bool | None
    """Look for zero and non-finite rows, labels without positives, bad temperatures. None, the
    default, does so on the CPU only: elsewhere the host would wait for the device at every step.
    Unchecked, bad rows give a NaN loss."""


class Call:
    """The options of one call, resolved for its tensors and its batch."""

    def __init__(
        self,
        batch: Batch,
        like: Tensor,
        temperature: float | Tensor | None,
        scale: float | Tensor | None,
        reduction: Reduction,
        weights: Tensor | None,
        normalize: bool,
        engine: str,
        check_values: bool | None,
    ) -> None:
        check_choice("reduction", reduction, ("none", "mean", "sum"))
        if check_values is None:
            check_values = like.device.type == "cpu" and not torch.compiler.is_compiling()
        elif not isinstance(check_values, bool):
            raise TypeError(
                f"check_values: received {check_values!r}, expected True, False or None"
            )
        self.check_values = check_values
        self.batch, self.engine, self.device = batch, engine, like.device
        dtype = engines.accumulation_dtype(like.dtype)
        if scale is not None:
            # What stands for the default is told by identity, which a compiler does not keep.
            if temperature is TEMPERATURE or torch.compiler.is_compiling():
                temperature = None
        elif temperature is None:
            temperature = TEMPERATURE
        self.scale = checked_scale(temperature, scale, dtype, like.device, check_values)
        self.reduction, self.weights, self.normalize = reduction, weights, normalize
        self.row_dtype = like.dtype
        if normalize:
            self.row_dtype = engines.row_dtype(engine, like.device.type, like.dtype)
        self.anchors = 0

    def norms(self, names: Sequence[str], z: Tensor) -> tuple[Tensor, Tensor | None]:
        """The rows of ``z``, which come from ``names`` in turn, and their norms; None where nothing
        is divided by them.
        """
        if not (self.normalize or self.check_values):
            return z, None
        rows, norm = with_norms(z)
        if self.check_values:
            if rows is not z:  # as they are, all norms were found to be usual
                check_finite_rows(names, norm, self.normalize)
            if not self.normalize:
                check_logits(names, row_norms(z), self.scale)
        return (rows, norm) if self.normalize else (z, None)

    def unit_rows(self, z: Tensor, norm: Tensor | None) -> Tensor:
        """The rows divided by their norms, as an engine gets them; ``z`` without norms."""
        return z if norm is None else unit_rows(z, norm, self.row_dtype)

    def handshake(
        self,
        loss: str,
        rows: Sequence[Tensor],
        samples: int,
        *,
        views: int = 1,
        n_negatives: int = 0,
        **facts: str | bool | int,
    ) -> None:
        """Learn how many samples all ranks have together, where there are others.

        Whatever decides which messages follow, and how long they are, is checked to be equal.
        """
        if self.weights is not None:
            self.weights = checked_weights(
                self.weights,
                samples * views,
                self.scale.dtype,
                self.device,
                mean=self.reduction == "mean",
                check_value=self.check_values,
            )
        if self.batch.size > 1:
            graph = torch.is_grad_enabled()
            of_rows, of_scale, of_weights = (
                graph and any(t.requires_grad for t in tensors)
                for tensors in (rows, [self.scale], [] if self.weights is None else [self.weights])
            )
            facts = {
                "what is computed": loss,
                "dtype": str(self.row_dtype),
                "device": self.device.type,
                "width of the rows": rows[0].shape[1],
                "requires_grad of the rows": of_rows,
                "requires_grad of the temperature": of_scale,
                "requires_grad of the weights": of_weights,
                "reduction": self.reduction,
                "weights given": self.weights is not None,
                "normalize": self.normalize,
                **facts,
            }
        self.batch.handshake(
            samples,
            facts,
            self.scale,
            views=views,
            n_negatives=n_negatives,
            optional=self.check_values,
            engine=self.engine,
            device=self.device.type,
        )
        self.anchors = self.batch.samples * views
        if self.scale.requires_grad:
            self.scale = self.batch.replicated(self.scale)

    def check_negatives(self, nll: Tensor) -> None:
        """Refuse anchors without a negative, whose decoupled loss would be -inf."""
        if not self.batch.optional:
            return
        without = (nll.detach() == -torch.inf).any().to(nll.dtype)
        if bool(self.batch.largest(without)):
            raise ValueError(
                "ids: received equal ones for all candidates of an anchor, expected a negative for "
                "each; with decoupled=True its loss would be -inf"
            )

    @property
    def how(self) -> dict[str, Any]:
        """Which engine computes the primitive, and of which rows."""
        return {"engine": self.engine, "row_dtype": self.row_dtype, "unit": self.normalize}

    @property
    def by_anchor(self) -> bool:
        """Whether the order of the anchors matters to :meth:`reduce`."""
        return self.reduction == "none" or self.weights is not None

    def reduce(self, loss: Tensor, counted: Tensor | None = None) -> Tensor:
        """``counted`` is False for anchors that have no loss, whose ``loss`` is 0."""
        weights = self.weights
        if weights is not None:
            loss = weights * loss
        if self.reduction == "none":
            return loss
        if self.reduction == "sum":
            return self.batch.total(loss.sum())
        if weights is None and counted is None:
            if self.batch.size == 1:
                return loss.mean()
            mean: Tensor = self.batch.total(loss.sum()) / self.anchors
            return mean
        weights = torch.ones_like(loss) if weights is None else weights
        weight = weights.sum() if counted is None else (weights * counted).sum()
        total, weight = self.batch.total(torch.stack([loss.sum(), weight])).unbind()
        weighted: Tensor = total / torch.where(weight == 0, 1.0, weight)
        return weighted
