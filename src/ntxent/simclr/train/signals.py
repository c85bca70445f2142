"""SIGINT and SIGTERM during a run.

Between steps they end the run at once; in a step, after the step is done and its checkpoint saved.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Stop", "Terminated", "catch_signals"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(SystemExit):
    """A run ended by SIGTERM: exit status 128 + 15, as if the signal had ended the process."""

    def __init__(self, message: str = "terminated") -> None:
        super().__init__(128 + signal.SIGTERM)
        self.message = message


class Stop:
    """A signal handler that can be deferred.

    While ``defer`` is set, a signal is only stored in ``received``, so that a checkpoint can be
    saved before the run ends; a second Ctrl-C raises at once. Otherwise every signal raises.
    """

    def __init__(self) -> None:
        self.defer = False
        self.received: int | None = None

    def receive(self, signum: int, frame: FrameType | None = None) -> None:
        again, self.received = self.received is not None, signum
        if not self.defer or (again and signum == signal.SIGINT):
            raise self.exception()

    def exception(self, message: str = "") -> BaseException:
        """Returns what Python raises on the signal that was received."""
        if self.received == signal.SIGTERM:
            return Terminated(f"terminated{message}")
        return KeyboardInterrupt(f"interrupted{message}")

    def listen(self) -> dict[int, Any]:
        """Installs this handler and returns the former ones; none outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {signum: signal.signal(signum, self.receive) for signum in SIGNALS}


@contextmanager
def catch_signals() -> Iterator[Stop]:
    """Yields a :class:`Stop` that handles the signals until the end of the block."""
    stop = Stop()
    former = stop.listen()
    try:
        yield stop
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
