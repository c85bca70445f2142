"""The figures of one run, or of several in the same axes, as Plotly's JSON."""

from __future__ import annotations

from ntxent.report.figures.evaluation import evaluation
from ntxent.report.figures.geometry import plane, rank, similarities
from ntxent.report.figures.images import image_map
from ntxent.report.figures.loss import accuracy, gradient, loss, position, positive, rate
from ntxent.report.figures.pieces import Figure
from ntxent.report.run import Run

__all__ = ["Figure", "figures"]


def figures(*runs: Run, projection: str = "pca") -> dict[str, Figure]:
    """The figures that the files of the runs have the numbers for, by name.

    Several runs share figures of the loss, the position, the positive similarity and the
    evaluation; the others are of a single run.
    """
    made = {
        "loss": loss(runs),
        "position": position(runs),
        "positive": positive(runs),
        "evaluation": evaluation(runs),
    }
    if len(runs) == 1:
        (run,) = runs
        made |= {
            "accuracy": accuracy(run),
            "gradient": gradient(run),
            "plane": plane(run),
            "rank": rank(run),
            "similarities": similarities(run),
            "map": image_map(run, projection),
            "rate": rate(run),
        }
    return {name: figure for name, figure in made.items() if figure is not None}
