"""A step in chunks beside the step at once: gradient, time and memory; and what sums would do.

The digits encoder and head embed 4,096 pairs of augmented digits. ``gradcache`` in chunks is held
against the plain step, with BatchNorm in evaluation so that both are the same network; and so is
the sum of the gradients of the chunks' own losses ("gradient accumulation"), which is another loss.
The figure of docs/library/gradient-cache.md and its rows come from here. Times: the two take turns.
"""

import argparse
import json
import statistics
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.environment import describe, environment
from benchmarks.suite.worker import status_kib

ROOT = Path(__file__).parents[2]
FIGURE = ROOT / "docs" / "library" / "gradient-cache.svg"
TEMPERATURE = 0.5


def problem(n: int) -> tuple[torch.nn.Module, list[Tensor], Any]:
    from sklearn.datasets import load_digits

    from ntxent import NTXentLoss
    from ntxent.simclr import ModelConfig
    from ntxent.simclr.model.encoder import DigitsEncoder, ProjectionHead

    torch.manual_seed(0)
    encoder = DigitsEncoder(ModelConfig())
    model = torch.nn.Sequential(encoder, ProjectionHead(encoder.features, ModelConfig())).eval()
    pixels = torch.from_numpy(load_digits().data).float().div(16).view(-1, 1, 8, 8)
    images = pixels[torch.randint(len(pixels), (n,))]
    views = [(images + 0.2 * torch.randn_like(images)).clamp(0, 1) for _ in range(2)]
    return model, views, NTXentLoss(TEMPERATURE)


def gradient(model: torch.nn.Module) -> Tensor:
    whole = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    return whole


def plain(model: torch.nn.Module, views: list[Tensor], criterion: Any) -> None:
    criterion(*map(model, views)).backward()


def accumulated(model: torch.nn.Module, views: list[Tensor], criterion: Any, chunk: int) -> None:
    parts = list(zip(*(view.split(chunk) for view in views), strict=True))
    for part in parts:
        (criterion(*map(model, part)) / len(parts)).backward()


def measure(n: int, chunk: int, repeats: int) -> dict[str, Any]:
    from ntxent import gradcache

    model, views, criterion = problem(n)
    steps = {
        "plain": lambda: plain(model, views, criterion),
        "gradcache": lambda: gradcache(model, views, criterion, chunk_size=chunk),
        "accumulation": lambda: accumulated(model, views, criterion, chunk),
    }
    gradients = {}
    for name, step in steps.items():
        step()
        gradients[name] = gradient(model)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
            model.zero_grad()
    exact = gradients["plain"]
    row: dict[str, Any] = {"n": n, "chunk": chunk, "repeats": repeats}
    for name in steps:
        row[f"{name}_ms"] = round(1e3 * statistics.median(seconds[name]), 1)
        row[f"{name}_error"] = float((gradients[name] - exact).norm() / exact.norm())
    pairs = zip(seconds["gradcache"], seconds["plain"], strict=True)
    row["overhead"] = round(statistics.median(ours / theirs for ours, theirs in pairs), 3)
    return row


def peak(pipe: Any, way: str, n: int, chunk: int) -> None:
    """Bytes beyond model, batch and gradients that the first large step of a process needs."""
    from ntxent import gradcache

    for size in (16, n):
        model, views, criterion = problem(size)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        Path("/proc/self/clear_refs").write_text("5")
        before = status_kib("VmRSS")
        if way == "plain":
            plain(model, views, criterion)
        else:
            gradcache(model, views, criterion, chunk_size=chunk)
    pipe.send(1024 * (status_kib("VmHWM") - before))


def peak_mb(way: str, n: int, chunk: int) -> float:
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=peak, args=(there, way, n, chunk))
    process.start()
    bytes_ = here.recv()
    process.join()
    return round(bytes_ / 1e6, 1)


def figure(rows: list[dict[str, Any]]) -> None:
    import matplotlib.pyplot as plt

    plt.rcParams |= {"font.size": 10, "svg.hashsalt": "ntxent", "svg.fonttype": "path"}
    plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
    drawing, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    chunks = [row["chunk"] for row in rows]
    for name, colour, style in (
        ("accumulation", "#d55e00", "s-"),
        ("gradcache", "#0072b2", "o-"),
    ):
        label = "sum of the chunks' gradients" if name == "accumulation" else "gradcache"
        axis.loglog(chunks, [r[f"{name}_error"] for r in rows], style, color=colour, label=label)
    axis.set(xlabel=f"pairs in a chunk, of {rows[0]['n']:,}", ylabel="relative error of gradient")
    axis.legend(frameon=False)
    drawing.savefig(FIGURE, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims.gradcache", description=__doc__
    )
    parser.add_argument("-n", type=int, default=4096, help="pairs")
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write rows as JSON, and draw the figure")
    options = parser.parse_args()
    where = environment()
    print(describe(where))
    rows = []
    for chunk in options.chunks:
        row = measure(options.n, chunk, options.repeats)
        for way in ("plain", "gradcache"):
            row[f"{way}_peak_mb"] = peak_mb(way, options.n, chunk)
        rows.append(row)
        print(json.dumps(row))
    if options.out:
        options.out.write_text(json.dumps({"environment": where, "rows": rows}, indent=1) + "\n")
        figure(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
