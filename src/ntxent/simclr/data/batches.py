"""The order of the images in an epoch, and the part of each batch that a process works on."""

from collections.abc import Iterator

from torch.utils.data import Sampler

__all__ = ["Batches", "rank_rows"]


def rank_rows(batch_size: int, rank: int, processes: int) -> slice:
    """The rows of a batch that one of several processes works on.

    >>> [rank_rows(8, rank, processes=2) for rank in range(2)]
    [slice(0, 4, None), slice(4, 8, None)]

    Raises:
        ValueError: the processes cannot have equal parts.
    """
    if batch_size % processes:
        near = batch_size // processes * processes or processes
        raise ValueError(
            f"batch_size: received {batch_size}, expected a multiple of {processes}, the number "
            f"of processes, such as {near}"
        )
    each = batch_size // processes
    return slice(rank * each, (rank + 1) * each)


class Batches(Sampler[list[int]]):
    """Full batches of an order, of each the same rows; an incomplete last batch is left out."""

    def __init__(self, order: Sampler[int], batch_size: int, rows: slice = slice(None)) -> None:
        self.order, self.batch_size, self.rows = order, batch_size, rows

    def __iter__(self) -> Iterator[list[int]]:
        batch = []
        for index in self.order:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch[self.rows]
                batch = []

    def __len__(self) -> int:
        return len(self.order) // self.batch_size  # type: ignore[arg-type]
