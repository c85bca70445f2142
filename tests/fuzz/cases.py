"""What is fuzzed: cases, as plain data whose repr reproduces them, and the tensors they stand for.

Every field's default is its simplest value. So a case prints as the fields in which it is special,
and a fault is made smaller by setting fields back.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

WIDE = torch.float64
EXTREME_IDS = ("lowest", "highest", "both ends")


class Case:
    """Base of the cases: its repr leaves out what is at its default."""

    def __repr__(self) -> str:
        special = [f"{name}={value!r}" for name, value in self.special().items()]
        return f"{type(self).__name__}({', '.join(special)})"

    def special(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    def features(self) -> dict[str, Any]:
        """The special fields, those of a nested case among them."""
        found: dict[str, Any] = {}
        for name, value in self.special().items():
            found |= value.features() if isinstance(value, Case) else {name: value}
        return found

    def simpler(self) -> Iterator["Case"]:
        """Cases with one field less, or a smaller number in it."""
        for field in fields(self):
            value = getattr(self, field.name)
            if is_dataclass(value):
                yield from (replace(self, **{field.name: part}) for part in value.simpler())
            elif value != field.default:
                yield replace(self, **{field.name: field.default})
                if type(value) is int and abs(value) > 2 * abs(field.default):
                    yield replace(self, **{field.name: value // 2})
                elif isinstance(value, tuple) and len(value) > 2:
                    yield replace(self, **{field.name: value[:-1]})


@dataclass(frozen=True, kw_only=True, repr=False)
class Call(Case):
    """One call of a loss, forward and backward."""

    loss: str = "nt_xent"
    """``nt_xent``, ``sup_con``, ``info_nce`` or ``moco``."""
    module: bool = False
    learnable: bool = False
    n: int = 4
    d: int = 3
    views: int = 2
    seed: int = 0
    dtype: str = "float32"
    rows: str = "normal"
    norm: float = 1.0
    memory: str = "plain"
    layout: str = "views"
    ids: str = "none"
    ids_dtype: str = "int64"
    weights: str = "none"
    weights_dtype: str = "float32"
    tau: float = 0.5
    tau_as: str = "float"
    """``float``, ``scale``, or with ``tensor`` a dtype: ``tensor float32``, ``scale float64``."""
    reduction: str = "mean"
    normalize: bool = True
    decoupled: bool = False
    symmetric: bool = True
    in_batch: bool = True
    negatives: int = 0
    shared: bool = False
    missing: str = "error"
    stats: bool = False
    frozen: int = 0
    """How many of the views, from the last, get no gradient."""
    autocast: str = "off"
    inside: bool = False
    """Whether backward is called inside autocast."""
    grad: str = "on"
    bad: str = "nothing"
    """What is wrong with the call."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Sequence(Case):
    """Calls that fail, or run in another mode, before a good one in the same thread."""

    call: Call = Call()
    before: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class Compiled(Case):
    """One compiled function, called with several batch sizes and temperatures."""

    call: Call = Call()
    sizes: tuple[int, ...] = (4,)
    taus: tuple[float, ...] = (0.5,)
    dynamic: bool | None = None
    fullgraph: bool = False
    backend: str = "eager"
    """As ``torch.compile`` has it; or ``export``, with a symbolic batch size."""


@dataclass(frozen=True, kw_only=True, repr=False)
class OnRanks(Case):
    """One call whose samples are split over the ranks of a process group."""

    call: Call = Call()
    ranks: int = 2
    empty: int = 0
    """How many ranks, from the last, have no sample."""
    uneven: bool = False
    mode: str = "gather"
    bad: str = "nothing"
    """What is wrong on the last rank."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Cached(Case):
    """gradcache beside plain backward."""

    loss: str = "nt_xent"
    n: int = 4
    views: int = 2
    chunk_size: int = 4
    towers: str = "shared"
    """``shared``; ``own`` for one a view; ``frozen`` for the last of them without gradients."""
    norm: str = "none"
    dropout: bool = False
    form: str = "tensor"
    inputs: str = "data"
    """``data``; ``leaf`` where a view requires a gradient; ``graph`` where it carries a graph."""
    stats: bool = False
    scaler: bool = False
    autocast: bool = False
    fails: int = 0
    """The call of the encoder, from the first of the second pass, that raises; 0 for none."""
    seed: int = 0


# --- tensors --------------------------------------------------------------------------------------


def dtype_of(name: str) -> torch.dtype:
    return getattr(torch, name)


def make_rows(call: Call, count: int, view: int) -> Tensor:
    """``[count, d]`` in the dtype of the call."""
    rng = torch.Generator().manual_seed(100 * call.seed + view)
    noise = torch.randn(count, call.d, generator=rng, dtype=WIDE)
    index = torch.arange(count)
    unit = torch.nn.functional.normalize(noise, dim=1)
    kinds = {
        "normal": lambda: unit,
        "identical": lambda: torch.ones_like(unit),
        "collapsed": lambda: 1 + 1e-3 * noise,
        "antipodal": lambda: (-1) ** view * (1 + 1e-2 * noise),
        "duplicates": lambda: unit[index // 3],
        "one hot": lambda: torch.eye(call.d, dtype=WIDE)[index % call.d],
        "clusters": lambda: torch.eye(call.d, dtype=WIDE)[index % call.d] + 0.1 * noise,
        "mixed norms": lambda: unit * 10 ** (3 * torch.randn(count, 1, generator=rng, dtype=WIDE)),
        "far from the origin": lambda: unit + 1e3,
    }
    return (call.norm * kinds[call.rows]()).to(dtype_of(call.dtype))


def make_ids(call: Call) -> Tensor | None:
    if call.ids == "none":
        return None
    index = torch.arange(call.n)
    info = torch.iinfo(torch.int64)
    kinds = {
        "own": lambda: index,
        "few": lambda: index % 3,
        "pairs": lambda: index // 2,
        "one": lambda: index * 0 + 7,
        "negative": lambda: -1 - index % 4,
        "lonely": lambda: torch.where(index == 0, call.n + 1, index % 2),
        "huge": lambda: 2**62 - 1 - index % 5,
        "lowest": lambda: info.min + index % 3,
        "highest": lambda: info.max - index % 3,
        "both ends": lambda: torch.where(index % 2 == 0, info.min, info.max),
        "dtype's ends": lambda: torch.where(
            index % 2 == 0, torch.iinfo(ids).min, torch.iinfo(ids).max
        ),
    }
    ids = dtype_of(call.ids_dtype)
    return kinds[call.ids]().to(ids)


def make_weights(call: Call, anchors: int) -> Tensor | None:
    if call.weights == "none":
        return None
    rng = torch.Generator().manual_seed(call.seed)
    uniform = torch.rand(anchors, generator=rng, dtype=WIDE)
    kinds = {
        "uniform": lambda: 0.1 + uniform,
        "some zero": lambda: uniform * (torch.arange(anchors) % 2),
        "all zero": lambda: 0 * uniform,
        "400": lambda: 0 * uniform + 400,
        "large": lambda: 1e4 * (1 + uniform),
        "small": lambda: 1e-4 * (1 + uniform),
        "negative": lambda: uniform - 0.6,
        "wide": lambda: 10 ** (6 * uniform - 3),
    }
    return kinds[call.weights]().to(dtype_of(call.weights_dtype))


def arrange(views: list[Tensor], layout: str) -> list[Tensor]:
    """The views as a loss takes them."""
    if layout == "views":
        return list(views)
    stacked = torch.stack(views, 1)
    whole = {"stacked": stacked, "interleaved": stacked.flatten(0, 1), "halves": torch.cat(views)}
    return [whole[layout]]


def disarrange(tensors: list[Tensor], layout: str, views: int) -> list[Tensor]:
    """The inverse of :func:`arrange`."""
    if layout == "views":
        return tensors
    (whole,) = tensors
    if layout == "halves":
        return list(whole.chunk(views))
    stacked = whole if layout == "stacked" else whole.unflatten(0, (-1, views))
    return list(stacked.unbind(1))


def place(tensor: Tensor, memory: str) -> Tensor:
    """The same values in memory of other strides."""
    if memory == "transposed":
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if memory == "sliced":
        wide = tensor.new_full((*tensor.shape[:-1], 2 * tensor.shape[-1] + 1), torch.nan)
        return wide[..., 1::2].copy_(tensor)
    if memory == "stepped":
        return tensor.new_full((2 * len(tensor), *tensor.shape[1:]), torch.nan)[::2].copy_(tensor)
    return tensor.clone()


@dataclass
class Problem:
    """The tensors of a call; views ``[n, d]`` whatever the layout, weights ``[anchors]``."""

    views: list[Tensor]
    negatives: Tensor | None
    ids: Tensor | None
    weights: Tensor | None

    def part(self, rows: slice, extra: slice) -> "Problem":
        """What one rank has of it."""
        weights = self.weights
        if weights is not None:
            weights = weights.view(-1, len(self.views[0]))[:, rows].flatten()
        return Problem(
            [view[rows] for view in self.views],
            None if self.negatives is None else self.negatives[extra],
            None if self.ids is None else self.ids[rows],
            weights,
        )


def make_problem(call: Call) -> Problem:
    views = [make_rows(call, call.n, view) for view in range(call.views)]
    if call.memory == "expanded":
        views = [view[:1].expand(call.n, call.d).clone() for view in views]
    negatives = make_rows(call, call.negatives, 99) if call.negatives else None
    if call.loss == "moco" and negatives is not None:  # a queue holds unit rows in float32
        negatives = torch.nn.functional.normalize(negatives.double(), dim=1).float()
    one_each = call.loss in ("info_nce", "moco")
    anchors = call.n * (1 if one_each else call.views)
    return Problem(views, negatives, make_ids(call), make_weights(call, anchors))
