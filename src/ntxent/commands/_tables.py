"""Tables of a finished run: the accuracies of its encoder, and its loss beside the limits."""

import shlex
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ntxent.report.words import REPRESENTATIONS, classifier, percent
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.train.defaults import LONG_RUN_FACTOR

__all__ = ["accuracies", "show"]


def show(run: RunFolder, summary: Mapping[str, Any], console: Console) -> None:
    """Prints the tables of a run, where its files are, and the commands that read them."""
    if summary["evaluation"]:
        console.print(accuracies(summary["evaluation"]))
    else:
        console.print("no labels, so no accuracies; ntxent evaluate compares views")
    console.print(_loss(summary))
    seconds = summary["seconds"]
    folder, config = (shlex.quote(str(path)) for path in (run.path, run.config))
    console.print(
        f"{seconds['train']:.0f} s training, {seconds['evaluate']:.0f} s evaluation, "
        f"everything kept in {run.path}\n"
        f"  report   {shlex.quote(str(run.report))}\n"
        f"  curves   tensorboard --logdir {folder}\n"
        f"  again    ntxent train --config {config} --name another",
        *_longer(summary, config),
        sep="\n",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _longer(summary: Mapping[str, Any], config: str) -> list[str]:
    """Returns the command for a longer run, if this one was short for want of a GPU."""
    epochs = summary.get("chosen", {}).get("epochs")
    if epochs is None:
        return []
    epochs *= LONG_RUN_FACTOR
    return [f"  longer   ntxent train --config {config} --name longer --epochs {epochs}"]


def accuracies(
    evaluation: Mapping[str, Mapping[str, Mapping[str, Any]]], intervals: bool = False
) -> Table:
    """Returns the accuracy of each probe on each representation.

    ``intervals`` adds the 95 % interval of the trained encoder.
    """
    table = Table(title="Accuracy on held-out images, %", title_justify="left")
    table.add_column("probe")
    for name in REPRESENTATIONS:
        table.add_column(REPRESENTATIONS[name], justify="right")
    if intervals:
        table.add_column("95 % interval", justify="right")
    for measure, score in evaluation["encoder"].items():
        scores = (evaluation[name][measure] for name in REPRESENTATIONS)
        interval = [f"{100 * score['low']:.1f} to {100 * score['high']:.1f}"] if intervals else []
        table.add_row(classifier(measure), *map(percent, scores), *interval)
    return table


def _loss(summary: Mapping[str, Any]) -> Table:
    loss = summary["loss"]
    low, high = loss["positive_similarity_interval"]
    title = "Loss in the last epoch, nats, N = {batch_size}, τ = {temperature:g}, d = {dim}"
    table = Table(title=title.format(**summary), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("floor", f"{loss['floor']:.4f}", "no embeddings can have a smaller loss")
    table.add_row("loss", f"{loss['final']:.4f}", "mean over its steps", style="bold")
    table.add_row("chance", f"{loss['chance']:.4f}", "embeddings that tell nothing apart")
    table.add_row("ceiling", f"{loss['ceiling']:.4f}", "no embeddings can have a larger loss")
    table.add_row("position", f"{loss['position']:.4f}", "0 at the floor, 1 at chance")
    certified = f"the loss alone proves {low:.3f} to {high:.3f}"
    table.add_row("positive similarity", f"{loss['positive_similarity']:.4f}", certified)
    return table
