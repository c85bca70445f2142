"""Tables of a finished run: the accuracies of its encoder, and its loss beside the limits."""

import shlex
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from ntxent.commands._rows import show_table
from ntxent.diagnosis.probes import judge_probes
from ntxent.report.words import REPRESENTATIONS, classifier, percent
from ntxent.simclr.run.compare import last_epoch_loss
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.train.defaults import LONG_RUN_FACTOR

__all__ = ["show", "show_accuracies"]


def show(run: RunFolder, summary: Mapping[str, Any], console: Console) -> None:
    """Prints the tables of a run, where its files are, and the commands that read them."""
    if summary["evaluation"]:
        show_accuracies(console, summary["evaluation"])
        _show_probe_verdict(console, summary)
    else:
        console.print("no labels, so no accuracies; ntxent evaluate compares views")
    _show_loss(console, summary)
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


def _show_probe_verdict(console: Console, summary: Mapping[str, Any]) -> None:
    """Prints what the probes say, and what to do, where training was not worth its while."""
    found = judge_probes(summary["evaluation"], summary.get("epochs"))
    if found is None or found.verdict == "ahead":
        return
    style = "bold red" if found.verdict == "behind" else "yellow"
    lines = [f"{found.headline}. {found.sentence}", *(f"  - {line}" for line in found.advice)]
    console.print(*lines, sep="\n", style=style, highlight=False, markup=False, soft_wrap=True)


def _longer(summary: Mapping[str, Any], config: str) -> list[str]:
    """Returns the command for a longer run, if this one was short for want of a GPU."""
    epochs = summary.get("chosen", {}).get("epochs")
    if epochs is None:
        return []
    epochs *= LONG_RUN_FACTOR
    return [f"  longer   ntxent train --config {config} --name longer --epochs {epochs}"]


def show_accuracies(
    console: Console,
    evaluation: Mapping[str, Mapping[str, Mapping[str, Any]]],
    intervals: bool = False,
) -> None:
    """Prints the accuracy of each probe on each representation.

    ``intervals`` adds the 95 % interval of the trained encoder.
    """
    header = ["probe", *REPRESENTATIONS.values(), *(["95 % interval"] if intervals else [])]
    rows = []
    for measure, score in evaluation["encoder"].items():
        scores = (evaluation[name][measure] for name in REPRESENTATIONS)
        interval = [f"{100 * score['low']:.1f} to {100 * score['high']:.1f}"] if intervals else []
        rows.append([classifier(measure), *map(percent, scores), *interval])
    title, right = "Accuracy on held-out images, %", range(1, len(header))
    show_table(console, rows, header=header, title=title, right=right)


def _show_loss(console: Console, summary: Mapping[str, Any]) -> None:
    loss = summary["loss"]
    low, high = loss["positive_similarity_interval"]
    certified = f"the loss alone proves {low:.3f} to {high:.3f}"
    rows = [
        ("floor", f"{loss['floor']:.4f}", "no embeddings can have a smaller loss"),
        ("mean loss of the epoch", f"{last_epoch_loss(summary):.4f}", "over its steps"),
        ("chance", f"{loss['chance']:.4f}", "embeddings that tell nothing apart"),
        ("ceiling", f"{loss['ceiling']:.4f}", "no embeddings can have a larger loss"),
        ("position", f"{loss['position']:.4f}", "0 at the floor, 1 at chance"),
        ("positive similarity", f"{loss['positive_similarity']:.4f}", certified),
    ]
    title = "Last epoch, nats, N = {batch_size}, τ = {temperature:g}, d = {dim}"
    show_table(console, rows, title=title.format(**summary), right=(1,), bold=(1,))
