"""The folder of a run, and the names of its files."""

import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """The folder ``<folder>/<name>/``; a run is finished when its ``summary`` exists."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def skipped(self) -> Path:
        return self.path / "skipped.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.ckpt"

    @property
    def encoder(self) -> Path:
        return self.path / "encoder.safetensors"

    @property
    def onnx(self) -> Path:
        return self.path / "encoder.onnx"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def recording(self) -> Path:
        """The files of :mod:`ntxent.simclr.train.recorder`, which the report reads."""
        return self.path / "report"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

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
