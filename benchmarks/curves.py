"""The loss curve of the digits run in one process and among several, step beside step.

Runs ``ntxent train`` and ``torchrun ... -m ntxent train`` with the same seed and global batch, and
prints the table of docs/training.md.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = (0, 4, 9, 49, 99, 199, 299)


def losses(folder: str, name: str, processes: int, epochs: int) -> list[float]:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    command = [sys.executable, "-m", *(launcher if processes > 1 else []), "ntxent", "train"]
    command += ["--folder", folder, "--name", name, "--epochs", str(epochs)]
    command += ["--accelerator", "cpu"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (Path(folder) / name / "metrics.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[2])
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = [1, *options.processes]
        curves = {w: losses(folder, f"of-{w}", w, options.epochs) for w in counts}
    one = curves[1]
    titles = ["one process", *(f"{w} processes" for w in options.processes)]
    print(f"| step | {' | '.join(titles)} | largest difference up to here |")
    print("|--:" * (len(titles) + 2) + "|")
    for step in (s for s in STEPS if s < len(one)):
        until = [
            abs(a - b)
            for curve in curves.values()
            for a, b in zip(curve[: step + 1], one[: step + 1], strict=True)
        ]
        cells = " | ".join(f"{curve[step]:.6f}" for curve in curves.values())
        print(f"| {step} | {cells} | {max(until):.1e} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
