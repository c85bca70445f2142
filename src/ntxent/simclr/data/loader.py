"""The order of the training images, which a resumed run continues in the middle of an epoch."""

import signal
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = ["ResumableLoader", "ShuffledBatches", "share_of"]

T = TypeVar("T")


def share_of(batch_size: int, world: int) -> int:
    """Images of each batch for each of ``world`` processes.

    Raises:
        ValueError: they cannot be equal.

    >>> share_of(256, 4)
    64
    """
    share, rest = divmod(batch_size, world)
    if rest:
        near = [count * world for count in (share, share + 1) if count]
        raise ValueError(
            f"batch_size: received {batch_size}, expected a multiple of the {world} processes that "
            f"share it, such as {' or '.join(map(str, near))}"
        )
    return share


class ShuffledBatches(Sampler[list[int]]):
    """Indices of full batches, in a new permutation each epoch; what remains is left out.

    Every process draws the same permutation, as the seed of an epoch comes from PyTorch's global
    generator, which all start alike; process ``rank`` of ``world`` gets the ``rank``-th of equal
    shares of each batch, so that together they see what one process would.

    Args:
        size: Number of images.
        batch_size: Indices in a batch over all processes; a multiple of ``world``.
        rank: Number of this process.
        world: Number of processes.

    >>> shares = [ShuffledBatches(7, 4, rank, world=2) for rank in range(2)]
    >>> _ = torch.manual_seed(0); first = list(shares[0])
    >>> _ = torch.manual_seed(0); second = list(shares[1])
    >>> [len(share) for share in first + second], len(set(sum(first + second, [])))
    ([2, 2], 4)
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.share = share_of(batch_size, world)
        self.size, self.batch_size = size, batch_size
        self.offset = rank * self.share
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
            yield order[first : first + self.share]


class ResumableLoader(DataLoader[T]):
    """A DataLoader over :class:`ShuffledBatches` whose state says which batches were taken.

    Lightning keeps that state in its checkpoints. Batches that workers have prepared ahead are not
    taken. Nothing random is drawn before the first batch is asked for.
    """

    def __init__(self, dataset: Dataset[T], order: ShuffledBatches, **options: Any) -> None:
        options.setdefault("worker_init_fn", _leave_ctrl_c_to_the_run)
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
                f"data: the run has learnt from {state['images']} images, now there are "
                f"{self.order.size}; give it the same data, or start another run"
            )
        self.order.seed = state["seed"]
        self.order.skip = state["taken"] if state["taken"] < len(self.order) else 0


def _leave_ctrl_c_to_the_run(worker: int) -> None:
    """A terminal sends Ctrl-C to the workers too; they are needed until the step is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
