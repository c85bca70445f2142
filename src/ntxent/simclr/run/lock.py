"""The lock of a run folder, for one process at a time."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no record locks; there nothing is locked
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds ``folder/run.lock``, whose text names this process, and removes it at the end.

    The operating system releases the lock when the process ends, in whatever way, so a file that
    was left behind locks nothing. It is a record lock, which worker processes do not inherit: they
    may outlive a killed run by some seconds.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be written.
    """
    if fcntl is None:
        yield
        return
    path = folder / "run.lock"
    try:
        handle = _acquire(path)
        os.ftruncate(handle, 0)
        host, now = socket.gethostname(), datetime.now()
        os.write(handle, f"process {os.getpid()} on {host} since {now:%Y-%m-%d %H:%M:%S}".encode())
    except BlockingIOError:
        raise
    except OSError as error:
        raise OSError(
            f"run folder {folder} cannot be written to: {error.strerror}; make room or make it "
            "writable, or choose another --folder"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 200).decode(errors="replace") or "another process"
            os.close(handle)
            if not isinstance(error, BlockingIOError | PermissionError):
                raise  # a file system without locks
            raise BlockingIOError(
                f"run folder {path.parent} is in use by {holder}; wait for it, or stop it first"
            ) from error
        # The process before may have removed the file between the open and the lock.
        try:
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)
