"""Tabulate what the theorems say about a batch size and a temperature."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ntxent import bounds
from ntxent.bounds import THEOREMS, VARIANTS
from ntxent.commands._plots import limit_curves, plot_writer, possible_losses
from ntxent.commands._text import table, write
from ntxent.diagnosis.result import plain

RANGES = "One value, several as 0.05,0.1,0.5, or a range"
GRID = 10_000  # rows of a grid at most
LEVELS = ("floor", "chance", "ceiling", "random", "position")
FLAGS = {
    "loss": "--loss",
    "dim": "--dim",
    "queue": "--queue",
    "similarity": "--similarity",
    "positive": "--similarity",
    "negative": "--negative-similarity",
}


def add_arguments(parser: Any) -> None:
    parser.add_argument(
        "-n",
        "--batch-size",
        type=str,
        required=True,
        help=f"N, positive pairs. {RANGES}, 64:4096:7, of equal ratios.",
    )
    parser.add_argument(
        "-t",
        "--temperature",
        type=str,
        required=True,
        help=f"Temperature τ. {RANGES}, 0.05:1:20, of equal steps.",
    )
    parser.add_argument("--dim", type=int, help="Dimension of the embeddings.")
    parser.add_argument("--loss", type=float, help="A loss, in the units of the variant.")
    parser.add_argument("--similarity", type=float, help="Mean cosine of the positive pairs.")
    parser.add_argument(
        "--negative-similarity", type=float, help="Mean cosine of the negative pairs."
    )
    parser.add_argument("--variant", type=str, default="nt_xent", help="Convention of the loss.")
    parser.add_argument("--queue", type=int, help="Queued negatives, for moco and Theorem 13.")
    parser.add_argument("--views", type=int, default=2, help="Views of each sample.")
    parser.add_argument(
        "--negatives",
        type=int,
        default=0,
        help="Negatives that each query of InfoNCE or CLIP brings along.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    parser.add_argument("--plot", type=str, help="Draw the limits to this .html or .png file.")


def run(options: Any) -> int:
    sizes = _numbers("batch size", options.batch_size, int, np.geomspace)
    temperatures = _numbers("temperature", options.temperature, float, np.linspace)
    if len(sizes) * len(temperatures) > GRID:
        raise ValueError(
            f"{len(sizes)} x {len(temperatures)} values: expected a grid of at most {GRID}"
        )
    save = None if options.plot is None else plot_writer(options.plot, "bounds")
    cells = [_limits(options, size, t) for size in sizes for t in temperatures]
    single = len(cells) == 1
    report = {"variant": options.variant, "queue": options.queue, "dim": options.dim}
    report |= {"loss": options.loss, "similarity": options.similarity}
    report |= {"views": options.views, "negatives": options.negatives}
    # The theorems are about pairs and the batch's own candidates.
    plain_batch = options.views == 2 and options.negatives == 0
    stated = single and plain_batch
    theorems = _theorems(options, sizes[0], temperatures[0], cells[0]) if stated else []
    report |= cells[0] | {"theorems": theorems} if single else {"grid": cells}
    if save is not None:
        if stated and options.variant == "nt_xent":
            given = options.dim, options.loss, options.similarity
            save(possible_losses(sizes[0], temperatures[0], *given))
        else:
            save(limit_curves(cells))
    if options.json:
        print(json.dumps(plain(report), indent=2, allow_nan=False))
    elif single:
        write([*_limits_table(cells[0]), *(["", *_theorems_table(theorems)] if stated else [])])
    else:
        write(_grid_table(cells))
    return 0


# --- values ---------------------------------------------------------------------------------------


def _numbers(
    name: str, text: str, kind: Callable[[str], Any], space: Callable[..., Any]
) -> list[Any]:
    """``a``, ``a,b,c`` or ``start:stop:count``; each value once, in order."""
    try:
        if ":" not in text:
            return list(dict.fromkeys(kind(part) for part in text.split(",")))
        start, stop, count = text.split(":")
        ends = kind(start), kind(stop)
        if not (2 <= int(count) <= GRID and all(0 < end < math.inf for end in ends)):
            raise ValueError
        values = space(*ends, int(count))
    except (ValueError, OverflowError):
        whole = "an integer" if kind is int else "a number"
        raise ValueError(
            f"{name}: received {text!r}, expected {whole}, several with commas, or "
            f"start:stop:count with both ends > 0 and a count from 2 to {GRID}"
        ) from None
    rounded = [round(value) if kind is int else float(f"{value:.12g}") for value in values]
    return list(dict.fromkeys(rounded))


def _limits(options: Any, size: int, temperature: float) -> dict[str, Any]:
    """The limits at one N and τ, in the units of the variant, and the position of a loss."""
    shape = _queue(options), options.dim, options.views, options.negatives
    limits = bounds.limits(options.variant, size, temperature, *shape)
    cell: dict[str, Any] = {"batch_size": size, "temperature": temperature}
    cell |= limits._asdict()
    if options.dim is not None:
        spread = bounds.log_kernel_mean(options.dim, temperature)
        cell["random"] = limits.chance + limits.scale * spread
    if options.loss is not None:
        nats = options.loss / limits.scale
        bounds.top1_share(nats)  # it refuses what no loss can be
        span = limits.chance - limits.floor
        cell["position"] = (options.loss - limits.floor) / span if span > 0 else None
    return cell


def _queue(options: Any) -> int | None:
    """The queue, for a variant that has one: Theorem 13 takes it beside any variant."""
    row = VARIANTS.get(options.variant)
    queued = row is not None and row.queued
    queue: int | None = options.queue
    return queue if queued else None


def _theorems(
    options: Any, size: int, temperature: float, cell: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every theorem at one point, its value or the reason why there is none."""
    given = {
        "batch_size": size,
        "temperature": temperature,
        "dim": options.dim,
        "queue": options.queue,
        "loss": None if options.loss is None else options.loss / cell["scale"],
        "similarity": options.similarity,
        "positive": options.similarity,
        "negative": options.negative_similarity,
    }
    rows = []
    for name, theorem in THEOREMS.items():
        parameters = inspect.signature(theorem.function).parameters
        missing = [p for p in parameters if given[p] is None and parameters[p].default is not None]
        value, reason = None, None
        if missing:
            flags = dict.fromkeys(FLAGS[parameter] for parameter in missing)
            reason = f"needs {' and '.join(flags)}"
        else:
            try:
                value = theorem.function(**{p: given[p] for p in parameters})
            except (ValueError, TypeError) as refusal:
                reason = str(refusal)
        rows.append(
            {
                "theorem": theorem.number,
                "name": name,
                "title": theorem.title,
                "value": value,
                "side": theorem.side,
                "sharp": theorem.sharp,
                "valid": theorem.validity,
                "reason": reason,
            }
        )
    return rows


# --- tables ---------------------------------------------------------------------------------------


def _limits_table(cell: dict[str, Any]) -> list[str]:
    levels = ((name, f"{cell[name]:.4f}") for name in LEVELS if cell.get(name) is not None)
    return [f"N = {cell['batch_size']}, τ = {cell['temperature']:g}", *table(levels, right=(1,))]


def _theorems_table(theorems: Iterable[dict[str, Any]]) -> list[str]:
    rows = [("no.", "theorem", "value", "side", "sharp")]
    for row in theorems:
        title = row["title"] if row["reason"] is None else f"{row['title']}: {row['reason']}"
        sharp = "no" if row["sharp"] is None else "yes"
        rows.append((str(row["theorem"]), title, _value(row["value"]), row["side"], sharp))
    return ["Theorems, in nats", *table(rows, right=(0, 2), wrap=1, header=True, styles=["bold"])]


def _value(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, tuple):
        return "\n".join(map(_value, value))
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3e}"


def _grid_table(cells: list[dict[str, Any]]) -> list[str]:
    shown = [name for name in LEVELS if name in cells[0]]
    rows = [("N", "τ", *shown)]
    for cell in cells:
        levels = (_value(cell[name]) for name in shown)
        rows.append((str(cell["batch_size"]), f"{cell['temperature']:.4g}", *levels))
    return table(rows, right=range(len(rows[0])), header=True, styles=["bold"])
