"""How large the tiles are: a few candidates for each way of multiplying.

A tile of whole rows is read once and serves both products of the backward pass; where rows are too
wide for that, products go chunk by chunk. Candidates are those that neither ask for more shared
memory than a multiprocessor has nor spill many registers; ``python -m benchmarks.gpu.kernels``
compiles them all, without a GPU, and says what each needs.
"""

from typing import NamedTuple

import torch


class Tiling(NamedTuple):
    block: int
    """Rows and columns of a tile."""
    depth: int
    """How much of a row one product takes; all of it where that is at least its width."""
    out: int
    """Columns of the gradient that a program accumulates; ``depth`` where rows are whole."""
    warps: int
    stages: int


# By dtype and Triton's input_precision; the first fits into the 99 KiB of the smallest device.
_Table = dict[tuple[torch.dtype, str], list[tuple[int, int, int, int, int]]]
_WHOLE: _Table = {
    (torch.bfloat16, "ieee"): [(64, 128, 128, 4, 2), (128, 128, 128, 8, 2), (128, 128, 128, 8, 3)],
    (torch.float16, "ieee"): [(64, 128, 128, 8, 2)],
    (torch.float32, "tf32"): [(64, 128, 128, 4, 2), (64, 128, 128, 8, 2)],
}
# A program that also adds to the columns' gradient holds one tile more.
_WHOLE_ATOMIC: _Table = _WHOLE | {
    (torch.bfloat16, "ieee"): [(64, 128, 128, 8, 2), (64, 128, 128, 4, 2)],
    (torch.float32, "tf32"): [(32, 128, 128, 4, 2), (64, 128, 128, 8, 2)],
}
_CHUNKED: _Table = {
    (torch.bfloat16, "ieee"): [(64, 64, 128, 8, 2), (64, 64, 256, 8, 2), (128, 64, 128, 8, 3)],
    (torch.float16, "ieee"): [(64, 64, 128, 8, 2)],
    (torch.float32, "tf32"): [(64, 32, 128, 8, 2), (64, 32, 256, 8, 2), (128, 32, 128, 8, 2)],
    (torch.float32, "tf32x3"): [(32, 32, 128, 4, 2), (64, 32, 128, 8, 2)],
    (torch.float32, "ieee"): [(32, 32, 128, 4, 2), (64, 32, 64, 8, 2)],
    (torch.float64, "ieee"): [(32, 16, 64, 4, 2), (64, 16, 32, 8, 2)],
}


def power_of_two(n: int) -> int:
    """The next one, and at least 16: the shapes that Triton's products take.

    >>> power_of_two(3), power_of_two(100)
    (16, 128)
    """
    return max(16, 1 << (n - 1).bit_length())


def candidates(
    dtype: torch.dtype, precision: str, width: int, *, atomic: bool = False
) -> list[Tiling]:
    """Tilings for rows of ``width`` numbers, multiplied as ``precision`` says."""
    way = dtype, precision
    whole = power_of_two(width)
    table = _WHOLE_ATOMIC if atomic else _WHOLE
    if whole > 128 or way not in table:
        table = _CHUNKED
    return list(dict.fromkeys(_clipped(Tiling(*row), whole) for row in table[way]))


def interpreted(width: int) -> Tiling:
    """NumPy has no shared memory; small enough for tests to meet many tiles and chunks."""
    return _clipped(Tiling(128, 64, 64, 1, 1), power_of_two(width))


def _clipped(tiling: Tiling, whole: int) -> Tiling:
    depth = min(tiling.depth, whole)
    return tiling._replace(depth=depth, out=depth if depth == whole else min(tiling.out, whole))
