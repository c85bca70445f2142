"""Which file of a folder is its log."""

from __future__ import annotations

from pathlib import Path

from ntxent.logs.columns import NoLog
from ntxent.logs.opening import STDIN

__all__ = ["locate"]

# What a folder may hold, the likeliest first; the first kind found is read. Event files and the
# metrics of MLflow lie several in one folder, which is then the log.
KINDS = (
    "metrics.csv",
    "trainer_state.json",
    "*tfevents*",
    "metrics",
    "vis_data/scalars.json",
    "*.log.json",
    "*.jsonl",
    "*.ndjson",
    "progress.csv",
    "history.csv",
    "*.csv",
    "*.tsv",
    "log.json",
    "history.json",
    "metrics.json",
    "results.json",
    "*.log",
    "log.txt",
    "*.out",
    "*log*.txt",
    "*.txt",
    "*.log.gz",
    "*.csv.gz",
    "*.jsonl.gz",
)
DEPTH = 4  # folders below the one given
NO_LOGS = (
    *("requirements", "params.txt", "readme", "args.txt", "config", "environment"),
    *("measures.csv", "license"),
)


def locate(path: Path) -> Path:
    """The file that is a run's log, or a folder of event files or metrics.

    Raises:
        OSError: the path does not exist.
        NoLog: a folder holds no log, or several.
    """
    if path == STDIN:
        return path
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; expected a log or run folder")
    if not path.is_dir() or path.name == "metrics":
        return path
    for depth in range(DEPTH + 1):
        for kind in KINDS:
            matches = _matches(path, "*/" * depth + kind)
            if len(matches) > 1:
                names = ", ".join(str(match.relative_to(path)) for match in matches[:5])
                more = ", …" if len(matches) > 5 else ""
                raise NoLog(f"{path}: holds {len(matches)} logs; name one of them: {names}{more}")
            if matches:
                return matches[0]
    raise NoLog(
        f"{path}: holds no log; expected metrics.csv, trainer_state.json, *.csv, *.jsonl, *.log, "
        "TensorBoard events or the like"
    )


def _matches(path: Path, pattern: str) -> list[Path]:
    found = sorted(path.glob(pattern))
    if "tfevents" in pattern:
        return sorted({match.parent for match in found})
    if pattern.endswith("metrics"):
        return [match for match in found if match.is_dir()]
    if pattern.endswith("trainer_state.json"):
        # Of a run's checkpoints, each of which has the history so far, the last.
        by_run: dict[Path, Path] = {}
        for match in found:
            run = (
                match.parent.parent if match.parent.name.startswith("checkpoint") else match.parent
            )
            if run not in by_run or _number(match) > _number(by_run[run]):
                by_run[run] = match
        return sorted(by_run.values())
    named = [match for match in found if not match.name.lower().startswith(NO_LOGS)]
    return [match for match in named if match.is_file() and match.stat().st_size]


def _number(path: Path) -> int:
    digits = "".join(filter(str.isdigit, path.parent.name))
    return int(digits or 0)
