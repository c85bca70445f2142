"""nll and logit of every anchor: what is allocated and launched, in which order.

Nothing here reads a value back from the device, so that the host never waits, and a call can be
captured in a CUDA graph. Memory beyond inputs and outputs is O(M + K) and a workspace of fixed
size. The order of every sum is fixed: the same input gives the same bits.
"""

from typing import NamedTuple

from torch import Tensor

from ntxent.engines._triton import kernels
from ntxent.engines._triton.blocks import Operands, Side, on, operands, shares
from ntxent.engines._triton.tiling import Tiling, power_of_two
from ntxent.engines._triton.tuning import fastest
from ntxent.engines.contract import Block, Sums

# Where the columns' sums wait to be added: 32 MiB stay in the L2 cache of an A100 (40 MB) or an
# H100 (50 MB).
_WORKSPACE = 2**25


def forward(block: Block) -> Sums:
    with on(block.x.device):
        inputs = operands(block)
        nll, logit = _sums(inputs, fastest("forward", inputs, _sums))
    return Sums(nll, logit, nll.new_empty(0))


def _describe(side: Side, like: Tensor, tiling: Tiling) -> tuple[Tensor, Tensor]:
    """The longest row and the ranges of the labels of each block of rows."""
    blocks = side.blocks(tiling)
    longest = like.new_empty(blocks)
    ranges = side.ids.new_empty(4, blocks)
    count, width = side.rows.shape
    depth = min(64, power_of_two(width))
    kernels.describe[(blocks,)](*side, longest, ranges, count, width, tiling.block, depth)
    return longest, ranges


class _Panel(NamedTuple):
    """Row blocks first ... first + height - 1, and what ``sum_tiles`` left of their tiles."""

    first: int
    height: int
    splits: int
    last: bool
    row: Tensor
    column: Tensor
    running: Tensor

    def merge(
        self,
        side: Side,
        results: tuple[Tensor, Tensor],
        tiling: Tiling,
        *,
        rows: bool,
        columns: bool,
    ) -> None:
        """Add the sums of the anchors that were ``rows``, ``columns`` or both in these tiles."""
        end = self.first + self.height
        start = self.first if rows else 0
        stop = side.blocks(tiling) if columns else end
        nll, logit = results
        kernels.merge_sums[(stop - start,)](
            *self.row,
            *self.column,
            *self.running,
            side.target,
            logit,
            nll,
            len(side.rows),
            self.first,
            self.height,
            self.splits,
            start,
            end if rows else 0,
            RESUME=columns and self.first > 0,
            FINISH=self.last,
            COLUMNS=columns,
            SYMMETRIC=rows and columns,
            BLOCK=tiling.block,
        )


def _sums(block: Operands, tiling: Tiling) -> tuple[Tensor, Tensor]:
    """nll and logit, panel by panel of row blocks."""
    x, y, scale, *_ = block
    m, k = len(x.rows), len(y.rows)
    anchors = m + k if block.both and not block.symmetric else m
    nll, logit = scale.new_empty(anchors), scale.new_empty(anchors)
    of_rows = of_columns = nll, logit
    if not block.symmetric:
        of_rows, of_columns = (nll[:m], logit[:m]), (nll[m:], logit[m:])
    x_longest, x_ranges = about_x = _describe(x, scale, tiling)
    y_longest, y_ranges = about_x if block.symmetric else _describe(y, scale, tiling)

    x_blocks, y_blocks = x.blocks(tiling), y.blocks(tiling)
    most = x_blocks
    if block.both:
        most = min(most, max(1, _WORKSPACE // (2 * scale.itemsize * k)))
    column = scale.new_empty(2, most if block.both else 0, k)
    running = scale.new_empty(2, k if most < x_blocks else 0)
    for first in range(0, x_blocks, most):
        height = min(most, x_blocks - first)
        splits, chunk = shares(y_blocks - first if block.symmetric else y_blocks, height)
        row = scale.new_empty(2, splits, height * tiling.block)
        kernels.sum_tiles[(height, splits)](
            x.rows,
            y.rows,
            scale,
            x.ids,
            y.ids,
            x.target,
            y.target,
            x_longest,
            y_longest,
            x_ranges,
            y_ranges,
            of_rows[1],
            of_columns[1],
            *row,
            *column,
            m,
            k,
            first,
            chunk,
            SYMMETRIC=block.symmetric,
            COLUMNS=block.both,
            D=block.width,
            BLOCK=tiling.block,
            BLOCK_D=tiling.depth,
            PRECISION=block.precision,
            num_warps=tiling.warps,
            num_stages=tiling.stages,
        )
        last = first + height == x_blocks
        panel = _Panel(first, height, splits, last, row, column, running)
        if block.symmetric:
            panel.merge(x, of_rows, tiling, rows=True, columns=True)
        else:
            panel.merge(x, of_rows, tiling, rows=True, columns=False)
            if block.both:
                panel.merge(y, of_columns, tiling, rows=False, columns=True)
    return nll, logit
