"""The first message of every loss among several processes: all of them go on, or none does.

A message whose size differs between ranks hangs or aborts their processes. So before any other,
each rank sends one of a fixed size: how many rows it has, and a digest of everything else that must
be equal. A rank that refuses its input sends the same message, with the refusal marked. Where one
does, or the digests differ, every rank sends a text as well, also of a fixed size: the refusal, or
its own settings by name. From these all ranks make the same sentence, and raise it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ntxent.distributed.group import Group

__all__ = ["Fact", "Header", "agree", "refuse"]

Fact = str | bool | int | float | None

TEXT = 4096
"""Bytes of the text."""
VALUE = 80
"""Characters of a setting in it: 40 settings fit."""


class Header(NamedTuple):
    """What each rank sends first, as int64."""

    refuses: int = 0
    samples: int = 0
    n_negatives: int = 0
    optional: int = 0
    """Whether this rank wants the steps that are optional."""
    scale: int = 0
    """The bits of a float64."""
    digest: int = 0
    """Of what must be equal on every rank."""


SCALE = Header._fields.index("scale")


def agree(
    group: Group, own: Header, facts: Mapping[str, Fact], scale: Tensor | None
) -> list[Header]:
    """Return the header of every rank, after a check that ``facts`` and ``scale`` are equal.

    Raises:
        ValueError, TypeError, RuntimeError: the same on every rank: one of them refuses its input,
            or something differs between them.
    """
    lines = [f"{name}\t{_shortened(value)}" for name, value in facts.items()]
    digest = hashlib.blake2b("\n".join(lines).encode(), digest_size=8).digest()
    headers = _headers(
        group, own._replace(digest=int.from_bytes(digest, "little", signed=True)), scale
    )
    if any(header.refuses for header in headers):
        raise _refusal(headers, _texts(group, ""))
    if len({header[SCALE:] for header in headers}) > 1:
        if scale is not None:
            lines.append(f"scale (1 / temperature)\t{float(scale.detach())!r}")
        raise _disagreement(_texts(group, "\n".join(lines)))
    return headers


def refuse(group: Group, error: Exception) -> Exception | None:
    """Tell the other ranks why this one does not go on.

    Returns:
        What every rank is to raise, or None where all of them refuse with the text of ``error``.
    """
    headers = _headers(group, Header(refuses=1), None)
    texts = _texts(group, f"{type(error).__name__}\n{error}")
    if all(header.refuses for header in headers) and len({*texts}) == 1:
        return None
    return _refusal(headers, texts)


def _headers(group: Group, own: Header, scale: Tensor | None) -> list[Header]:
    device = group.device()
    message = torch.tensor(own, dtype=torch.int64, device=device)
    if scale is not None:  # copied, not read: a read would make the host wait for the device
        message[SCALE] = scale.detach().double().view(torch.int64).to(device)
    return [Header(*row) for row in torch.stack(group.all_gather(message)).tolist()]


def _texts(group: Group, own: str) -> list[str]:
    """The text of every rank; the end of one longer than ``TEXT`` bytes is lost."""
    padded = own.encode()[:TEXT].ljust(TEXT, b"\0")
    message = torch.frombuffer(bytearray(padded), dtype=torch.uint8).to(group.device())
    received = group.all_gather(message)
    return [bytes(text.tolist()).rstrip(b"\0").decode(errors="ignore") for text in received]


def _shortened(value: Fact) -> str:
    """The value as an error shows it, of at most ``VALUE`` characters on one line."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > VALUE or "\n" in text or "\t" in text:
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        text = f"{' '.join(text.split())[: VALUE - 12]}... ({digest})"
    return text


# --- the sentence ---------------------------------------------------------------------------------


def _refusal(headers: Sequence[Header], texts: Sequence[str]) -> Exception:
    """The error of the first rank that refuses, with the ranks that give the same reason."""
    reason = next(text for header, text in zip(headers, texts, strict=True) if header.refuses)
    refusing = [rank for rank, text in enumerate(texts) if text == reason]
    name, _, text = reason.partition("\n")
    kinds: dict[str, type[Exception]] = {"ValueError": ValueError, "TypeError": TypeError}
    if name not in {*kinds, "RuntimeError"}:
        text = f"{name}: {text}"
    return kinds.get(name, RuntimeError)(f"{_named(refusing)} of {len(headers)}: {text}")


def _disagreement(texts: Sequence[str]) -> ValueError:
    """The first setting that differs, with every value of it and the ranks that have it."""
    settings = [dict(line.split("\t", 1) for line in text.splitlines()) for text in texts]
    for name in dict.fromkeys(name for of_rank in settings for name in of_rank):
        ranks: dict[str, list[int]] = {}
        for rank, of_rank in enumerate(settings):
            ranks.setdefault(of_rank.get(name, "nothing"), []).append(rank)
        if len(ranks) > 1:
            values = " and ".join(f"{value} on {_named(having)}" for value, having in ranks.items())
            return ValueError(
                f"{name}: received {values}, expected the same on all {len(texts)} ranks"
            )
    return ValueError("scale (1 / temperature): received different NaNs, expected a number > 0")


def _named(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > 4:
        return f"ranks {', '.join(map(str, ranks[:3]))}, ... ({len(ranks)} of them)"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
