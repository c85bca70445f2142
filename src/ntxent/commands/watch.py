"""Follow the log of a run, and say anew what its losses mean whenever it has grown."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ntxent.commands._convention import add_convention, given_convention

CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def add_arguments(parser: Any) -> None:
    parser.add_argument("path", type=str, help="Log of a run, or its folder.")
    add_convention(parser)
    parser.add_argument("--column", type=str, help="Column of the log that holds the loss.")
    parser.add_argument(
        "--every", type=float, default=5.0, help="Seconds from one look at the log to the next."
    )
    parser.add_argument(
        "--fail-on",
        type=str,
        help="Verdicts and courses at which it ends with exit status 3, as collapsed,nan,diverged.",
    )
    parser.add_argument("--times", type=int, help="Looks after which it ends; else it goes on.")


def run(options: Any) -> int:
    from ntxent.commands._diagnosis import log_lines
    from ntxent.commands._failing import check_conditions, failing
    from ntxent.commands._text import write
    from ntxent.logs import NoLog, judge_log

    check_conditions(options.fail_on)
    if not options.every > 0:
        raise ValueError(f"--every: received {options.every:g}, expected seconds > 0")
    given, looks, seen, status = given_convention(options), 0, None, 0
    while True:
        looks += 1
        state = _state(Path(options.path))
        if state != seen:
            seen = state
            try:
                judged = judge_log(options.path, given, options.column)
            except (NoLog, FileNotFoundError) as error:
                _show([f"Waiting: {error}"], write)
            else:
                if judged.trajectory is None:
                    _show([f"Waiting: {judged.problem}"], write)
                else:
                    _show(log_lines(judged, judged.trajectory), write)
                    status = failing(options.fail_on, judged.trajectory.end, judged.trajectory)
            if status:
                return status
        if options.times is not None and looks >= options.times:
            return status
        time.sleep(options.every)


def _show(lines: Any, write: Any) -> None:
    """On a cleared screen at a terminal, one after the other elsewhere."""
    if sys.stdout.isatty():
        print(CLEAR, end="")
    write(lines)
    sys.stdout.flush()


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Size and time of every file of a log, by which a change shows."""
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:  # gone since it was listed
            continue
        found.append((str(file), status.st_size, status.st_mtime_ns))
    return tuple(found)
