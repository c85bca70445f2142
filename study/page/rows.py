"""The study's rows: one a run, one a look; and what the bounds make of each look."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ntxent import bounds
from study.runs.training import Spec

END_LOOKS = 5


@dataclass(frozen=True)
class Rows:
    """runs: a row a run, its settings and what it came to.

    looks: a row a step that was looked at, or of every step in dense runs (then without gradient
        and top1): loss, positive, negative and the run's settings.
    """

    runs: pd.DataFrame
    looks: pd.DataFrame
    environment: dict[str, Any]

    def grid(self, *names: str) -> "Rows":
        kept = self.runs[self.runs.grid.isin(names)]
        return Rows(kept, self.looks[self.looks.grid.isin(names)], self.environment)

    def with_usual(self, name: str) -> "Rows":
        """A grid, and the runs of the main one that differ from it in what it varies alone."""
        varied = self.runs.grid == name
        alike = self.runs.grid == "main"
        for setting in ("data", "batch_size", "temperature"):
            alike &= self.runs[setting].isin(self.runs[varied][setting])
        runs = self.runs[varied | alike]
        return Rows(runs, self.looks[self.looks.run.isin(runs.run)], self.environment)

    @property
    def ends(self) -> pd.DataFrame:
        """The runs, with the mean of each quantity over their last looks."""
        looks = self.looks[self.looks.gradient.notna()]
        last = looks.groupby("run").tail(END_LOOKS).groupby("run")
        return self.runs.merge(last[[*MEASURED, *DERIVED]].mean(), on="run")


MEASURED = ["loss", "positive", "negative", "gradient", "top1"]
DERIVED = ["chance", "floor", "position", "certified", "certified_with_negative"]


def collect(folder: Path, specs: list[Spec]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of every run's file, in the order of the specifications."""
    kept = [json.loads((folder / f"{spec.key}.json").read_text()) for spec in specs]
    runs = pd.DataFrame([one["run"] for one in kept])
    looks = pd.concat(
        [pd.DataFrame(one["looks"]).assign(run=number) for number, one in enumerate(kept)]
    )
    floats = dict.fromkeys(MEASURED, np.float32)
    return runs, looks.astype({"run": np.int16, "phase": np.int8, "step": np.int16} | floats)


def write(folder: Path, runs: pd.DataFrame, looks: pd.DataFrame, where: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("runs", runs), ("looks", looks)):
        table.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    text = json.dumps(where, indent=1, ensure_ascii=False)
    (folder / "environment.json").write_text(text + "\n")


def read(folder: Path) -> Rows:
    runs = pd.read_parquet(folder / "runs.parquet")
    looks = pd.read_parquet(folder / "looks.parquet").astype(dict.fromkeys(MEASURED, np.float64))
    of_run = runs.rename_axis("number").reset_index()
    looks = looks.rename(columns={"run": "number"}).merge(of_run, on="number", how="left")
    second = looks.phase == 1
    size = looks.batch_size.where(~second, looks.second_batch_size)
    temperature = looks.temperature.where(~second, looks.second_temperature)
    first_steps = np.ceil(looks.pairs / looks.batch_size)
    looks = looks.assign(
        batch_size=size, temperature=temperature, progress=looks.step / first_steps
    )
    where = json.loads((folder / "environment.json").read_text())
    return Rows(runs, derive(looks), where)


def derive(looks: pd.DataFrame) -> pd.DataFrame:
    """Adds what the theorems say of each look, none of which needs more than its columns."""
    n, t = looks.batch_size.to_numpy(int), looks.temperature.to_numpy()
    loss, negative = looks.loss.to_numpy(), looks.negative.to_numpy()
    chance, floor = bounds.chance(n), bounds.floor(n, t)
    certified, _ = bounds.similarity_interval(loss.clip(1e-30), n, t)
    gap = bounds.similarity_gap(loss.clip(1e-30), n, t)
    return looks.assign(
        chance=chance,
        floor=floor,
        position=(loss - floor) / (chance - floor),
        certified=certified,
        certified_with_negative=np.maximum(certified, (negative + gap).clip(-1, 1)),
    )
