"""Which batch a loss has: that of this process, or that of all ranks of a group."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from ntxent.distributed.batch import MODES, Batch, LocalBatch, Mode

__all__ = ["join"]


def join(mode: Mode, process_group: dist.ProcessGroup | None) -> Batch:
    """The batch of a loss: of the ranks of the group (the default group where None), or of this
    process only, where there is no group of several or ``mode`` is ``"local"``.

    Raises:
        ValueError: ``mode`` is none of the known ones, or this process is not in the group.
        TypeError: ``process_group`` is none. Where a group of several can hear it, both errors
            wait for the handshake, and every rank raises them.
    """
    error: Exception | None = None
    if mode not in MODES:
        known = ", ".join(map(repr, MODES))
        error = ValueError(f"distributed: received {mode!r}, expected one of {known}")
    if mode == "local" or not (dist.is_available() and dist.is_initialized()):
        if error is not None:
            raise error
        return LocalBatch()
    handle: Any = dist.group.WORLD if process_group is None else process_group
    if process_group is not None and not _is_group(process_group):
        error = TypeError(
            f"process_group: received {type(process_group).__name__}, expected a "
            "torch.distributed.ProcessGroup, or None for all processes"
        )
        handle = dist.group.WORLD
    if dist.get_rank(handle) < 0:
        raise ValueError(
            f"process_group: received one that rank {dist.get_rank()} is not in, expected a group "
            "of this process; let only its members call the loss"
        )
    if dist.get_world_size(handle) == 1:
        if error is not None:
            raise error
        return LocalBatch()
    # Only here: this module needs PyTorch's compiler, whose import takes a second.
    from ntxent.distributed.global_batch import GlobalBatch

    batch: Batch = GlobalBatch(handle, mode, error)
    return batch


def _is_group(handle: object) -> bool:
    return isinstance(handle, dist.ProcessGroup) or handle is dist.GroupMember.NON_GROUP_MEMBER
