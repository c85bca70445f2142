"""The folder that keeps a run: which files it has, and how none is lost or half written."""

import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """``<folder>/<name>/``; ``summary`` is written last, so its presence marks a finished run."""

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
        """What the report shows beyond the metrics; see :mod:`ntxent.simclr.train.recorder`."""
        return self.path / "report"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @classmethod
    def create(cls, folder: str | Path, name: str, overwrite: bool = False) -> "RunFolder":
        """Make the folder, or with ``overwrite`` take the one that is there.

        Raises:
            ValueError: ``name`` is not one plain folder name.
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
        """Remove what an earlier run wrote, nothing else."""
        for folder in (self.tensorboard, self.recording):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.summary, self.evaluation, self.config, self.data, self.skipped):
            file.unlink(missing_ok=True)
        for file in (self.metrics, self.checkpoint, self.encoder, self.onnx, self.report):
            file.unlink(missing_ok=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove what a killed process had half written."""
        for file in self.path.glob("*.partial"):
            file.unlink(missing_ok=True)
