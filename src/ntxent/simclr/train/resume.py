"""The run folder of a configuration, made for a new run or continued."""

import json
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch

from ntxent.simclr.config import TrainConfig
from ntxent.simclr.data import ImageData, data_record
from ntxent.simclr.data.fingerprint import require_same_images
from ntxent.simclr.run.config_file import read_config, require_same, write_config
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.run.lock import locked
from ntxent.simclr.train.defaults import with_defaults_of

__all__ = ["check_images", "locate_run", "start_run"]


def locate_run(
    config: TrainConfig, unset: Collection[str] = ()
) -> tuple[TrainConfig, RunFolder, Collection[str]]:
    """Returns the configuration with its name, its run folder, and the options still unset.

    It writes nothing. A run that is continued has the defaults that it was started with.

    Raises:
        FileNotFoundError: the run to resume does not exist.
        ValueError: it was started with another configuration, or ``auto`` was given without a name.
    """
    if config.resume is None:
        name = _default_name(config) if config.name is None else config.name
        return replace(config, name=name), RunFolder(Path(config.folder) / name), unset
    if config.resume != "auto":
        run = RunFolder(Path(config.resume))
        started = read_config(run)
        require_same(started, config, run)
        return replace(config, name=started.name), run, ()
    if config.name is None:
        raise ValueError(
            "resume: received 'auto' without a name, expected --name as well, by which the same "
            "command finds its run again"
        )
    run = RunFolder(Path(config.folder) / config.name)
    if run.config.exists():
        started = read_config(run)
        config = with_defaults_of(config, started, unset)
        require_same(started, config, run)
        unset = ()
    return config, run, unset


def check_images(config: TrainConfig, run: RunFolder, data: ImageData) -> None:
    """Checks that a run is continued on its own images.

    Raises:
        ValueError: they are others than those it was started with.
    """
    if config.resume is not None and run.config.exists() and run.data.exists():
        started = json.loads(run.data.read_text())
        require_same_images(started, data_record(data), str(run.path))


def start_run(config: TrainConfig, run: RunFolder, stack: ExitStack) -> int | None:
    """Makes the run folder unless it is resumed, and locks it until the stack is closed.

    Returns:
        The step of the checkpoint to continue from, None without one.

    Raises:
        ValueError: the name is no folder name, or the checkpoint is damaged.
        FileExistsError: the folder exists and is neither to be resumed nor to be overwritten.
        BlockingIOError: another process uses it.
        OSError: it cannot be made or written to.
    """
    resumed = config.resume is not None and run.config.exists()
    if not resumed:
        # A folder without config.yaml, which a killed process left, is not a run: it is replaced.
        replaced = config.overwrite or config.resume == "auto"
        run = RunFolder.create(run.path.parent, str(config.name), replaced)
    stack.enter_context(locked(run.path))
    if not resumed:
        run.clear()
        write_config(config, run)
        return None
    run.remove_partial()
    started = read_config(run)
    if config.data != started.data:  # the images have moved, or are read in another way
        write_config(replace(started, data=config.data), run)
    return _read_step(run.checkpoint) if run.checkpoint.exists() else None


def _default_name(config: TrainConfig) -> str:
    last = Path(config.data.source.rpartition(":")[2]).expanduser().resolve().stem
    data = "".join(letter if letter.isalnum() else "-" for letter in last).strip("-") or "images"
    return f"{data}-seed{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"


def _read_step(checkpoint: Path) -> int:
    try:
        state = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
        return int(state["global_step"])
    except Exception as error:
        raise ValueError(
            f"{checkpoint} cannot be read: {error}; it was whole when it was written, so look at "
            "the disk, and start another run"
        ) from error
