"""Evaluate a finished run: probes with few and all labels, confusions, fine-tuning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from ntxent.commands._given import data_config, group
from ntxent.simclr import DataConfig, EvaluationConfig

if TYPE_CHECKING:
    from rich.console import Console

LABEL_SHARES = (0.01, 0.1)
LARGEST_MATRIX = 15


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", type=str, metavar="run", help="Folder of a finished run.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    parser.add_argument(
        "--finetune",
        type=float,
        help="Also train all weights on this share of the labels, 0 to 1.",
    )
    parser.add_class_arguments(DataConfig, "data", help="Other images than those of the run")
    parser.add_class_arguments(EvaluationConfig, "evaluation")
    parser.set_defaults({"evaluation.label_shares": LABEL_SHARES})


def run(options: Any, given: Any) -> int:
    share = options.finetune
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"finetune: received {share}, expected a share above 0 and at most 1")

    from ntxent.simclr.train.processes import is_rank_zero

    if not is_rank_zero():
        return 0

    from dataclasses import replace

    from rich.console import Console

    from ntxent.files import atomic
    from ntxent.simclr.evaluation.evaluate import evaluate_run
    from ntxent.simclr.run.trained import TrainedRun
    from ntxent.simclr.stages import ConsoleStages

    trained = TrainedRun(options.run_folder)
    data = data_config(trained.config.data, given, options.data)
    changes = {"label_shares": LABEL_SHARES} | group(given, "evaluation")
    evaluation = replace(trained.config.evaluation, **changes)
    result = evaluate_run(trained, data, evaluation, share, ConsoleStages())
    text = json.dumps(result, indent=2, allow_nan=False)
    with atomic(trained.run.evaluation) as path:
        path.write_text(text + "\n")
    if options.json:
        print(text)
        return 0
    console = Console(highlight=False, markup=False)
    _show(result, console)
    console.print(f"kept in {trained.run.evaluation}", soft_wrap=True)
    return 0


def _show(result: dict[str, Any], console: Console) -> None:
    from ntxent.commands._rows import show_table
    from ntxent.commands._tables import show_accuracies

    if "evaluation" in result:
        show_accuracies(console, result["evaluation"], intervals=True)
        _show_confusion(result, console)
    else:
        console.print(
            "no labels, so no accuracies: what follows compares views; images in one sub-folder a "
            "class, given with --data.source, add probes and confusions",
            soft_wrap=True,
        )
    if "finetuning" in result:
        tuned = result["finetuning"]
        rows = []
        for name, words in (("untrained_encoder", "from scratch"), ("encoder", "from the run")):
            low, high = 100 * tuned[name]["low"], 100 * tuned[name]["high"]
            rows.append((words, f"{100 * tuned[name]['mean']:.1f}", f"{low:.1f} to {high:.1f}"))
        title = f"Fine-tuned on {tuned['labels']} labels, accuracy, %, and its 95 % interval"
        show_table(console, rows, title=title)
    views = result["views"]
    if views is None:
        console.print("one held-out image: there is no other to tell its views from; add images")
        return
    names = ("alignment", "uniformity", "effective_rank")
    measured = [("other view nearest", f"{100 * views['contrastive_accuracy']:.1f} %")]
    measured += [(name.replace("_", " "), f"{views[name]:.3f}") for name in names]
    title = f"Two views of {views['images']} held-out images, without labels"
    show_table(console, measured, title=title)


def _show_confusion(result: dict[str, Any], console: Console) -> None:
    """Prints the confusion matrix if the console has room for it, else the commonest confusions."""
    from ntxent.commands._rows import fits, show_table

    matrix, classes = result["confusion"]["linear_all"], result["classes"]
    counts = [
        (name, *(str(count) if count else "·" for count in row))
        for name, row in zip(classes, matrix, strict=True)
    ]
    header, right = ("", *classes), range(1, 1 + len(classes))
    if len(classes) <= LARGEST_MATRIX and fits(console, counts, header, right):
        title = "Held-out images by class (rows) and by the answer of linear, all labels (columns)"
        show_table(console, counts, header=header, title=title, right=right)
        return
    pairs = [
        (count, classes[i], classes[j])
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if i != j and count
    ]
    largest = sorted(pairs, key=lambda pair: -pair[0])[:LARGEST_MATRIX]
    rows = [(label, answer, str(count)) for count, label, answer in largest]
    title = "Commonest confusions of linear, all labels"
    show_table(console, rows, header=("class", "answer", "images"), title=title, right=(2,))
