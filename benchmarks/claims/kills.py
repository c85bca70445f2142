"""Kill a training run at random moments, resume it, and compare it with one that was left alone.

``python -m benchmarks.claims.kills --kills 20`` ends with status 0 if every killed run continued
to the same weights, the same last checkpoint and the same ``metrics.csv``, bit for bit. Every
second kill waits until a checkpoint is being written. Each run is a process of its own, killed by
SIGKILL.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

CONTEXT = multiprocessing.get_context("forkserver")
# A checkpoint after each of 40 steps; the encoder is small, so that many moments are in one.
OPTIONS = (
    *("train", "--epochs=8", "--model.width=8", "--accelerator=cpu", "--checkpoint_seconds=0"),
    *("--evaluation.labels_per_class=[1]", "--evaluation.draws=2"),
)


def _main(argv: list[str]) -> None:
    from ntxent.cli import main

    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        sys.exit(main(argv))


def _start(*argv: str) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=_main, args=(list(argv),))
    process.start()
    return process


def _finish(*argv: str) -> int | None:
    process = _start(*argv)
    process.join()
    return process.exitcode


def _kill(run: Path, moment: float, in_checkpoint: bool) -> str:
    """Start the run, kill it ``moment`` seconds after its first step, and say where that was.

    With ``in_checkpoint``, in the next write of a checkpoint. One that ends earlier is started
    again for an earlier kill.
    """
    partial = run / "checkpoint.ckpt.partial"
    process = _start(*OPTIONS, f"--folder={run.parent}", f"--name={run.name}", "--overwrite")
    while not (run / "metrics.csv").exists() and process.is_alive():
        time.sleep(0.001)
    time.sleep(moment)
    while in_checkpoint and not partial.exists() and process.is_alive():
        pass
    killed = process.is_alive()
    process.kill()
    process.join()
    if not killed:
        return _kill(run, moment / 2, in_checkpoint)
    rows = len((run / "metrics.csv").read_bytes().splitlines()) - 1
    return f"after {rows} steps{', writing a checkpoint' if partial.exists() else ''}"


def _differences(run: Path, whole: Path) -> list[str]:
    """Names of what is not equal bit for bit."""
    different = []
    if (run / "metrics.csv").read_bytes() != (whole / "metrics.csv").read_bytes():
        different.append("metrics.csv")
    mine, theirs = (load_file(path / "encoder.safetensors") for path in (run, whole))
    different += [name for name in theirs if not torch.equal(mine[name], theirs[name])]
    states = [
        torch.load(path / "checkpoint.ckpt", weights_only=True)["state_dict"]
        for path in (run, whole)
    ]
    return different + [n for n in states[1] if not torch.equal(states[0][n], states[1][n])]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    CONTEXT.set_forkserver_preload(["ntxent.simclr.train.train", "ntxent.commands._tables"])
    moments = random.Random(options.seed)
    equal = 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        _finish(*OPTIONS, f"--folder={folder}", "--name=whole")
        started = (whole / "config.yaml").stat().st_mtime
        seconds = (whole / "encoder.safetensors").stat().st_mtime - started
        print(f"the uninterrupted run trains for {seconds:.1f} s")
        for number in range(options.kills):
            run = Path(folder) / f"killed-{number}"
            where = _kill(run, moments.uniform(0, 0.9 * seconds), in_checkpoint=number % 2 == 1)
            status = _finish("train", f"--resume={run}")
            ended = "resumed to other bits" if status == 0 else f"resume failed: {status}"
            if status == 0 and not (different := _differences(run, whole)):
                ended, equal = "resumed to the same bits", equal + 1
            elif status == 0:
                ended += f" in {', '.join(different)}"
            print(f"kill {number + 1}: {where}; {ended}")
    print(f"{equal} of {options.kills} killed runs ended as the uninterrupted one")
    return int(equal < options.kills)


if __name__ == "__main__":
    sys.exit(main())
