"""The loss curve of the digits run in one process and among several, step beside step.

Runs ``ntxent train`` and ``torchrun ... -m ntxent train`` with the same seed and global batch, and
prints the table of docs/training/training.md. The same process with one thread instead of all is
the control: it sums in another order and does nothing else differently.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = (0, 4, 9, 49, 99, 199, 299)


def losses(folder: str, name: str, processes: int, epochs: int, **variables: str) -> list[float]:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    command = [sys.executable, "-m", *(launcher if processes > 1 else []), "ntxent", "train"]
    command += ["--folder", folder, "--name", name, "--epochs", str(epochs)]
    command += ["--accelerator", "cpu"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, check=True, env=os.environ | variables, **quiet)
    with (Path(folder) / name / "metrics.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims.curves", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[2])
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one = losses(folder, "one", 1, options.epochs)
        others = {
            "one process, one thread": losses(
                folder, "control", 1, options.epochs, OMP_NUM_THREADS="1"
            )
        }
        for size in options.processes:
            others[f"{size} processes"] = losses(folder, f"of-{size}", size, options.epochs)
    print(f"| step | one process | {' | '.join(f'{name} | gap so far' for name in others)} |")
    print("|--:" * (2 + 2 * len(others)) + "|")
    for step in (s for s in STEPS if s < len(one)):
        cells = [f"{one[step]:.6f}"]
        for curve in others.values():
            pairs = zip(curve[: step + 1], one[: step + 1], strict=True)
            cells += [f"{curve[step]:.6f}", f"{max(abs(a - b) for a, b in pairs):.1e}"]
        print(f"| {step} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
