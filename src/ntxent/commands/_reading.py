"""How far the reading of a long log has come, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["reading"]

PATIENCE = 2.0  # seconds after which a bar is drawn


@contextmanager
def reading() -> Iterator[Callable[[float], object] | None]:
    """A function that takes the share read; None where standard error is no terminal.

    Before ``PATIENCE`` nothing is drawn. The core has no rich; without it the share is a number.
    """
    if not sys.stderr.isatty():
        yield None
        return
    start = time.monotonic()
    draw: Callable[[float], object] | None = None
    with ExitStack() as drawn:

        def progress(share: float) -> None:
            nonlocal draw
            if draw is None and time.monotonic() - start >= PATIENCE:
                draw = drawn.enter_context(_bar())
            if draw is not None:
                draw(share)

        yield progress


@contextmanager
def _bar() -> Iterator[Callable[[float], object]]:
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:
        yield lambda share: print(f"\rreading {share:4.0%}", end="", file=sys.stderr, flush=True)
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=1.0)
        yield lambda share: bar.update(task, completed=share)
