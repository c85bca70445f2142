"""lightly's ``NTXentLoss``; write ``from ntxent.compat.lightly import NTXentLoss``."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ntxent.functional import info_nce_loss, nt_xent_loss
from ntxent.losses.checks import check_embeddings, checked_scale
from ntxent.unit_rows import normalized

__all__ = ["NTXentLoss"]


class NTXentLoss(nn.Module):
    """NT-Xent of two views or, with a memory bank, InfoNCE of the first view against the second.

    Args:
        temperature: tau > 0.
        memory_bank_size: ``(rows, dim)``, or 0 for no bank.
        gather_distributed: Take negatives from all processes. The loss is then the mean over the
            anchors of all of them, equal on each, where lightly returns each its own mean; the
            gradient after DDP's averaging is the same. Without, negatives of this process.

    The bank holds unit rows, at first random, is no part of the ``state_dict``, and takes the
    second view of a batch after its loss, if the first requires a gradient. What of a batch does
    not fit before the end of the bank is dropped, and the next batch starts at the beginning.

    >>> import torch
    >>> z = torch.eye(2)
    >>> round(NTXentLoss(temperature=0.5)(z, z).item(), 6)  # ln(1 + 2 exp(-2))
    0.239545
    """

    bank: Tensor | None

    def __init__(
        self,
        temperature: float = 0.5,
        memory_bank_size: int | Sequence[int] = 0,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        checked_scale(temperature, None, torch.float64, torch.device("cpu"), check_value=True)
        size = [memory_bank_size] if isinstance(memory_bank_size, int) else [*memory_bank_size]
        if size != [0] and (len(size) != 2 or min(size) < 0):
            raise ValueError(
                f"memory_bank_size: received {memory_bank_size}, expected (rows, dim), "
                "or 0 for no memory bank"
            )
        self.temperature = temperature
        self.gather_distributed = gather_distributed
        bank = normalize(torch.randn(size), dim=-1) if size[0] else None
        self.register_buffer("bank", bank, persistent=False)
        self._next_row = 0

    def forward(self, out0: Tensor, out1: Tensor) -> Tensor:
        if self.bank is None:
            loss: Tensor = nt_xent_loss(
                out0,
                out1,
                temperature=self.temperature,
                distributed="auto" if self.gather_distributed else "local",
            )
            return loss
        return self._against_bank(out0, out1, self.bank)

    def _against_bank(self, out0: Tensor, out1: Tensor, bank: Tensor) -> Tensor:
        group = torch.distributed
        if self.gather_distributed and group.is_initialized() and group.get_world_size() > 1:
            raise NotImplementedError(
                f"gather_distributed: received True among {group.get_world_size()} processes with "
                "a memory bank, expected False; then each process fills a bank of its own"
            )
        for name, out in (("out0", out0), ("out1", out1)):
            check_embeddings(name, out)
        dtype = torch.promote_types(out0.dtype, bank.dtype)
        queries, keys = (normalized(out.to(dtype)) for out in (out0, out1))
        loss = info_nce_loss(
            queries,
            keys,
            # What autograd saves must not change when the keys come in.
            negatives=bank.to(out0.device, dtype, copy=True),
            in_batch=False,
            symmetric=False,
            normalize=False,
            temperature=self.temperature,
            distributed="local",
        )
        if out0.requires_grad:
            stop = min(self._next_row + len(keys), len(bank))
            bank[self._next_row : stop] = keys[: stop - self._next_row].detach()
            self._next_row = stop % len(bank)
        return loss
