"""The losses as modules; they hold settings and parameters, and no mathematics."""

import math

import torch
from torch import Tensor, nn

from ntxent.functional import ContrastiveStats, Distributed, Reduction, nt_xent_loss

__all__ = ["NTXentLoss"]


class NTXentLoss(nn.Module):
    """:func:`ntxent.nt_xent_loss` as a module, with an optional learnable temperature.

    Args:
        temperature: tau > 0; the start value where ``learnable``.
        learnable: Train ``log_scale = -log(temperature)``, which keeps the temperature positive.
        reduction: ``"mean"`` over the 2N anchors, ``"sum"`` or ``"none"``.
        normalize: Divide each row by its Euclidean norm.
        engine: ``"auto"`` or a name that :func:`ntxent.engines.status` lists.
        return_stats: Return ``(loss, ContrastiveStats)``.
        distributed: As in :func:`ntxent.nt_xent_loss`.
        check_values: As in :func:`ntxent.nt_xent_loss`.

    Shape: two views ``[N, d]`` to a 0-d loss, or ``[2N]`` with ``reduction="none"``.

    >>> import torch, ntxent
    >>> criterion = ntxent.NTXentLoss(temperature=0.1, learnable=True)
    >>> z1, z2 = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    >>> criterion(z1, z2).backward()
    >>> criterion.log_scale.grad is not None
    True
    """

    def __init__(
        self,
        temperature: float = 0.5,
        *,
        learnable: bool = False,
        reduction: Reduction = "mean",
        normalize: bool = True,
        engine: str = "auto",
        return_stats: bool = False,
        distributed: Distributed = "auto",
        check_values: bool | None = None,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: received {temperature}, expected a number > 0")
        self._fixed_temperature = float(temperature)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learnable else None
        self.reduction: Reduction = reduction
        self.normalize = normalize
        self.engine = engine
        self.return_stats = return_stats
        self.distributed: Distributed = distributed
        self.check_values = check_values

    @property
    def temperature(self) -> float | Tensor:
        """tau: a number, or a differentiable 0-d tensor where it is learnable."""
        return self._fixed_temperature if self.log_scale is None else self.log_scale.neg().exp()

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor | tuple[Tensor, ContrastiveStats]:
        return nt_xent_loss(
            z1,
            z2,
            temperature=self.temperature,
            reduction=self.reduction,
            normalize=self.normalize,
            engine=self.engine,
            return_stats=self.return_stats,
            distributed=self.distributed,
            check_values=self.check_values,
        )

    def extra_repr(self) -> str:
        temperature = float(torch.as_tensor(self.temperature).detach())
        learnable = ", learnable=True" if self.log_scale is not None else ""
        return f"temperature={temperature:g}{learnable}, reduction={self.reduction!r}"
