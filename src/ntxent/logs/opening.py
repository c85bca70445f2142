"""The bytes of a log as lines: of a file, a compressed file, or standard input."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ntxent.logs.columns import Columns, NoLog
from ntxent.logs.grammar import ANSI

__all__ = ["STDIN", "lines", "open_log"]

STDIN = Path("-")
COMPRESSED: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),  # 31: gzip with its header
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)
HEAD = 65536
RULES = "│┃║"  # of tables drawn with lines
CHUNK = 2**18  # bytes read at once
LONGEST = 2**24  # characters of a line; a binary file may have no line break at all


class _Decompressed(io.RawIOBase):
    """What a compressed file holds, as far as it is whole; then ``broken`` says what is wrong."""

    def __init__(self, compressed: BinaryIO, start: Callable[[], Any]) -> None:
        self.broken = ""
        self.compressed, self._start, self._codec = compressed, start, start()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self.broken:
            data = getattr(self._codec, "unused_data", b"") if self._codec.eof else b""
            data = data or self.compressed.read(HEAD)
            if not data:
                self.broken = "" if self._codec.eof else "it is cut off"
                break
            if self._codec.eof:
                self._codec = self._start()
            try:
                self._ready = self._codec.decompress(data)
            except BROKEN as error:
                self.broken = str(error)
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self.compressed.close()
        super().close()


def open_log(path: Path) -> io.BufferedReader:
    """A reader of the decompressed bytes, which can be peeked at.

    Raises:
        OSError: the path cannot be read.
    """
    if path == STDIN:
        stdin: io.BufferedReader = sys.stdin.buffer  # type: ignore[assignment]
        return stdin
    raw: io.BufferedReader = path.open("rb")
    magic = raw.read(6)
    raw.seek(0)
    start = next((s for head, s in COMPRESSED.items() if magic.startswith(head)), None)
    return raw if start is None else io.BufferedReader(_Decompressed(raw, start), HEAD)


def peek(stream: io.BufferedReader, path: Path) -> str:
    """The beginning of a stream as text, without taking it.

    Raises:
        NoLog: it is empty or binary.
    """
    head = stream.peek(HEAD)[:HEAD]
    if not head.strip():
        broken = getattr(stream.raw, "broken", "")
        if broken:
            raise NoLog(f"{path}: cannot be decompressed: {broken}")
        raise NoLog(f"{path}: empty; expected a header and rows, JSON lines, or printed losses")
    if b"\0" in head[:4096]:
        raise NoLog(
            f"{path}: a binary file; expected text such as CSV, JSON or printed lines, or "
            "TensorBoard events"
        )
    return head.decode("utf-8-sig", errors="replace")


def lines(stream: io.BufferedReader, columns: Columns) -> Iterator[tuple[int, str]]:
    """Its lines with their numbers from 1, without colours; a carriage return ends one too.

    A progress bar returns the carriage many times within one numbered line. A compressed file that
    is cut off gives what is whole.
    """
    number, rest, start = 0, b"", "\ufeff"
    while True:
        data = stream.read(CHUNK)
        columns.progress(_position(stream))
        rest, ready = _whole_lines(rest + data) if data else (b"", rest)
        # A stray byte spoils its cell, not the file.
        text = ready.decode("utf-8", errors="replace").lstrip(start)
        if ready:
            start = ""
            if "\x1b" in text:
                text = ANSI.sub("", text)
            if not text.isascii():
                for rule in RULES:
                    text = text.replace(rule, "|")
            parts = text.removesuffix("\n").split("\n")
            if "\r" not in text:
                yield from enumerate(parts, number + 1)
            else:
                for place, line in enumerate(parts, number + 1):
                    for part in re.split(r"\r+", line.rstrip("\r")):
                        yield place, part
            number += len(parts)
        if not data:
            broken = getattr(getattr(stream, "raw", None), "broken", "")
            if broken:
                columns.skip(number + 1, f"the file ends early: {broken}")
            return


def _position(stream: io.BufferedReader) -> int:
    """How many bytes of the file, compressed or not, have been read; 0 of a pipe."""
    raw = getattr(stream, "raw", None)
    file = raw.compressed if isinstance(raw, _Decompressed) else stream
    return file.tell() if file.seekable() else 0


def _whole_lines(data: bytes) -> tuple[bytes, bytes]:
    """What is left behind the last line break, and what stands before it."""
    at = data.rfind(b"\n") + 1
    return (b"", data) if not at and len(data) > LONGEST else (data[at:], data[:at])
