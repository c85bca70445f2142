"""SIGINT and SIGTERM: between steps they are heard at once, in a step when it is done and saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Stop", "Terminated", "stoppable"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(SystemExit):
    """A run ended by SIGTERM: exit status 128 + 15, as if the signal had ended the process."""

    def __init__(self, message: str = "terminated") -> None:
        super().__init__(128 + signal.SIGTERM)
        self.message = message


class Stop:
    """The signal that has asked this process to stop, if one has.

    With ``defer`` a signal is kept in ``received``, for the one who saves first; but a second
    Ctrl-C comes from somebody in a hurry and acts at once. Without it every signal does.
    """

    def __init__(self) -> None:
        self.defer = False
        self.received: int | None = None

    def receive(self, signum: int, frame: FrameType | None = None) -> None:
        again, self.received = self.received is not None, signum
        if not self.defer or (again and signum == signal.SIGINT):
            raise self.exception()

    def exception(self, message: str = "") -> BaseException:
        """What ends the run, in the way Python ends one on that signal."""
        if self.received == signal.SIGTERM:
            return Terminated(f"terminated{message}")
        return KeyboardInterrupt(f"interrupted{message}")

    def listen(self) -> dict[int, Any]:
        """Take the signals, which only the main thread can, and return their former handlers."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {signum: signal.signal(signum, self.receive) for signum in SIGNALS}


@contextmanager
def stoppable() -> Iterator[Stop]:
    """A :class:`Stop` that listens until the end of the block."""
    stop = Stop()
    former = stop.listen()
    try:
        yield stop
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
