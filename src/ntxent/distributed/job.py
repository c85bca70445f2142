"""What gather and ring know of a block besides the tensors that have gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntxent.distributed.group import Group

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """This rank's part of a block, and how all ranks compute it together."""

    group: Group
    x_counts: list[int]
    """Rows of ``x`` that each rank has."""
    y_counts: list[int]
    x_ids: Tensor
    """This and what follows as in :class:`ntxent.engines.Block`; of the rows of this rank."""
    y_ids: Tensor | None = None
    target: Tensor | None = None
    both_ways: bool = False
    unit: bool = False
    engine: str = "auto"
    row_dtype: torch.dtype | None = None

    def rounded(self, rows: Tensor) -> Tensor:
        """The rows as an engine, and a message, gets them."""
        return rows if self.row_dtype is None else rows.to(self.row_dtype)
