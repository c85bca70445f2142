"""Which run folder a configuration means, and whether it is begun or continued there."""

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch

from ntxent.simclr.config import TrainConfig
from ntxent.simclr.run.config_file import keep_config, kept_config, require_same
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.run.lock import locked
from ntxent.simclr.train.defaults import keep_chosen

__all__ = ["find_run", "open_run"]


def find_run(
    config: TrainConfig, left_open: Collection[str] = ()
) -> tuple[TrainConfig, RunFolder, Collection[str]]:
    """The configuration with its name, the folder it means, and what is still to be chosen.

    Nothing is written. A run that is continued keeps what was chosen for it, on any machine.

    Raises:
        FileNotFoundError: the run to resume is not there.
        ValueError: it was started with another configuration, or ``auto`` has no name to look for.
    """
    if config.resume is None:
        name = _default_name(config) if config.name is None else config.name
        return replace(config, name=name), RunFolder(Path(config.folder) / name), left_open
    if config.resume != "auto":
        run = RunFolder(Path(config.resume))
        kept = kept_config(run)
        require_same(kept, config, run)
        return replace(config, name=kept.name), run, ()
    if config.name is None:
        raise ValueError(
            "resume: received 'auto' without a name, expected --name as well, by which the same "
            "command finds its run again"
        )
    run = RunFolder(Path(config.folder) / config.name)
    if run.config.exists():
        kept = kept_config(run)
        config = keep_chosen(config, kept, left_open)
        require_same(kept, config, run)
        left_open = ()
    return config, run, left_open


def open_run(config: TrainConfig, run: RunFolder, stack: ExitStack) -> int | None:
    """Make the folder, or take it, and lock it until the stack ends; the step to continue from.

    Raises:
        ValueError: the name is no folder name, or the checkpoint is damaged.
        FileExistsError: the folder exists and is neither to be resumed nor to be overwritten.
        BlockingIOError: another process uses it.
        OSError: it cannot be made or written to.
    """
    resumed = config.resume is not None and run.config.exists()
    if not resumed:
        # What a kill left before config.yaml was written is nobody's run.
        replaced = config.overwrite or config.resume == "auto"
        run = RunFolder.create(run.path.parent, str(config.name), replaced)
    stack.enter_context(locked(run.path))
    if not resumed:
        run.clear()
        keep_config(config, run)
        return None
    run.tidy()
    return _step(run.checkpoint) if run.checkpoint.exists() else None


def _default_name(config: TrainConfig) -> str:
    last = Path(config.data.source.rpartition(":")[2]).expanduser().resolve().stem
    data = "".join(letter if letter.isalnum() else "-" for letter in last).strip("-") or "images"
    return f"{data}-seed{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"


def _step(checkpoint: Path) -> int:
    try:
        state = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
        return int(state["global_step"])
    except Exception as error:
        raise ValueError(
            f"{checkpoint} cannot be read: {error}; it was whole when it was written, so look at "
            "the disk, and start another run"
        ) from error
