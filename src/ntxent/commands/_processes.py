"""The processes that a launcher such as torchrun started beside this one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ntxent.distributed import LocalBatch

__all__ = ["first", "processes"]


def first() -> bool:
    """Whether this process is the one that does what only one can do."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def processes() -> "Iterator[LocalBatch]":
    """Joined by gloo where there are several, as the launcher's environment says."""
    from ntxent.distributed import LocalBatch, join

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield LocalBatch()
        return
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        yield join("auto", None)
    finally:
        dist.destroy_process_group()
