"""python -m study run     every run of the grid that has no rows yet, about an hour on two cores

With --quick a small grid that shows that everything works; its numbers mean nothing.
"""

import argparse
import os
from pathlib import Path

from study.grids import FULL, QUICK, specs
from study.running import run_all

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["run"])
    parser.add_argument("--quick", action="store_true", help="the small grid")
    parser.add_argument("--out", type=Path, default=HERE / "work", help="folder of the runs")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    run_all(specs(QUICK if args.quick else FULL), args.out, args.workers)


if __name__ == "__main__":
    main()
