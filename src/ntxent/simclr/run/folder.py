"""The folder of a run, and the names of its files."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RunFolder"]


class _Entry:
    """The path of an entry of the run folder, as an attribute."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunFolder", owner: Any = None) -> Path:
        return run.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """The folder ``<folder>/<name>/``; a run is finished when its ``summary`` exists."""

    path: Path

    config = _Entry("config.yaml")
    data = _Entry("data.json")
    skipped = _Entry("skipped.csv")
    metrics = _Entry("metrics.csv")
    checkpoint = _Entry("checkpoint.ckpt")
    encoder = _Entry("encoder.safetensors")
    onnx = _Entry("encoder.onnx")
    summary = _Entry("summary.json")
    evaluation = _Entry("evaluation.json")
    report = _Entry("report.html")
    tensorboard = _Entry("tensorboard")  # a folder
    recording = _Entry("report")  # a folder: the files of ntxent.simclr.train.recorder

    @classmethod
    def create(cls, folder: str | Path, name: str, overwrite: bool = False) -> "RunFolder":
        """Makes the folder, or with ``overwrite`` uses the one that exists.

        Raises:
            ValueError: ``name`` is not a single folder name.
            FileExistsError: the folder exists and ``overwrite`` is False.
            OSError: it cannot be made.
        """
        if name in ("", ".", "..") or name != Path(name).name:
            raise ValueError(
                f"name: received {name!r}, expected one folder name; "
                "choose where it is made with --folder"
            )
        run = cls(Path(folder) / name)
        try:
            run.path.mkdir(parents=True, exist_ok=overwrite)
        except OSError as error:
            if run.path.is_dir():
                raise FileExistsError(
                    f"run folder {run.path} exists; choose another --name, continue it with "
                    f"--resume {run.path}, or replace it with --overwrite true"
                ) from error
            raise OSError(
                f"run folder {run.path} cannot be made: {error.strerror}; choose another --folder"
            ) from error
        return run

    def clear(self) -> None:
        """Removes the files of an earlier run, and no others."""
        for folder in (self.tensorboard, self.recording):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.summary, self.evaluation, self.config, self.data, self.skipped):
            file.unlink(missing_ok=True)
        for file in (self.metrics, self.checkpoint, self.encoder, self.onnx, self.report):
            file.unlink(missing_ok=True)
        self.remove_partial()

    def remove_partial(self) -> None:
        """Removes the unfinished files of a process that was killed."""
        for file in self.path.glob("*.partial"):
            file.unlink(missing_ok=True)
