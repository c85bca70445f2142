"""Write the embeddings that a run's encoder gives any images to one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from ntxent.commands._given import group
from ntxent.simclr import DataConfig


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", type=str, metavar="run", help="Folder of a finished run.")
    parser.add_argument("images", type=str, help="Images, as --data.source names them.")
    parser.add_argument(
        "-o", "--output", type=str, required=True, help="File to write: .npz or .parquet."
    )
    parser.add_argument(
        "--space",
        type=Literal["encoder", "projection"],
        default="encoder",
        help="The encoder's features, or the head's embeddings that the loss compares.",
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="Replace the file.")
    parser.add_class_arguments(DataConfig, "data", skip={"source"})


def run(options: Any, given: Any) -> int:
    from ntxent.analysis.files import check_output, write_embeddings

    path = Path(options.output)
    check_output(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"output: no folder {path.parent}; make it first")
    if path.exists() and not options.overwrite:
        raise FileExistsError(f"output: {path} exists; replace it with --overwrite true")

    from torch import nn

    from ntxent.simclr.data import open_source
    from ntxent.simclr.evaluation.features import extract_features
    from ntxent.simclr.run.trained import TrainedRun
    from ntxent.simclr.stages import ConsoleStages

    trained = TrainedRun(options.run_folder)
    sizes = {"image_size": trained.image_shape[-1]}
    config = DataConfig(**sizes | group(given, "data") | {"source": options.images})
    stages = ConsoleStages()
    source = open_source(config, stages=stages)
    trained.require_channels(source.train)
    model = trained.model.encoder
    if options.space == "projection":
        model = nn.Sequential(model, trained.model.head)
    parts = [("train", source.train, source.names), ("test", source.test, source.test_names)]
    columns: dict[str, list[Any]] = {"embeddings": [], "labels": [], "files": [], "parts": []}
    for part, images, names in parts:
        if images is not None:
            shape = trained.model.views.shape
            features = extract_features(model, images, shape, config.workers, stages)
            columns["embeddings"].extend(features)
            unlabelled = [-1] * len(images)
            columns["labels"].extend(unlabelled if images.labels is None else images.labels)
            columns["files"].extend(names or [""] * len(images))
            columns["parts"].extend([part] * len(images))
    with stages(f"writing {path.name}"):
        write_embeddings(path, columns, list(source.classes))
    count, dim = len(columns["labels"]), len(columns["embeddings"][0])
    print(f"{count} embeddings of {dim} coordinates in {path}")
    return 0
