"""Engines: interchangeable ways to compute the one primitive of the contrastive family.

The laws are in :mod:`ntxent.engines.contract`. An engine that cannot be used on this machine stays
listed in :func:`status` with the reason, and one asked for by name is never replaced by another.
"""

from dataclasses import dataclass

import torch

from ntxent.engines import cuda, tiled
from ntxent.engines.contract import Block, Engine, Sums, accumulation_dtype

__all__ = [
    "ENGINES",
    "Block",
    "Engine",
    "EngineStatus",
    "Sums",
    "accumulation_dtype",
    "get",
    "row_dtype",
    "select",
    "status",
]

ENGINES = {e.name: e for e in (cuda.ENGINE, cuda.ATOMIC_ENGINE, tiled.ENGINE)}


@dataclass(frozen=True)
class EngineStatus:
    """What :func:`status` says of an engine."""

    name: str
    available: bool
    devices: tuple[str, ...]
    priority: int | None
    reason: str
    """Why it cannot be used; empty where it can."""


def status() -> list[EngineStatus]:
    """Every engine, best first, with the reason where one cannot be used.

    >>> [e.name for e in status() if e.available and "*" in e.devices]
    ['tiled']
    """
    ranked = sorted(ENGINES.values(), key=lambda e: (bool(e.obstacle), -e.priority))
    return [
        EngineStatus(e.name, False, (), None, e.obstacle)
        if e.obstacle
        else EngineStatus(e.name, True, e.devices, e.priority, "")
        for e in ranked
    ]


def get(name: str) -> Engine:
    """The engine of that name.

    Raises:
        ValueError: no engine has this name.
        RuntimeError: it cannot be used on this machine.
    """
    if name not in ENGINES:
        known = ", ".join(repr(n) for n in ("auto", *sorted(ENGINES)))
        raise ValueError(f"engine: received {name!r}, expected one of {known}")
    engine = ENGINES[name]
    if engine.obstacle:
        raise RuntimeError(
            f"engine {name!r} cannot be used here: {engine.obstacle}. "
            'Install what is missing, or pass engine="auto".'
        )
    return engine


def select(name: str, device: str) -> Engine:
    """The engine of that name, or for ``"auto"`` the best for the device type.

    Raises:
        ValueError: no such engine, or it does not run on ``device``.
        RuntimeError: it cannot be used on this machine.
    """
    if name == "auto":
        return max((e for e in ENGINES.values() if e.supports(device)), key=_priority)
    engine = get(name)
    if not engine.supports(device):
        raise ValueError(
            f"engine: {name!r} runs on {', '.join(engine.devices)}, and the embeddings are on "
            f'{device!r}; move them, or pass engine="auto"'
        )
    return engine


def _priority(engine: Engine) -> int:
    return engine.priority


def row_dtype(name: str, device: str, dtype: torch.dtype) -> torch.dtype:
    """The dtype in which that engine is to have the unit rows of embeddings in ``dtype``: that of
    accumulation, or ``dtype`` itself where it is half precision and the engine gains by it.

    >>> row_dtype("tiled", "cpu", torch.bfloat16)
    torch.float32

    Raises:
        ValueError, RuntimeError: as :func:`select`.
    """
    wide = accumulation_dtype(dtype)
    return wide if dtype == wide or not select(name, device).half_products else dtype
