"""Stages of work, such as decoding a folder, shown with their time left where they take seconds.

What works in stages takes a :class:`Stages` as its last argument, ``silent`` unless given::

    with stages("decoding 3,775 images", 3775) as advance:
        for image in images:
            decode(image)
            advance(1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Timer
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ConsoleStages", "Stages", "silent"]

SHORTEST = 2.0  # seconds of a stage that is shown


class Stages(Protocol):
    """Opens a stage of that many parts; what it yields is called with the parts just done."""

    def __call__(
        self, name: str, total: int | None = None
    ) -> AbstractContextManager[Callable[[int], None]]: ...


@contextmanager
def silent(name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A stage that is not shown."""
    yield lambda done: None


class ConsoleStages:
    """Shows stages of more than two seconds, one at a time, on standard error.

    At a terminal they have a bar with the time left, which vanishes at their end; elsewhere a line
    with their seconds when they are done.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console

    @contextmanager
    def __call__(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        from rich.console import Console

        console = self.console or Console(stderr=True)
        if console.is_terminal:
            with _bar(console, name, total) as advance:
                yield advance
            return
        started = perf_counter()
        yield lambda done: None
        seconds = perf_counter() - started
        if seconds >= SHORTEST:
            line = f"{name}: {seconds:.0f} s"
            console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _bar(console: Console, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    bar = Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # One part may take longer than the 30 s over which rich measures speed.
        speed_estimate_period=600,
    )
    task = bar.add_task(name, total=total)
    # A timer, as a stage may take its two seconds in one part.
    timer = Timer(SHORTEST, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done: bar.advance(task, done)
    finally:
        timer.cancel()
        timer.join()
        if bar.live.is_started:
            bar.stop()
