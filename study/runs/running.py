"""Runs the grid, one process a core, and keeps each run's rows: a stopped study goes on."""

import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime, timezone
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

from study.runs.training import Spec, run

PACKAGES = ("ntxent", "torch", "numpy", "scipy", "scikit-learn")


def run_all(specs: Sequence[Spec], folder: Path, workers: int) -> None:
    """Run what has no file in ``folder`` yet; each file is written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    left = [spec for spec in specs if not path(folder, spec).exists()]
    left.sort(key=cost, reverse=True)  # none of the long ones is left over at the end
    # One thread each: what a run computes then does not depend on how many run.
    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        Progress(
            *Progress.get_default_columns()[:-1], TimeElapsedColumn(), TimeRemainingColumn()
        ) as bar,
        ProcessPoolExecutor(workers, get_context("spawn")) as pool,
    ):
        task = bar.add_task(
            f"{len(specs)} runs on {workers} cores",
            total=sum(map(cost, specs)),
            completed=sum(map(cost, specs)) - sum(map(cost, left)),
        )
        waiting = {pool.submit(_keep, spec, folder): spec for spec in left}
        try:
            for done in as_completed(waiting):
                done.result()
                bar.advance(task, cost(waiting[done]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def path(folder: Path, spec: Spec) -> Path:
    return folder / f"{spec.key}.json"


def cost(spec: Spec) -> float:
    """Relative time of a run: so much a step, and so much a row."""
    return spec.pairs / spec.batch_size * (1 + spec.batch_size / 128)


def _keep(spec: Spec, folder: Path) -> None:
    looks, end = run(spec)
    target = path(folder, spec)
    part = target.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"looks": looks, "run": end}))
    part.replace(target)


def environment(workers: int) -> dict[str, Any]:
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": cpu,
        "processes of one thread": workers,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "finished": datetime.now(timezone.utc).isoformat(timespec="minutes"),
    }
