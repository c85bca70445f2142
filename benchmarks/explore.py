"""What was tried to make the CPU engine faster, each beside what is in it: one line of ratios each.

Every pair takes turns on a tile of the engine's shape; figures are medians of the ratios.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.environment import describe, environment
from ntxent import NTXentLoss
from ntxent.engines import tiled


def ratio(new: Callable[[], object], now: Callable[[], object], repeats: int) -> str:
    """Time of the new over that of what is in the engine."""
    pairs = []
    for function in (new, now):
        function()
    for _ in range(repeats):
        seconds = []
        for function in (new, now):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
        pairs.append(seconds[0] / seconds[1])
    low, middle, high = statistics.quantiles(pairs, n=4)
    return f"{middle:.2f} of the time now (quartiles {low:.2f} to {high:.2f})"


def fused(repeats: int, d: int) -> None:
    """exp, row sums and column sums of a tile in one kernel of torch.compile."""
    height, width = tiled._TILE["cpu"]
    logits, out = torch.randn(height, width), torch.empty(height, width)

    def eager() -> tuple[Tensor, Tensor]:
        weights = torch.exp(logits, out=out)
        return weights.sum(1), weights.sum(0)

    @torch.compile(dynamic=False)
    def compiled(logits: Tensor) -> tuple[Tensor, Tensor]:
        weights = logits.exp()
        return weights.sum(1), weights.sum(0)

    print("fused exp and sums, forward  ", ratio(lambda: compiled(logits), eager, repeats))

    share, other = torch.rand(height), torch.rand(width)
    buffer = torch.empty(height, width)

    def eager_backward() -> Tensor:
        flow = torch.exp(logits, out=out)
        return flow.mul_(torch.add(share[:, None], other, out=buffer))

    @torch.compile(dynamic=False)
    def compiled_backward(logits: Tensor, share: Tensor, other: Tensor) -> Tensor:
        return logits.exp() * (share[:, None] + other)

    call = ratio(lambda: compiled_backward(logits, share, other), eager_backward, repeats)
    print("fused exp and shares, backward", call)


def products(repeats: int, d: int) -> None:
    """The product of a tile in bfloat16, and as three bfloat16 products (float32's high half and
    low half), which keep 16 bits of each factor.
    """
    height, width = tiled._TILE["cpu"]
    x, y = torch.randn(height, d), torch.randn(width, d)
    out = torch.empty(height, width)
    x_high, y_high = x.bfloat16(), y.bfloat16()
    x_low, y_low = ((t - h.float()).bfloat16() for t, h in ((x, x_high), (y, y_high)))

    def single() -> Tensor:
        return torch.mm(x, y.T, out=out)

    def one() -> Tensor:
        return torch.mm(x_high, y_high.T)

    def three() -> Tensor:
        return (x_high @ y_high.T).float() + (x_high @ y_low.T) + (x_low @ y_high.T)

    print("one bfloat16 product          ", ratio(one, single, repeats))
    print("three bfloat16 products       ", ratio(three, single, repeats))

    def medium() -> Tensor:
        torch.set_float32_matmul_precision("medium")
        try:
            return single()
        finally:
            torch.set_float32_matmul_precision("highest")

    print('float32_matmul_precision "medium"', ratio(medium, single, repeats))
    exact = x.double() @ y.double().T
    for name, product in (("float32", single), ("medium", medium), ("one", one), ("three", three)):
        error = float((product() - exact).abs().max() / exact.abs().max())
        print(f"    error of {name:8} {error:.1e}")


def panels(repeats: int, d: int) -> None:
    """Whole steps at N = 4,096 with tiles of other shapes."""
    z1, z2 = (torch.randn(4096, d, requires_grad=True) for _ in range(2))
    criterion = NTXentLoss(0.5)
    shape = tiled._TILE["cpu"]

    def step(tile: tuple[int, int]) -> Callable[[], None]:
        def run() -> None:
            tiled._TILE["cpu"] = tile
            tiled._WORKSPACE.__init__()  # type: ignore[misc]
            criterion(z1, z2).backward()
            tiled._TILE["cpu"] = shape

        return run

    for tile in ((128, 1024), (256, 2048), (512, 1024), (512, 4096), (1024, 2048), (1024, 8192)):
        print(
            f"tiles of {tile[0]:4} x {tile[1]:4}           ",
            ratio(step(tile), step(shape), repeats // 4),
        )


def skipping(repeats: int, d: int) -> None:
    """Share of tiles in which no candidate adds a unit in the last place of float32 to any sum of
    its rows and columns: those could be skipped, were they known before they are computed.
    """
    height, width = tiled._TILE["cpu"]
    centres = torch.randn(64, d)
    for temperature in (0.5, 0.1, 0.02):
        cluster = torch.randint(64, (4096,))
        views = [centres[cluster] + 0.3 * torch.randn(4096, d) for _ in range(2)]
        for order, by in (
            ("as sampled", torch.arange(4096)),
            ("sorted by cluster", cluster.argsort()),
        ):
            z = torch.nn.functional.normalize(torch.stack(views, 1)[by].flatten(0, 1), dim=1)
            logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
            negligible = logits < logits.amax(1, keepdim=True) - 24 * 0.6931 - 9  # of 8,192 terms
            negligible = negligible & negligible.T
            tiles = negligible.unfold(0, height, height).unfold(1, width, width)
            share = float(tiles.all(-1).all(-1).float().mean())
            print(f"negligible tiles, temperature {temperature:4}, {order:17} {share:.0%}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explore", description=__doc__)
    parser.add_argument("-d", type=int, default=128, help="dimension of the embeddings")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    torch.manual_seed(0)
    print(describe(environment()))
    for trial in (fused, products, panels, skipping):
        trial(options.repeats, options.d)
    return 0


if __name__ == "__main__":
    sys.exit(main())
