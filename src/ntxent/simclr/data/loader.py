"""Shuffled batches that several processes share, and that a resumed run continues."""

import signal
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = ["ResumableLoader", "ShuffledBatches", "local_batch_size"]

T = TypeVar("T")


def local_batch_size(batch_size: int, world_size: int) -> int:
    """Returns the number of images that each process has of a batch.

    Raises:
        ValueError: ``batch_size`` is no multiple of ``world_size``.

    >>> local_batch_size(256, 4)
    64
    """
    size, rest = divmod(batch_size, world_size)
    if rest:
        nearest = [count * world_size for count in (size, size + 1) if count]
        raise ValueError(
            f"batch_size: received {batch_size}, expected a multiple of the {world_size} processes "
            f"that share it, such as {' or '.join(map(str, nearest))}"
        )
    return size


class ShuffledBatches(Sampler[list[int]]):
    """Yields the indices of full batches, in a new permutation each epoch.

    An incomplete last batch is dropped. The permutation of an epoch is seeded from PyTorch's global
    generator, so processes with the same seed draw the same one; process ``rank`` gets the
    ``rank``-th of ``world_size`` equal parts of each batch. Together the processes see the batches
    that one process would see.

    Args:
        size: Number of images.
        batch_size: Indices in a batch over all processes; a multiple of ``world_size``.
        rank: Rank of this process.
        world_size: Number of processes.

    >>> shares = [ShuffledBatches(7, 4, rank, world_size=2) for rank in range(2)]
    >>> _ = torch.manual_seed(0); first = list(shares[0])
    >>> _ = torch.manual_seed(0); second = list(shares[1])
    >>> [len(share) for share in first + second], len(set(sum(first + second, [])))
    ([2, 2], 4)
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.local_size = local_batch_size(batch_size, world_size)
        self.size, self.batch_size = size, batch_size
        self.offset = rank * self.local_size
        self.seed: int | None = None
        self.skip = 0

    def __len__(self) -> int:
        return self.size // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        if not self.skip:
            self.seed = int(torch.empty((), dtype=torch.int64).random_())
        generator = torch.Generator().manual_seed(self.seed or 0)
        order = torch.randperm(self.size, generator=generator).tolist()
        for batch in range(self.skip, len(self)):
            first = batch * self.batch_size + self.offset
            yield order[first : first + self.local_size]


class ResumableLoader(DataLoader[T]):
    """A DataLoader of :class:`ShuffledBatches` with the state to resume in the middle of an epoch.

    The state counts the batches that were yielded; those that workers have read ahead are not
    among them. No random number is drawn before the first batch is asked for.
    """

    def __init__(self, dataset: Dataset[T], order: ShuffledBatches, **options: Any) -> None:
        options.setdefault("worker_init_fn", _ignore_sigint)
        super().__init__(dataset, **options)
        self.order = order
        self.taken = 0

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        self.taken = self.order.skip
        for batch in super().__iter__():
            self.order.skip = 0
            self.taken += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.order.seed, "taken": self.taken, "images": self.order.size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["images"] != self.order.size:
            raise ValueError(
                f"data: received {self.order.size} images, expected the {state['images']} that the "
                "run was started with; give it the same data, or start another run"
            )
        self.order.seed = state["seed"]
        self.order.skip = state["taken"] if state["taken"] < len(self.order) else 0


def _ignore_sigint(worker: int) -> None:
    """Keeps a worker alive on Ctrl-C, which a terminal sends to every process of the run.

    The run itself needs its workers until it has saved its checkpoint.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
