"""The kernels: plain Triton, for the compiler and for its interpreter alike.

Logits are kept in base 2, ``l = scale * log2(e) * <x_i, y_k>``, so that a probability costs one
multiply-add and one ``exp2``. A sum of exponentials is a pair (maximum, sum), standing for
``sum * 2 ** maximum``; where the sum is 0 the maximum is LOWEST, so that it never hides another.

Tiles are square, BLOCK x BLOCK. What a tile must look at is decided by scalars that ``describe``
and ``prepare`` leave per block of BLOCK rows: it masks only where ids may meet or the edge is
inside, and looks for targets only where one may be.

Anchors are the rows of ``x``, the rows of ``y``, or both; a self-similarity block is both, with the
same rows on either side. Shapes: x [M, D], y [K, D], an anchor's values [M] and [K].
"""

import triton
import triton.language as tl

from ntxent.engines import _triton

INTERPRETED = tl.constexpr(_triton.INTERPRETED)
LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)
# Finite, so that no difference of two of them is NaN; float32's largest is 3.4e38.
LOWEST = tl.constexpr(-3.0e38)
HIGHEST = tl.constexpr(3.0e38)
# Where every |l| <= 96, 2 ** l needs no shift: it is above the smallest normal float32, 2 ** -126,
# and a sum of 2 ** 30 of them is below the largest, 2 ** 128.
REACH = tl.constexpr(96.0)
# Where the log-sum-exps of a tile's anchors differ by no more, one exponential serves rows and
# columns: 2 ** (l - lowest) <= 2 ** 64, and what underflows has a probability below 2 ** -126.
SPREAD = tl.constexpr(64.0)


@triton.jit
def _load_rows(source, rows, total, columns, D: tl.constexpr):
    """Rows of a [total, D] matrix, 0 outside it."""
    inside = (rows[:, None] < total) & (columns[None, :] < D)
    places = rows[:, None].to(tl.int64) * D + columns[None, :]
    return tl.load(source + places, mask=inside, other=0.0)


@triton.jit
def _product(left, right, total, PRECISION: tl.constexpr):
    """total + left @ right. The interpreter would multiply the bit patterns of bfloat16."""
    if INTERPRETED and left.dtype == tl.bfloat16:
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, total, input_precision=PRECISION, out_dtype=total.dtype)


@triton.jit
def _dots_by_chunk(
    x, rows, M, y, columns, K, zero, D: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr
):
    """<x_i, y_k> where a row does not fit into one chunk; ``zero`` is the tile to start from."""
    dots = zero
    for start in range(0, D, BLOCK_D):
        depth = start + tl.arange(0, BLOCK_D)
        x_tile = _load_rows(x, rows, M, depth, D)
        y_tile = _load_rows(y, columns, K, depth, D)
        dots = _product(x_tile, tl.trans(y_tile), dots, PRECISION)
    return dots


@triton.jit
def _weighted_rows(weights, rows, total, PRECISION: tl.constexpr):
    """total + weights @ rows. Small probabilities underflow in float16, whose rows TF32 holds
    exactly; bfloat16 has float32's range.
    """
    if rows.dtype == tl.float16:
        total = _product(weights, rows.to(tl.float32), total, "tf32")
    else:
        total = _product(weights.to(rows.dtype), rows, total, PRECISION)
    return total


@triton.jit
def _add(maximum, total, other_maximum, other_total):
    """The sum of two sums of exponentials."""
    top = tl.maximum(maximum, other_maximum)
    kept = total * tl.exp2(maximum - top) + other_total * tl.exp2(other_maximum - top)
    return top, kept


@triton.jit
def _label_ranges(ids, target, ranges, block, blocks, count, BLOCK: tl.constexpr):
    """Lowest and highest id, lowest and highest target of a block, as ranges[0 to 3, block]."""
    # The last row stands in for those beyond it.
    row = tl.minimum(block * BLOCK + tl.arange(0, BLOCK), count - 1)
    label = tl.load(ids + row)
    tl.store(ranges + block, tl.min(label, 0))
    tl.store(ranges + blocks + block, tl.max(label, 0))
    label = tl.load(target + row)
    tl.store(ranges + 2 * blocks + block, tl.min(label, 0))
    tl.store(ranges + 3 * blocks + block, tl.max(label, 0))


@triton.jit(do_not_specialize=["count"])
def describe(
    rows,
    ids,
    target,
    longest,
    ranges,
    count,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Before the forward pass: each block's longest row, and the ranges of its labels."""
    block = tl.program_id(0)
    blocks = tl.num_programs(0)
    row = block * BLOCK + tl.arange(0, BLOCK)
    squares = tl.zeros([BLOCK], longest.dtype.element_ty)
    for start in range(0, D, BLOCK_D):
        part = _load_rows(rows, row, count, start + tl.arange(0, BLOCK_D), D).to(squares.dtype)
        squares += tl.sum(part * part, 1)
    tl.store(longest + block, tl.sqrt(tl.max(squares, 0)))
    _label_ranges(ids, target, ranges, block, blocks, count, BLOCK)


@triton.jit(do_not_specialize=["M", "K", "first", "chunk"])
def sum_tiles(
    x,
    y,
    scale,
    x_ids,
    y_ids,
    x_target,
    y_target,
    x_longest,
    y_longest,
    x_ranges,
    y_ranges,
    x_logit,
    y_logit,
    row_maximum,
    row_sum,
    column_maximum,
    column_sum,
    M,
    K,
    first,
    chunk,
    SYMMETRIC: tl.constexpr,
    COLUMNS: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Forward: a block of rows against ``chunk`` blocks of columns.

    Program (p, s) of (P, S) takes row block first + p. It leaves the rows' sums in row s of
    ``row_*`` [S, P * BLOCK], with COLUMNS also the columns' in row p of ``column_*`` [P, K], and
    the targets' logits in base 2. A SYMMETRIC block is walked on and right of its diagonal.
    """
    panel = tl.program_id(0)
    split = tl.program_id(1)
    i = first + panel
    x_blocks = tl.cdiv(M, BLOCK)
    y_blocks = tl.cdiv(K, BLOCK)
    lanes = tl.arange(0, BLOCK)
    top = i * BLOCK
    rows = top + lanes
    row_inside = rows < M
    depth = tl.arange(0, BLOCK_D)

    x_id = tl.load(x_ids + rows, mask=row_inside, other=0)
    x_aim = tl.load(x_target + rows, mask=row_inside, other=-1)
    x_id_low = tl.load(x_ranges + i)
    x_id_high = tl.load(x_ranges + x_blocks + i)
    x_aim_low = tl.load(x_ranges + 2 * x_blocks + i)
    x_aim_high = tl.load(x_ranges + 3 * x_blocks + i)
    factor = tl.load(scale) * LOG2E
    reach = tl.abs(factor) * tl.load(x_longest + i)
    maximum = tl.full([BLOCK], LOWEST, factor.dtype)
    total = tl.zeros([BLOCK], factor.dtype)
    if D <= BLOCK_D:
        x_tile = _load_rows(x, rows, M, depth, D)

    low = split * chunk
    if SYMMETRIC:
        low += i
    for j in range(low, tl.minimum(low + chunk, y_blocks)):
        left = j * BLOCK
        columns = left + lanes
        column_inside = columns < K
        zero = tl.zeros([BLOCK, BLOCK], factor.dtype)
        if D <= BLOCK_D:
            y_tile = _load_rows(y, columns, K, depth, D)
            dots = _product(x_tile, tl.trans(y_tile), zero, PRECISION)
        else:
            dots = _dots_by_chunk(x, rows, M, y, columns, K, zero, D, BLOCK_D, PRECISION)
        logits = dots * factor

        # Taken from the tile, a target's logit has the rounding of the candidates beside it.
        if (x_aim_low < left + BLOCK) & (x_aim_high >= left):
            aimed = tl.where(x_aim[:, None] == columns[None, :], logits, 0.0)
            here = (x_aim >= left) & (x_aim < left + BLOCK)
            tl.store(x_logit + rows, tl.sum(aimed, 1), mask=row_inside & here)
        off_diagonal = j != i if SYMMETRIC else j >= 0
        if COLUMNS:
            y_aim_low = tl.load(y_ranges + 2 * y_blocks + j)
            y_aim_high = tl.load(y_ranges + 3 * y_blocks + j)
            if off_diagonal & (y_aim_low < top + BLOCK) & (y_aim_high >= top):
                y_aim = tl.load(y_target + columns, mask=column_inside, other=-1)
                aimed = tl.where(rows[:, None] == y_aim[None, :], logits, 0.0)
                here = (y_aim >= top) & (y_aim < top + BLOCK)
                tl.store(y_logit + columns, tl.sum(aimed, 0), mask=column_inside & here)

        meet = (x_id_low <= tl.load(y_ranges + y_blocks + j)) & (tl.load(y_ranges + j) <= x_id_high)
        if meet | (top + BLOCK > M) | (left + BLOCK > K):
            y_id = tl.load(y_ids + columns, mask=column_inside, other=0)
            candidate = row_inside[:, None] & column_inside[None, :]
            candidate = candidate & (x_id[:, None] != y_id[None, :])
            logits = tl.where(candidate, logits, float("-inf"))

        row_top = tl.zeros([BLOCK], factor.dtype)
        column_top = tl.zeros([BLOCK], factor.dtype)
        column_total = tl.zeros([BLOCK], factor.dtype)
        if reach * tl.load(y_longest + j) <= REACH:
            exponentials = tl.exp2(logits)
            row_total = tl.sum(exponentials, 1)
            if COLUMNS:
                column_total = tl.sum(exponentials, 0)
        else:
            row_top = tl.maximum(tl.max(logits, 1), LOWEST)
            row_total = tl.sum(tl.exp2(logits - row_top[:, None]), 1)
            if COLUMNS:
                column_top = tl.maximum(tl.max(logits, 0), LOWEST)
                column_total = tl.sum(tl.exp2(logits - column_top[None, :]), 0)
        row_top = tl.where(row_total > 0, row_top, LOWEST)
        maximum, total = _add(maximum, total, row_top, row_total)
        if COLUMNS:
            if off_diagonal:
                places = panel.to(tl.int64) * K + columns
                column_top = tl.where(column_total > 0, column_top, LOWEST)
                tl.store(column_maximum + places, column_top, mask=column_inside)
                tl.store(column_sum + places, column_total, mask=column_inside)

    places = (split.to(tl.int64) * tl.num_programs(0) + panel) * BLOCK + lanes
    tl.store(row_maximum + places, maximum)
    tl.store(row_sum + places, total)


@triton.jit(do_not_specialize=["count", "first", "panels", "splits", "start", "rows_end"])
def merge_sums(
    row_maximum,
    row_sum,
    column_maximum,
    column_sum,
    running_maximum,
    running_sum,
    target,
    logit,
    nll,
    count,
    first,
    panels,
    splits,
    start,
    rows_end,
    RESUME: tl.constexpr,
    FINISH: tl.constexpr,
    COLUMNS: tl.constexpr,
    SYMMETRIC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add what ``sum_tiles`` left for row blocks first ... first + panels - 1, in a fixed order.

    Program p looks after the anchors of block start + p. With COLUMNS they were columns of these
    tiles; those before ``rows_end`` were rows, and with that are done; with FINISH all are. The
    others run on, and with RESUME have run before.
    """
    block = start + tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    anchors = block * BLOCK + lanes
    inside = anchors < count
    maximum = tl.full([BLOCK], LOWEST, nll.dtype.element_ty)
    total = tl.zeros([BLOCK], nll.dtype.element_ty)
    if RESUME:
        maximum = tl.load(running_maximum + anchors, mask=inside, other=LOWEST)
        total = tl.load(running_sum + anchors, mask=inside, other=0.0)
    if COLUMNS:
        above = tl.minimum(panels, block - first) if SYMMETRIC else panels
        for panel in range(0, above):
            places = tl.cast(panel, tl.int64) * count + anchors
            top = tl.load(column_maximum + places, mask=inside, other=LOWEST)
            part = tl.load(column_sum + places, mask=inside, other=0.0)
            maximum, total = _add(maximum, total, top, part)
    if block < rows_end:
        for split in range(0, splits):
            places = (split * panels + block - first) * BLOCK + lanes
            top = tl.load(row_maximum + places)
            maximum, total = _add(maximum, total, top, tl.load(row_sum + places))
    if (block < rows_end) | FINISH:
        aim = tl.load(target + anchors, mask=inside, other=-1)
        own = tl.load(logit + anchors, mask=inside & (aim >= 0), other=0.0)
        # log2(total) + maximum - own, without forming log2(total) + maximum: 2 ** exponent is split
        # off the total, and the three large terms cancel exactly.
        if total.dtype == tl.float64:
            exponent = (total.to(tl.int64, bitcast=True) >> 52) - 1023
            unit = ((1023 - exponent) << 52).to(tl.float64, bitcast=True)
        else:
            exponent = (total.to(tl.int32, bitcast=True) >> 23) - 127
            unit = ((127 - exponent) << 23).to(tl.float32, bitcast=True)
        gap = maximum - own + exponent.to(total.dtype)
        empty = total == 0
        value = (tl.log2(tl.where(empty, 1.0, total * unit)) + gap) * LN2
        tl.store(nll + anchors, tl.where(empty, float("-inf"), value), mask=inside)
        tl.store(logit + anchors, own * LN2, mask=inside)
    else:
        tl.store(running_maximum + anchors, maximum, mask=inside)
        tl.store(running_sum + anchors, total, mask=inside)


@triton.jit(do_not_specialize=["count"])
def prepare(
    grad_nll,
    grad_logit,
    nll,
    logit,
    ids,
    target,
    anchors,
    lows,
    highs,
    ranges,
    count,
    ANCHORS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Before the backward pass: for each anchor its log-sum-exp in base 2, the gradient that its
    candidates share and the one that its target gets beyond that, as ``anchors`` [3, count]; for
    each block the lowest and highest log-sum-exp, and the ranges of its labels.

    An anchor without candidates has nothing to share: HIGHEST makes its probabilities 0.
    """
    block = tl.program_id(0)
    blocks = tl.num_programs(0)
    _label_ranges(ids, target, ranges, block, blocks, count, BLOCK)
    if ANCHORS:
        row = block * BLOCK + tl.arange(0, BLOCK)
        inside = row < count
        value = tl.load(nll + row, mask=inside, other=float("-inf"))
        own = tl.load(logit + row, mask=inside, other=0.0)
        share = tl.load(grad_nll + row, mask=inside, other=0.0)
        at_target = tl.load(grad_logit + row, mask=inside, other=0.0) - share
        empty = value == float("-inf")
        lse = tl.where(empty, HIGHEST, (own + value) * LOG2E)
        tl.store(anchors + row, lse, mask=inside)
        tl.store(anchors + count + row, tl.where(empty, 0.0, share), mask=inside)
        tl.store(anchors + 2 * count + row, at_target, mask=inside)
        tl.store(lows + block, tl.min(lse, 0))
        tl.store(highs + block, tl.max(tl.where(empty, LOWEST, lse), 0))


@triton.jit(do_not_specialize=["M", "K", "first", "start", "stop", "chunk"])
def gradient(
    x,
    y,
    scale,
    x_ids,
    y_ids,
    x_target,
    y_target,
    x_anchors,
    y_anchors,
    x_lows,
    y_lows,
    x_highs,
    y_highs,
    x_ranges,
    y_ranges,
    dx,
    dy,
    M,
    K,
    first,
    start,
    stop,
    chunk,
    X_ANCHORS: tl.constexpr,
    Y_ANCHORS: tl.constexpr,
    ATOMIC: tl.constexpr,
    TRIANGLE: tl.constexpr,
    PANEL: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Backward: dx = scale * G y for a block of rows and ``chunk`` blocks of columns,

        G_ik = share_i P_ik + share_k P_ki + at_i [k = target_i] + at_k [i = target_k],

    its halves present where the rows of x and of y are anchors. Program (i, c, s) takes row block
    i, the c-th BLOCK_OUT columns of dx, and the s-th ``chunk`` blocks, whose share it leaves in
    dx [S, M, D]. ATOMIC adds it to dx [M, D] instead, and scale * G^T x to dy; on a TRIANGLE,
    x = y and dx = dy, a tile right of the diagonal stands for its transpose. For a PANEL, row
    blocks from ``first`` on and column blocks start ... stop - 1, G itself is left in
    dx [P * BLOCK, (stop - start) * BLOCK], 0 beyond the rows and columns.
    """
    i = tl.program_id(0)
    if PANEL:
        i += first
    out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    split = tl.program_id(2)
    x_blocks = tl.cdiv(M, BLOCK)
    y_blocks = tl.cdiv(K, BLOCK)
    lanes = tl.arange(0, BLOCK)
    top = i * BLOCK
    rows = top + lanes
    row_inside = rows < M
    depth = tl.arange(0, BLOCK_D)

    x_id = tl.load(x_ids + rows, mask=row_inside, other=0)
    x_id_low = tl.load(x_ranges + i)
    x_id_high = tl.load(x_ranges + x_blocks + i)
    beta = tl.load(scale)
    factor = beta * LOG2E
    if X_ANCHORS:
        x_lse = tl.load(x_anchors + rows, mask=row_inside, other=HIGHEST)
        x_share = tl.load(x_anchors + M + rows, mask=row_inside, other=0.0)
        x_at = tl.load(x_anchors + 2 * M + rows, mask=row_inside, other=0.0)
        x_aim = tl.load(x_target + rows, mask=row_inside, other=-1)
        x_aim_low = tl.load(x_ranges + 2 * x_blocks + i)
        x_aim_high = tl.load(x_ranges + 3 * x_blocks + i)
    if X_ANCHORS and Y_ANCHORS:
        x_low = tl.load(x_lows + i)
        x_high = tl.load(x_highs + i)
    total = tl.zeros([BLOCK, BLOCK_OUT], factor.dtype)
    if D <= BLOCK_D:
        x_tile = _load_rows(x, rows, M, depth, D)
    elif ATOMIC:
        x_out = _load_rows(x, rows, M, out, D)

    low = split * chunk
    end = y_blocks
    if TRIANGLE:
        low += i
    if PANEL:
        low += start
        end = stop
    for j in range(low, tl.minimum(low + chunk, end)):
        left = j * BLOCK
        columns = left + lanes
        column_inside = columns < K
        zero = tl.zeros([BLOCK, BLOCK], factor.dtype)
        if D <= BLOCK_D:
            y_tile = _load_rows(y, columns, K, depth, D)
            dots = _product(x_tile, tl.trans(y_tile), zero, PRECISION)
        else:
            dots = _dots_by_chunk(x, rows, M, y, columns, K, zero, D, BLOCK_D, PRECISION)
        logits = dots * factor
        meet = (x_id_low <= tl.load(y_ranges + y_blocks + j)) & (tl.load(y_ranges + j) <= x_id_high)
        if meet | (top + BLOCK > M) | (left + BLOCK > K):
            y_id = tl.load(y_ids + columns, mask=column_inside, other=0)
            candidate = row_inside[:, None] & column_inside[None, :]
            candidate = candidate & (x_id[:, None] != y_id[None, :])
            logits = tl.where(candidate, logits, float("-inf"))

        if Y_ANCHORS:
            y_lse = tl.load(y_anchors + columns, mask=column_inside, other=HIGHEST)
            y_share = tl.load(y_anchors + K + columns, mask=column_inside, other=0.0)
        if X_ANCHORS and Y_ANCHORS:
            lowest = tl.minimum(x_low, tl.load(y_lows + j))
            if tl.maximum(x_high, tl.load(y_highs + j)) - lowest <= SPREAD:
                x_part = x_share * tl.exp2(lowest - x_lse)
                y_part = y_share * tl.exp2(lowest - y_lse)
                weights = tl.exp2(logits - lowest) * (x_part[:, None] + y_part[None, :])
            else:
                weights = tl.exp2(logits - x_lse[:, None]) * x_share[:, None]
                weights += tl.exp2(logits - y_lse[None, :]) * y_share[None, :]
        elif X_ANCHORS:
            weights = tl.exp2(logits - x_lse[:, None]) * x_share[:, None]
        else:
            weights = tl.exp2(logits - y_lse[None, :]) * y_share[None, :]

        # Beside the candidates' share, so that they cancel inside the product that follows.
        if X_ANCHORS:
            if (x_aim_low < left + BLOCK) & (x_aim_high >= left):
                aimed = x_aim[:, None] == columns[None, :]
                weights += tl.where(aimed, x_at[:, None], 0.0)
        if Y_ANCHORS:
            y_aim_low = tl.load(y_ranges + 2 * y_blocks + j)
            y_aim_high = tl.load(y_ranges + 3 * y_blocks + j)
            if (y_aim_low < top + BLOCK) & (y_aim_high >= top):
                y_aim = tl.load(y_target + columns, mask=column_inside, other=-1)
                at = y_anchors + 2 * K + columns
                y_at = tl.load(at, mask=column_inside, other=0.0)
                aimed = rows[:, None] == y_aim[None, :]
                weights += tl.where(aimed, y_at[None, :], 0.0)

        if PANEL:
            line = (tl.program_id(0).to(tl.int64) * BLOCK + lanes) * (stop - start) * BLOCK
            places = line[:, None] + ((j - start) * BLOCK + lanes)[None, :]
            tl.store(dx + places, weights.to(dx.dtype.element_ty))
        elif D <= BLOCK_D:
            total = _weighted_rows(weights, y_tile, total, PRECISION)
        else:
            total = _weighted_rows(weights, _load_rows(y, columns, K, out, D), total, PRECISION)
        if ATOMIC:
            off_diagonal = j != i if TRIANGLE else j >= 0
            if off_diagonal:
                part = tl.zeros([BLOCK, BLOCK_OUT], factor.dtype)
                if D <= BLOCK_D:
                    part = _weighted_rows(tl.trans(weights), x_tile, part, PRECISION)
                else:
                    part = _weighted_rows(tl.trans(weights), x_out, part, PRECISION)
                places = columns[:, None].to(tl.int64) * D + out[None, :]
                inside = column_inside[:, None] & (out[None, :] < D)
                tl.atomic_add(dy + places, part * beta, mask=inside, sem="relaxed")

    places = rows[:, None].to(tl.int64) * D + out[None, :]
    inside = row_inside[:, None] & (out[None, :] < D)
    if ATOMIC:
        tl.atomic_add(dx + places, total * beta, mask=inside, sem="relaxed")
    elif not PANEL:
        tl.store(dx + tl.cast(split, tl.int64) * M * D + places, total * beta, mask=inside)


@triton.jit(do_not_specialize=["M", "K", "first", "start", "width"])
def add_panel(
    panel,
    y,
    scale,
    dx,
    M,
    K,
    first,
    start,
    width,
    RESUME: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """dx = scale * G y, or with RESUME that much more, from the columns' blocks start ... start +
    width - 1 of a panel of G [P * BLOCK, width * BLOCK]. Program (c, p) takes row block first + p
    and the c-th BLOCK_OUT columns of dx.
    """
    out = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    place = tl.program_id(1)
    lanes = tl.arange(0, BLOCK)
    beta = tl.load(scale)
    total = tl.zeros([BLOCK, BLOCK_OUT], beta.dtype)
    line = (place.to(tl.int64) * BLOCK + lanes)[:, None] * width * BLOCK
    for block in range(0, width):
        weights = tl.load(panel + line + (block * BLOCK + lanes)[None, :])
        y_tile = _load_rows(y, (start + block) * BLOCK + lanes, K, out, D)
        total = _weighted_rows(weights, y_tile, total, PRECISION)
    rows = (first + place) * BLOCK + lanes
    places = rows[:, None].to(tl.int64) * D + out[None, :]
    inside = (rows[:, None] < M) & (out[None, :] < D)
    total *= beta
    if RESUME:
        total += tl.load(dx + places, mask=inside)
    tl.store(dx + places, total, mask=inside)
