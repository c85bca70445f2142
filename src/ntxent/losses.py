"""The losses as modules; they hold settings, parameters and a queue, and no mathematics."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ntxent.checks import checked_number
from ntxent.distributed import join
from ntxent.functional import info_nce_loss, nt_xent_loss, sup_con_loss
from ntxent.unit_rows import with_norms

__all__ = ["InfoNCELoss", "MoCoLoss", "NTXentLoss", "SupConLoss"]


class ContrastiveLoss(nn.Module):
    """What the losses share: a temperature, which may be learnable, and the common options.

    Args:
        temperature: tau > 0, a number; the start value where ``learnable``.
        learnable: Train ``log_scale = -log(temperature)``, which keeps the temperature positive.
        max_scale: Where ``learnable``, the largest 1 / tau that is used (CLIP: 100).
        **options: :class:`ntxent.functional.LossOptions` but temperature and scale, and the
            keyword arguments of the loss function itself.
    """

    def __init__(
        self,
        temperature: float = 0.5,
        *,
        learnable: bool = False,
        max_scale: float = math.inf,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(temperature, Tensor):
            raise TypeError(
                f"temperature: received a {type(temperature).__name__}, expected a number; "
                "temperature.item() is that of a tensor, learnable=True trains it, and the "
                "function of this loss takes a tensor at each call"
            )
        temperature = checked_number("temperature", temperature)
        if not max_scale > 0:
            raise ValueError(f"max_scale: received {max_scale}, expected a number > 0; CLIP's: 100")
        self._fixed_scale = 1 / temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learnable else None
        self.max_scale = max_scale
        self.options = options

    @property
    def scale(self) -> float | Tensor:
        """1 / tau: a number, or a differentiable 0-d tensor where it is learnable."""
        if self.log_scale is None:
            return self._fixed_scale
        log_scale = self.log_scale  # exp() of half precision has an error of 0.4 %
        wide = torch.promote_types(log_scale.dtype, torch.float32)
        return log_scale.to(wide).exp().clamp(max=self.max_scale)

    @property
    def temperature(self) -> float | Tensor:
        """tau: a number, or a differentiable 0-d tensor where it is learnable."""
        return 1 / self.scale

    def extra_repr(self) -> str:
        temperature = float(torch.as_tensor(self.temperature).detach())
        shown = {"learnable": True} if self.log_scale is not None else {}
        settings = [f"{name}={value!r}" for name, value in (shown | self.options).items()]
        return ", ".join([f"temperature={temperature:g}", *settings])


class NTXentLoss(ContrastiveLoss):
    """:func:`ntxent.nt_xent_loss` as a module.

    Shape: two or more views ``[N, d]``, or one ``[N, V, d]``, to a 0-d loss, or ``[VN]`` with
    ``reduction="none"``; ``(loss, ContrastiveStats)`` with ``return_stats=True``.

    >>> import torch, ntxent
    >>> criterion = ntxent.NTXentLoss(temperature=0.1, learnable=True)
    >>> z1, z2 = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    >>> criterion(z1, z2).backward()
    >>> criterion.log_scale.grad is not None
    True
    """

    def forward(self, *views: Tensor, ids: Tensor | None = None) -> Any:
        return nt_xent_loss(*views, ids=ids, scale=self.scale, **self.options)


class SupConLoss(ContrastiveLoss):
    """:func:`ntxent.sup_con_loss` as a module.

    Shape: ``[M, d]`` with labels ``[M]``, or ``[N, V, d]`` with labels ``[N]``, to a 0-d loss.
    """

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return sup_con_loss(z, labels, scale=self.scale, **self.options)


class InfoNCELoss(ContrastiveLoss):
    """:func:`ntxent.info_nce_loss` as a module; CLIP's with ``learnable=True, max_scale=100``.

    Shape: ``[N, d]`` and ``[N, d]`` to a 0-d loss.
    """

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        *,
        negatives: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> Tensor:
        return info_nce_loss(x, y, negatives=negatives, ids=ids, scale=self.scale, **self.options)


class MoCoLoss(ContrastiveLoss):
    """InfoNCE of queries against their keys and a queue of the latest earlier keys (MoCo).

    The queue is first in, first out, holds unit rows without gradient, starts with random ones as
    in the paper's code, is saved in the ``state_dict``, and takes the keys of a batch after its
    loss; a batch need not divide its size. Among several processes all keep the same queue: at
    first that of the first rank, then with the keys of all ranks in it.

    Args:
        queue_size: Keys held, K; at least the batch.
        dim: Coordinates of a key.
        temperature: tau > 0.
        **options: As in :class:`ContrastiveLoss`.

    Shape: queries ``[N, d]`` and keys ``[N, d]`` to a 0-d loss.

    >>> import torch
    >>> criterion = MoCoLoss(queue_size=6, dim=4, temperature=0.2)
    >>> loss = criterion(torch.randn(4, 4), torch.randn(4, 4))
    >>> int(criterion.oldest)
    4

    References:
        He et al. 2020 (arXiv 1911.05722).
    """

    queue: Tensor
    oldest: Tensor

    def __init__(self, queue_size: int, dim: int, temperature: float = 0.2, **options: Any) -> None:
        super().__init__(temperature, **options)
        for name, value in (("queue_size", queue_size), ("dim", dim)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: received {value!r}, expected an integer >= 1")
        self.register_buffer("queue", normalize(torch.randn(queue_size, dim), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))
        self._one_for_all = False

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        keys = keys.detach()
        # Rounding the queue to half precision would cost more than all that follows.
        dtype = torch.promote_types(queries.dtype, self.queue.dtype)
        # Copies: what autograd saves must not change when keys come in, nor the queue by a call
        # that fails.
        queue, oldest = self.queue.clone(), self.oldest.clone()
        taken = self._keys_of_all_ranks(keys, queue, oldest)
        loss = info_nce_loss(
            queries.to(dtype),
            keys.to(dtype),
            negatives=queue.to(dtype),
            shared_negatives=True,
            in_batch=False,
            symmetric=False,
            scale=self.scale,
            **self.options,
        )
        if taken is not None:
            every_key, together = taken
            self._take(every_key, queue, oldest, together)
        return loss

    @torch.no_grad()
    def _take(self, keys: Tensor, queue: Tensor, oldest: Tensor, together: bool) -> None:
        """Put the keys of all ranks into the queue. One that is not finite, or was zero, would make
        every loss NaN until it left: what stands in its place stays.
        """
        size, count = len(queue), len(keys)
        rows = (oldest + torch.arange(count, device=keys.device)) % size
        finite = keys.isfinite().all(1, keepdim=True)
        if together and not self._one_for_all:
            self.queue.copy_(queue)
            self._one_for_all = True
        self.queue[rows] = torch.where(finite, keys, queue[rows])
        self.oldest.copy_((oldest + count) % size)

    def _keys_of_all_ranks(
        self, keys: Tensor, queue: Tensor, oldest: Tensor
    ) -> tuple[Tensor, bool] | None:
        """Unit rows, and whether there are several ranks; None in evaluation. Until they have
        trained together, ``queue`` becomes that of the first one.
        """
        size = len(queue)
        distributed = self.options.get("distributed", "auto")
        with join(distributed, self.options.get("process_group")) as batch:
            scale = torch.as_tensor(self.scale, dtype=torch.float64, device=keys.device)
            facts: dict[str, str | bool | int] = {
                "loss": "moco",
                "queue_size": size,
                "training": self.training,
            }
            batch.handshake(len(keys), facts, scale)
            if self.training and batch.samples > size:
                raise ValueError(
                    f"keys: received {batch.samples} rows for a queue of {size}, expected at most "
                    f"{size}; a larger queue_size, or a smaller batch"
                )
            if not self._one_for_all:
                batch.broadcast(queue, oldest)
            if not self.training:
                return None
            keys, norms = with_norms(keys)
            return batch.all_gather((keys / norms).to(queue.dtype)), batch.size > 1
