"""The files of ``<run>/report/``, which the report reads beside the metrics.

measures.csv       at 16 steps, more of them early: measures of the embeddings of the step's batch,
                   the norm of the loss' gradient in them, the seconds since the start
similarities.json  histograms of the cosines at the first, the middle and the last of these steps
views.npz          ``pairs`` uint8 ``[n, 2, H, W, C]``: two views of each of some images
samples.npz        held-out images: ``features`` ``[n, f]``, ``labels`` (-1 for none),
                   ``thumbnails``, ``classes``

There are at most 1,000 samples of 32×32 pixels and 8 pairs of 96×96. No random number is drawn, so
a run is the same with and without these files.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from ntxent import measures
from ntxent.losses import NTXentLoss
from ntxent.simclr.data import Images, to_unit

__all__ = ["Recorder", "record_samples", "recorded_steps"]

RECORDED_STEPS = 16
PAIRS, PAIR_SIDE = 8, 96
SAMPLES, SAMPLE_SIDE, PART = 1000, 32, 50


def recorded_steps(steps: int, count: int = RECORDED_STEPS) -> list[int]:
    """Returns the steps to record, among them the first and the last; the gaps grow linearly.

    >>> recorded_steps(300, 6)
    [0, 12, 48, 108, 191, 299]
    >>> recorded_steps(1)
    [0]
    """
    return sorted({round((steps - 1) * (k / (count - 1)) ** 2) for k in range(count)})


class Recorder(Callback):
    """Measures the features and embeddings of the batch in the steps of :func:`recorded_steps`.

    The module has ``views``, ``head`` and ``config.temperature``. From a batch of N images its head
    makes 2N embeddings, those of the first views first, in one call or in chunks. Other steps are
    not touched. With several processes, rank 0 measures and writes the rows of all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0.0
        self.due: list[int] = []
        self.pairs: tuple[Tensor, ...] = ()
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.hooks: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.due = recorded_steps(int(trainer.estimated_stepping_batches))
        self.middle = min(self.due, key=lambda step: abs(2 * step - self.due[-1]))
        if trainer.is_global_zero:
            self.folder.mkdir(exist_ok=True)
            self.started = perf_counter() - self._resume(trainer.global_step)

    def _resume(self, step: int) -> float:
        """Removes what was recorded from ``step`` on, and returns the seconds before it."""
        table, histograms = self.folder / "measures.csv", self.folder / "similarities.json"
        if step == 0:
            for path in (table, histograms, self.folder / "views.npz"):
                path.unlink(missing_ok=True)
            return 0.0
        if histograms.exists():
            earlier = [h for h in json.loads(histograms.read_text()) if h["step"] < step]
            histograms.write_text(json.dumps(earlier))
        if not table.exists():
            return 0.0
        with table.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) < step]
        table.unlink()
        for row in rows:
            _append_row(table, row)
        return float(rows[-1]["seconds"]) if rows else 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Tensor, batch_idx: int
    ) -> None:
        self.pairs, self.rows = (), []
        if trainer.global_step in self.due and not self.hooks:
            self.hooks = [
                pl_module.views.register_forward_hook(self._store_views),
                pl_module.head.register_forward_hook(self._store_rows),
            ]

    def _store_views(self, module: nn.Module, images: Any, views: tuple[Tensor, ...]) -> None:
        self.pairs = views

    def _store_rows(self, module: nn.Module, features: tuple[Tensor, ...], rows: Tensor) -> None:
        self.rows.append((features[0].detach().float(), rows.detach().float()))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        while self.hooks:
            self.hooks.pop().remove()
        if not self.rows:
            return
        # The gradient cache embeds all rows twice.
        features, embeddings = (
            torch.cat(part)[: 2 * len(batch)] for part in zip(*self.rows, strict=True)
        )
        self.rows = []
        if len(embeddings) < 2 * len(batch):
            return
        if trainer.world_size > 1:
            features, embeddings = (_gathered(pl_module, rows) for rows in (features, embeddings))
        if trainer.is_global_zero and embeddings.isfinite().all():
            with _one_thread():
                self._record(trainer, pl_module.config.temperature, features, embeddings)

    def _record(
        self, trainer: Trainer, temperature: float, features: Tensor, embeddings: Tensor
    ) -> None:
        step = trainer.global_step - 1
        z1, z2 = embeddings.chunk(2)
        row = {
            "step": step,
            "epoch": trainer.current_epoch,
            "seconds": round(perf_counter() - self.started, 3),
            **_measure(z1, z2, features, temperature),
        }
        _append_row(self.folder / "measures.csv", row)
        if step in (self.due[0], self.middle, self.due[-1]):
            self._append_histogram(step, z1, z2)
        if not (self.folder / "views.npz").exists() and self.pairs:
            _write_views(self.folder / "views.npz", self.pairs)

    def _append_histogram(self, step: int, z1: Tensor, z2: Tensor) -> None:
        path = self.folder / "similarities.json"
        histograms = json.loads(path.read_text()) if path.exists() else []
        histogram = measures.similarity_histogram(z1, z2, pairs=2**14)
        histograms.append({"step": step, **histogram._asdict()})
        path.write_text(json.dumps(histograms))


def _gathered(module: LightningModule, rows: Tensor) -> Tensor:
    """Returns the rows of all processes: all first views, then all second views."""
    gathered = cast(Tensor, module.all_gather(rows))
    return torch.cat([view for half in gathered.chunk(2, dim=1) for view in half])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Runs a block on one thread.

    Threads save little on the matrices of a batch, and on a busy machine they wait for each other:
    the measures at N = 256 took up to 1 s on two threads, and 15 ms on one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _measure(z1: Tensor, z2: Tensor, features: Tensor, temperature: float) -> dict[str, float]:
    unit = normalize(torch.cat([z1, z2])).requires_grad_()
    with torch.enable_grad():
        loss = NTXentLoss(temperature, distributed="local")(*unit.chunk(2))
    (gradient,) = torch.autograd.grad(loss, unit)
    return {
        "loss": loss.item(),
        "alignment": measures.alignment(z1, z2),
        "uniformity": (measures.uniformity(z1) + measures.uniformity(z2)) / 2,
        "effective_rank": measures.effective_rank(torch.cat([z1, z2])),
        "feature_rank": measures.effective_rank(features),
        "contrastive_accuracy": measures.contrastive_accuracy(z1, z2),
        "gradient": float(gradient.norm(dim=1).sum()),
    }


def _append_row(path: Path, row: Mapping[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _pixels(images: Tensor, side: int) -> NDArray[np.uint8]:
    """Returns images ``[n, C, H, W]`` as uint8 ``[n, H, W, C]``, no larger than ``side``.

    Images that exceed [0, 1], such as normalised ones, are mapped to it, all by the same factor.
    """
    images = images.detach().float().cpu()
    largest = max(images.shape[2:])
    if largest > side:
        images = interpolate(images, scale_factor=side / largest, mode="area")
    low, high = images.amin(), images.amax()
    if low < 0 or high > 1:
        images = (images - low) / (high - low)
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _write_views(path: Path, views: Sequence[Tensor]) -> None:
    first, second = (view[:PAIRS] for view in views[:2])
    both = _pixels(torch.cat([first, second]), PAIR_SIDE)
    np.savez_compressed(path, pairs=np.stack(np.split(both, 2), axis=1))


class _Samples(NamedTuple):
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]
    classes: NDArray[np.str_]


def record_samples(
    folder: Path,
    extract: Callable[[Images], NDArray[Any]],
    images: Images,
    classes: Sequence[str],
) -> None:
    """Writes features and thumbnails of evenly spaced held-out images to ``samples.npz``.

    Args:
        folder: The folder of the :class:`Recorder`.
        extract: Maps images to features ``[n, f]``.
        images: The held-out images.
        classes: The names of their labels.
    """
    folder.mkdir(exist_ok=True)
    drawn = np.unique(np.linspace(0, len(images) - 1, min(len(images), SAMPLES)).round())
    chosen = images.take(drawn.astype(int).tolist())
    labels = np.full(len(chosen), -1) if chosen.labels is None else chosen.labels
    samples = _Samples(
        extract(chosen).astype(np.float32),
        np.asarray(labels).astype(np.int64),
        _thumbnails(chosen),
        np.array([str(name) for name in classes]),
    )
    np.savez_compressed(folder / "samples.npz", **samples._asdict())


def _thumbnails(images: Images) -> NDArray[np.uint8]:
    """Returns the images as thumbnails; a few are read at a time, as they may be large."""
    parts = (range(start, min(start + PART, len(images))) for start in range(0, len(images), PART))
    return np.concatenate([_pixels(to_unit(images[list(part)]), SAMPLE_SIDE) for part in parts])
