"""The limits of a loss over batch sizes and temperatures, as a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ntxent import bounds
from ntxent.bounds import Convention

from . import notebook

__all__ = ["LimitsTable", "limits_table"]


@dataclass(frozen=True)
class LimitsTable:
    """A row for each N and τ: floor, chance and ceiling; with ``dim`` also random embeddings."""

    variant: str
    rows: tuple[dict[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the variant and its rows."""
        return {"variant": self.variant, "rows": [dict(row) for row in self.rows]}

    def to_frame(self) -> Any:
        """A pandas table with the same rows."""
        return notebook.frame(self.rows)

    def plot(self) -> Any:
        """Floor, chance and ceiling over τ, or over N where there is one τ, as a plotly figure."""
        against = "temperature"
        if len({row["temperature"] for row in self.rows}) == 1:
            against = "batch_size"
        other = "batch_size" if against == "temperature" else "temperature"
        curves: dict[str, tuple[list[float], list[float]]] = {}
        for row in self.rows:
            for name in ("floor", "chance", "ceiling"):
                x, y = curves.setdefault(f"{name}, {other} {row[other]:g}", ([], []))
                x.append(row[against])
                y.append(row[name])
        return notebook.lines_figure(curves, against.replace("_", " "), "loss")

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in self.rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{value:.6g}</td>" for value in row.values()) + "</tr>"
            for row in self.rows
        )
        return f"<table><caption>{escape(self.variant)}</caption><tr>{head}</tr>{body}</table>"


def limits_table(
    batch_size: int | Iterable[int],
    temperature: float | Iterable[float],
    variant: str = "nt_xent",
    *,
    queue: int | None = None,
    dim: int | None = None,
    views: int = 2,
    negatives: int = 0,
) -> LimitsTable:
    """The limits at all combinations of batch sizes and temperatures; arguments as in ``diagnose``.

    Raises:
        TypeError, ValueError: an argument without meaning, or no combination.

    >>> table = limits_table([256, 512], 0.5)
    >>> [round(row["chance"], 4) for row in table.rows]
    [6.2364, 6.9305]
    """
    rows = []
    for size in _several(batch_size):
        for tau in _several(temperature):
            convention = Convention(size, tau, variant, queue, dim, views, negatives)
            chance, floor, ceiling, scale = convention.limits()
            row = {"batch_size": size, "temperature": tau}
            row |= {"floor": floor, "chance": chance, "ceiling": ceiling}
            if dim is not None and convention.plain:
                row["random"] = chance + scale * bounds.log_kernel_mean(dim, tau)
            rows.append(row)
    if not rows:
        raise ValueError("batch_size, temperature: received none, expected at least one of each")
    return LimitsTable(variant, tuple(rows))


def _several(values: Any) -> Sequence[Any]:
    return list(values) if isinstance(values, Iterable) else [values]
