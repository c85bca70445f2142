"""Fashion-MNIST on the CPU: accuracy of the defaults, of lightly, and images a second.

train    ``ntxent train --data.source fashion_mnist`` for some seeds, nothing else given
lightly  SimCLR of lightly, with its transform, loss and optimizer; encoder, N, tau and epochs alike
speed    images a second of both, from images to updated weights, in turns
tune     settings on a validation split of the training images; test images are not read
table    what the rows say
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from benchmarks.environment import describe, environment
from benchmarks.fashion.training import (
    defaults,
    lightly,
    ours,
    probed,
    raw_pixels,
    validation_split,
)
from ntxent.simclr import DataConfig
from ntxent.simclr.data import ImageData, MemoryImages
from ntxent.simclr.train.defaults import with_options

Row = dict[str, Any]
PROBES = ("linear_10", "linear_all", "knn")
# Where there is no name of a probe, the row is of seconds or of images a second.
REPRESENTATIONS = ("raw_pixels", "untrained_encoder", "encoder")


def train(source: str, seeds: list[int]) -> Iterator[Row]:
    """One row a seed, from the run's own summary."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            command = ["train", f"--data.source={source}", f"--seed={seed}"]
            argv = [sys.executable, "-m", "ntxent", *command, f"--folder={folder}", "--name=run"]
            started = perf_counter()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            seconds = perf_counter() - started
            summary = json.loads((Path(folder) / "run/summary.json").read_text())
        yield {
            "what": "train",
            "source": source,
            "command": " ".join(["ntxent", *command]),
            "seed": seed,
            "seconds": round(seconds, 1),
            "stages": summary["seconds"],
            "chosen": summary.get("chosen"),
            **{
                name: {probe: summary["evaluation"][name][probe]["mean"] for probe in PROBES}
                for name in REPRESENTATIONS
            },
        }


def beside(source: str, seeds: list[int]) -> Iterator[Row]:
    """One row a seed, of lightly's SimCLR for as many epochs as ours."""
    data, images, test = _opened(source)
    for seed in seeds:
        config = defaults(source, seed, len(images), data.shape)
        steps = config.epochs * (len(images) // config.batch_size)
        training = lightly(config, images, steps)
        started = perf_counter()
        for _ in range(config.epochs):
            for _ in training.epoch():
                pass
        seconds = perf_counter() - started
        accuracies = probed(training.contender.encoder, images, test, images.shape)
        yield {"what": "lightly", "source": source, "seed": seed, "seconds": round(seconds, 1)} | {
            "encoder": accuracies
        }


def speed(source: str, steps: int) -> Iterator[Row]:
    """Images a second, medians of steps taken in turns."""
    data, images, _ = _opened(source)
    config = defaults(source, 0, len(images), data.shape)
    contenders = {
        "ntxent": ours(config, images, steps + 2),
        "lightly": lightly(config, images, steps + 2),
        "lightly, no workers": lightly(config, images, steps + 2, workers=0),
    }
    running = {name: training.epoch() for name, training in contenders.items()}
    for _ in range(steps + 2):
        for steps_of in running.values():
            next(steps_of)
    rates = {
        name: config.batch_size / median(training.seconds[2:])
        for name, training in contenders.items()
    }
    yield {"what": "speed", "source": source, "batch_size": config.batch_size} | {
        "images_per_second": rates,
        "steps": steps,
    }


def tune(source: str, settings: list[str], steps: int) -> Iterator[Row]:
    """One row a setting, probed on images that are neither trained on nor test images."""
    data, every, _ = _opened(source)
    images, held_back = validation_split(every)
    yield {"what": "tune", "source": source, "setting": "raw pixels"} | {
        "encoder": raw_pixels(images, held_back)
    }
    for setting in settings:
        chosen = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in (
                (name, yaml.safe_load(text))
                for name, _, text in (entry.partition("=") for entry in setting.split())
            )
        }
        config = with_options(defaults(source, 0, len(data.train), data.shape), chosen)
        training = ours(config, images, steps)
        started = perf_counter()
        losses: list[float] = []
        while len(losses) < steps:
            losses += islice(training.epoch(), steps - len(losses))
        side = config.augmentation.view_size or images.shape[-1]
        shape = images.shape[0], side, side
        yield {
            "what": "tune",
            "source": source,
            "setting": setting or "defaults",
            "steps": steps,
            "loss": mean(losses[-20:]),
            "seconds": round(perf_counter() - started, 1),
            "encoder": probed(training.contender.encoder, images, held_back, shape),
        }


def _opened(source: str) -> tuple[ImageData, MemoryImages, MemoryImages]:
    data = ImageData(DataConfig(source=source, image_size=64), batch_size=1)
    train, test = (part.to(None, data.config.memory) for part in (data.train, data.test))
    if not isinstance(train, MemoryImages) or not isinstance(test, MemoryImages):
        raise ValueError(f"{source}: received images on disk, expected them in memory")
    return data, train, test


def table(rows: list[Row]) -> Table:
    shown = Table(
        title="accuracy in %, mean and 95 % interval over the seeds", title_justify="left"
    )
    for name in ("source", "what", "seeds", *PROBES, "seconds"):
        shown.add_column(name, justify="left" if name in ("source", "what") else "right")
    for source in dict.fromkeys(row["source"] for row in rows):
        own = [row for row in rows if row["source"] == source]
        for what, representations in (("train", REPRESENTATIONS), ("lightly", ("encoder",))):
            some = [row for row in own if row["what"] == what]
            for name in representations if some else ():
                cells = [_interval([100 * row[name][probe] for row in some]) for probe in PROBES]
                seconds = f"{mean(row['seconds'] for row in some):.0f}" if name == "encoder" else ""
                shown.add_row(source, f"{what}: {name}", str(len(some)), *cells, seconds)
    return shown


def _interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    reach = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.1f} ± {reach:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fashion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("train", "lightly", "speed", "tune", "table"))
    parser.add_argument("--source", default="fashion_mnist", help="as for ntxent train")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--steps", type=int, default=20, help="of speed and tune")
    parser.add_argument(
        "--settings", nargs="+", default=[""], help='of tune, such as "temperature=0.1"'
    )
    parser.add_argument("--rows", type=Path, help="JSON file to add the rows to")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.rows is not None and options.rows.exists():
        rows = json.loads(options.rows.read_text())["rows"]
    found = {
        "train": lambda: train(options.source, options.seeds),
        "lightly": lambda: beside(options.source, options.seeds),
        "speed": lambda: speed(options.source, options.steps),
        "tune": lambda: tune(options.source, options.settings, options.steps),
        "table": lambda: iter(()),
    }[options.what]()
    where = environment()
    for row in found:
        print(json.dumps(row), flush=True)
        rows.append(row)
        if options.rows is not None:  # at once: the next row may be interrupted
            text = json.dumps({"environment": where, "rows": rows}, indent=1)
            options.rows.write_text(text + "\n")
    console = Console()
    if any(row["what"] in ("train", "lightly") for row in rows):
        console.print(table(rows))
    console.print(describe(where), highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
