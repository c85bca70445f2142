"""``metrics.csv``: a row for each step, written before the checkpoint of that step."""

import csv
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from ntxent.files import atomic

__all__ = ["MetricsFile", "epoch_means", "truncate_rows"]


class MetricsFile(Callback):
    """Writes a row of ``columns`` after each step, before the checkpoint of that step.

    A checkpoint has the number of rows that belong to it. A resumed run removes the rows after
    them, whose steps it repeats. Lightning's CSVLogger starts a new file in a resumed run, and gets
    the values of a step only after its checkpoint.

    Args:
        path: The file.
        columns: Names that the module logs in every step.
    """

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path, self.columns = path, columns
        self.rows = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        truncate_rows(self.path, self.rows)
        self._repeat_last_row(trainer)
        self.file = self.path.open("a", newline="")
        self.writer = csv.DictWriter(self.file, sorted((*self.columns, "epoch", "step")))
        if self.rows == 0:
            self.writer.writeheader()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        logged = trainer.logged_metrics
        row = {name: float(logged[name]) for name in self.columns}
        self.writer.writerow({**row, "epoch": trainer.current_epoch, "step": self.rows})
        self.file.flush()  # for readers during the run
        self.rows += 1

    def _repeat_last_row(self, trainer: Trainer) -> None:
        """Logs the step of the checkpoint, which TensorBoard had only after the checkpoint."""
        if self.rows == 0:
            return
        with self.path.open(newline="") as file:
            *_, last = csv.DictReader(file)
        del last["step"]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                values = {name: float(value) for name, value in last.items()}
                logger.log_metrics(values, step=self.rows - 1)

    def sync(self) -> None:
        """Waits until every row is on the disk."""
        os.fsync(self.file.fileno())

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.file.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        if hasattr(self, "file"):
            with suppress(OSError):  # of a full disk, which ``exception`` reports
                self.file.close()


def epoch_means(path: Path) -> dict[str, float]:
    """Returns the mean of each column over the steps of the last epoch in the file.

    That of ``loss`` is what is called the loss of an epoch wherever a run tells one.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = [row for row in rows if row["epoch"] == rows[-1]["epoch"]]
    return {name: mean(float(row[name]) for row in last) for name in last[0]}


def truncate_rows(path: Path, rows: int) -> None:
    """Truncates a CSV file to its header and its first ``rows`` rows; removes it for 0 rows.

    Raises:
        ValueError: the file has fewer rows.
    """
    if rows == 0:
        path.unlink(missing_ok=True)
        return
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if len(lines) < rows + 1:
        raise ValueError(
            f"{path}: found {max(len(lines) - 1, 0)} rows, expected the {rows} that the checkpoint "
            "counts; bring the file back, or start another run"
        )
    if len(lines) > rows + 1:
        with atomic(path) as partial:
            partial.write_bytes(b"".join(lines[: rows + 1]))
