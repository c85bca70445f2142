"""Engines: interchangeable ways to compute the one primitive of the contrastive family.

The contract. A module in this folder ends with ``ENGINE = Engine(...)``, which carries two pure
tensor functions. With logits ``l_ik = scale * <x_i, y_k>`` and the candidates
``C_i = {k : y_ids[k] != x_ids[i]}``:

``forward(x, y, scale, x_ids, y_ids, target) -> (nll, logit, kept)``
    must equal, row by row, ::

        logit_i = l[i, target_i]                            (0 where target_i = -1)
        nll_i   = log(sum of exp(l_ik) over C_i) - logit_i  (-inf where C_i is empty)

    The target need not be a candidate: excluded, it gives the decoupled form. With ``len(target)``
    = M + K the block goes both ways: the rows of ``y`` are anchors too, with the rows of ``x`` as
    candidates and targets, and their ``nll`` and ``logit`` follow those of ``x``. ``kept`` is
    whatever spares ``backward`` work: the engine's own affair, of the shape that its
    ``kept_shape`` says, and of bounded size.

``backward(grad_nll, grad_logit, x, y, scale, x_ids, y_ids, target, nll, logit, kept, wants_dy=True)
-> (dx, dy)``
    must equal the vector-Jacobian product of ``nll`` and ``logit`` in ``x`` and ``y``. ``nll`` may
    be that of more candidates than this block has, which is how a batch in parts is
    differentiated: the probability of a candidate is exp(l_ik - logit_i - nll_i) in any case.
    An empty ``kept`` means that nothing was. Without ``wants_dy`` (a queue of negatives needs no
    gradient) ``dy`` is empty.

``y=None`` with ``y_ids=None`` means self-similarity, ``y = x``; then ``dx`` is the whole gradient
and ``dy`` is empty. Shapes: x ``[M, d]``, y ``[K, d]``, ids int64 ``[M]`` and ``[K]``, target int64
``[M]`` or ``[M + K]``, scale 0-d, M and K at least 1. Results have the accumulation dtype: float64
for float64 input, else float32. ``nll`` must be as accurate as a shifted softmax, however large the
logits (no plain difference of two large numbers), and memory beyond inputs and outputs must not
grow with ``M * K``.

Modules are looked for at first use, never at import; a leading underscore marks what engines share.
One whose imports fail, or that names an obstacle, stays listed in :func:`status` with the reason;
an engine asked for by name is never replaced by another.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

__all__ = ["Engine", "EngineStatus", "accumulation_dtype", "get", "row_dtype", "select", "status"]

Forward = Callable[
    [Tensor, Tensor | None, Tensor, Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor, Tensor]
]
Backward = Callable[..., tuple[Tensor, Tensor]]


def _nothing(x: Tensor, y: Tensor | None) -> tuple[int, ...]:
    return (0,)


@dataclass(frozen=True)
class Engine:
    """One way to compute the primitive; the laws are in this module's docstring."""

    name: str
    devices: tuple[str, ...]
    """Device types it runs on; ``"*"`` is every one."""
    priority: int
    """Of the engines that support a device, ``"auto"`` takes the highest."""
    forward: Forward
    backward: Backward
    kept_shape: Callable[[Tensor, Tensor | None], tuple[int, ...]] = _nothing
    """Shape of ``kept`` for these ``x`` and ``y``; by default nothing is kept."""
    half_products: bool = False
    """Whether it multiplies half-precision rows faster than float32 ones, by enough to round the
    unit rows of half-precision embeddings for it."""
    obstacle: str = ""
    """Why it cannot be used on this machine; empty where it can."""

    def supports(self, device: str) -> bool:
        return "*" in self.devices or device in self.devices


@dataclass(frozen=True)
class EngineStatus:
    """What :func:`status` says of one module in the engines folder."""

    name: str
    available: bool
    devices: tuple[str, ...]
    priority: int | None
    reason: str
    """Why it cannot be used; empty where it can."""


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, float32 for everything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@cache
def _discover() -> tuple[dict[str, Engine], dict[str, str]]:
    found: dict[str, Engine] = {}
    failed: dict[str, str] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        try:
            engine: Engine = import_module(f"{__name__}.{module.name}").ENGINE
        except ImportError as error:
            failed[module.name] = str(error)
        else:
            if engine.obstacle:
                failed[engine.name] = engine.obstacle
            else:
                found[engine.name] = engine
    return found, failed


def status() -> list[EngineStatus]:
    """Every engine, best first, with the reason where one cannot be used.

    >>> [e.name for e in status() if e.available and "*" in e.devices]
    ['tiled']
    """
    found, failed = _discover()
    ranked = sorted(found.values(), key=lambda e: -e.priority)
    return [EngineStatus(e.name, True, e.devices, e.priority, "") for e in ranked] + [
        EngineStatus(name, False, (), None, reason) for name, reason in failed.items()
    ]


def get(name: str) -> Engine:
    """The engine of that name.

    Raises:
        ValueError: no engine has this name.
        RuntimeError: it exists, and its imports failed.
    """
    found, failed = _discover()
    if name in found:
        return found[name]
    if name in failed:
        raise RuntimeError(
            f"engine {name!r} cannot be used here: {failed[name]}. "
            'Install what is missing, or pass engine="auto".'
        )
    known = ", ".join(repr(n) for n in ("auto", *sorted({*found, *failed})))
    raise ValueError(f"engine: received {name!r}, expected one of {known}")


def select(name: str, device: str) -> Engine:
    """The engine of that name, or for ``"auto"`` the best for the device type.

    Raises:
        ValueError: no such engine, or it does not run on ``device``.
        RuntimeError: the engine exists, and its imports failed.
    """
    if name == "auto":
        usable = [e for e in _discover()[0].values() if e.supports(device)]
        return max(usable, key=lambda e: e.priority)
    engine = get(name)
    if not engine.supports(device):
        raise ValueError(
            f"engine: {name!r} runs on {', '.join(engine.devices)}, and the embeddings are on "
            f'{device!r}; move them, or pass engine="auto"'
        )
    return engine


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


# A fact of this machine, which a compiler asks for and does not trace. It is what
# torch.compiler.assume_constant_result does, without the import of the compiler.
row_dtype._dynamo_marked_constant = True  # type: ignore[attr-defined]
