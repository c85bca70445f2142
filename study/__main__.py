"""python -m study run      every run of the grid that has no rows yet, then study/rows/
python -m study write    docs/study.md and its figures from study/rows/
python -m study check    some of the runs again, and how far they are from the rows; or, with
                         --against, the rows of another whole run

With --quick a small grid in build/study that shows that everything works; its numbers mean nothing.
"""

import argparse
import os
from pathlib import Path

from rich.console import Console

from study.page import rows
from study.page.repeating import again, compare, drawn
from study.page.write import write
from study.runs.grids import FULL, QUICK, Extent, specs
from study.runs.running import environment, run_all

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
    parser.add_argument("--against", type=Path, metavar="ROWS", help="check: a folder study/rows")
    args = parser.parse_args()
    if args.against and not (args.against / "runs.parquet").exists():
        parser.error(
            f"--against {args.against}: expected a folder with runs.parquet, as study/rows"
        )
    out = args.out or QUICK_FOLDER
    kept, page = (out / "rows", out / "study.md") if args.quick else (KEPT, PAGE)
    work, extent = (out / "work", QUICK) if args.quick else (HERE / "work", FULL)
    if args.action == "run":
        measure(extent, work, kept, args.workers)
    elif args.action == "check" and args.against:
        Console().print(
            compare(rows.read(kept), rows.read(args.against)), highlight=False, soft_wrap=True
        )
    elif args.action == "check":
        Console().print(
            again(drawn(specs(extent), args.runs), kept), highlight=False, soft_wrap=True
        )
    else:
        write(kept, page)
        Console().print(f"{page} and the figures in {page.with_suffix('')}")


def measure(extent: Extent, work: Path, kept: Path, workers: int) -> None:
    asked = specs(extent)
    run_all(asked, work, workers)
    rows.write(kept, *rows.collect(work, asked), environment(workers))
    Console().print(f"rows of {len(asked)} runs in {kept}; next: python -m study write")


if __name__ == "__main__":
    main()
