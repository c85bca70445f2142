"""The runs of the study, by question, as study/protocol.md lists them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from study.runs.data import DATA
from study.runs.failures import FAILURES
from study.runs.training import Spec

MOST_STEPS = 1024  # of a phase of the main grid


@dataclass(frozen=True)
class Extent:
    """How much of each grid is run."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    few_seeds: tuple[int, ...] = (0, 1, 2)
    sizes: tuple[int, ...] = (16, 64, 256, 1024)
    temperatures: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
    usual: int = 256
    large: int = 4096
    dims: tuple[int, ...] = (2, 8, 32, 256)
    pairs: int = 2**16


FULL = Extent()
# Minutes become seconds: every grid and every question, too short to learn anything from.
QUICK = Extent(
    seeds=(0, 1),
    few_seeds=(0,),
    sizes=(16, 64),
    temperatures=(0.05, 0.2, 0.5, 2.0),
    usual=64,
    large=256,
    dims=(2, 32),
    pairs=2**10,
)


def specs(extent: Extent) -> list[Spec]:
    return list(_specs(extent))


def _specs(extent: Extent) -> Iterator[Spec]:
    def spec(grid: str, data: str, size: int, temperature: float, seed: int) -> Spec:
        pairs = min(extent.pairs, MOST_STEPS * size)
        return Spec(grid, data, size, temperature, seed, pairs=pairs)

    seeds, usual, half = extent.seeds, extent.usual, extent.pairs // 2
    for data, size, t, seed in product(DATA, extent.sizes, extent.temperatures, seeds):
        yield spec("main", data, size, t, seed)
    for t, seed in product(extent.temperatures, extent.few_seeds):
        large = spec("large", "manifold", extent.large, t, seed)
        yield replace(large, pairs=4 * extent.pairs)
    for data, t, dim, seed in product(("digits", "manifold"), (0.05, 0.2, 0.5), extent.dims, seeds):
        yield replace(spec("dimension", data, usual, t, seed), dim=dim)
    for data, strength, seed in product(DATA, (0.0, 0.25, 0.5, 1.5), seeds):
        yield replace(spec("strength", data, usual, 0.2, seed), strength=strength)
    for data, t, failure, seed in product(DATA, (0.1, 0.5), FAILURES, seeds):
        short = spec("failures", data, usual, t, seed)
        yield replace(short, failure=failure, dense=True, pairs=half)
    for data, size, t, seed in product(DATA, (usual // 4, usual), (0.05, 0.2, 1.0), seeds):
        yield replace(spec("healthy", data, size, t, seed), dense=True, pairs=half)
    for data, size, t, seed in product(DATA, (usual // 4, usual), (0.2, 2.0), seeds):
        first = spec("restart", data, usual // 4, 2.0, seed)
        yield replace(first, strength=0.5, second=(size, t), pairs=half)
