"""python -m study run      every run of the grid that has no rows yet, then study/rows/
python -m study write    docs/study.md and its figures from study/rows/
python -m study check    some of the runs again, and how far they are from the rows

With --quick a small grid in build/study that shows that everything works; its numbers mean nothing.
"""

import argparse
import os
import random
from pathlib import Path

import numpy as np
from rich.console import Console

from study import rows
from study.grids import FULL, QUICK, Extent, specs
from study.running import environment, run_all
from study.training import run
from study.write import write

HERE = Path(__file__).parent
KEPT = HERE / "rows"
PAGE = HERE.parent / "docs" / "study.md"
QUICK_FOLDER = HERE.parent / "build" / "study"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["run", "write", "check"])
    parser.add_argument("--quick", action="store_true", help="the small grid")
    parser.add_argument("--out", type=Path, help="with --quick: its folder")
    parser.add_argument(
        "--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (all cores)"
    )
    parser.add_argument("--runs", type=int, default=20, help="check: how many runs (%(default)s)")
    args = parser.parse_args()
    out = args.out or QUICK_FOLDER
    kept, page = (out / "rows", out / "study.md") if args.quick else (KEPT, PAGE)
    work, extent = (out / "work", QUICK) if args.quick else (HERE / "work", FULL)
    if args.action == "run":
        measure(extent, work, kept, args.workers)
    elif args.action == "check":
        check(extent, kept, args.runs)
    else:
        write(kept, page)
        Console().print(f"{page} and the figures in {page.with_suffix('')}")


def measure(extent: Extent, work: Path, kept: Path, workers: int) -> None:
    asked = specs(extent)
    run_all(asked, work, workers)
    rows.write(kept, *rows.collect(work, asked), environment(workers))
    Console().print(f"rows of {len(asked)} runs in {kept}; next: python -m study write")


def check(extent: Extent, kept: Path, count: int) -> None:
    """Repeat runs drawn at random, and report the largest differences from the kept rows."""
    known = rows.read(kept)
    columns = ["loss", "positive", "negative"]
    drawn = random.Random(0).sample(specs(extent), count)
    largest, accuracy, same = 0.0, 0.0, 0
    for spec in drawn:
        looks, end = run(spec)
        before = known.looks[known.looks.run == spec.key][columns].to_numpy()
        now = np.array([[look.get(name, np.nan) for name in columns] for look in looks])
        difference = float(np.nanmax(abs(now.astype(np.float32) - before)))
        same += difference == 0
        largest = max(largest, difference)
        kept_end = known.runs[known.runs.run == spec.key].few.item()
        accuracy = max(accuracy, abs(end["few"] - kept_end))
    Console().print(
        f"{count} runs again: {same} with the same bits; loss and similarities differ by at most "
        f"{largest:.2g}, the accuracy by {100 * accuracy:.2g} points"
    )


if __name__ == "__main__":
    main()
