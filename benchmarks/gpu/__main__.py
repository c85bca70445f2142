"""The losses on a GPU beside other ways to compute them, and beside what paper says is possible.

For each family, size, width and precision: median time of forward and of forward + backward by CUDA
events, peak memory beyond inputs and gradients, the rate of the multiply-adds that the exact loss
needs (TFLOP/s; two operations each), and the floor, the longest of the times that its products, its
exponentials and its bytes need at the device's peak rates. Contenders take turns.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.environment import installed
from benchmarks.gpu.contenders import PRECISIONS, TEMPERATURE, Loss, contenders
from benchmarks.gpu.floors import Device, floors, work

Row = dict[str, Any]
FAMILIES = ("nt_xent", "info_nce")
PACKAGES = ("ntxent", "torch", "triton", "lightly")
ROUNDS = 15


def device_and_environment() -> tuple[Device, Row]:
    properties = torch.cuda.get_device_properties(0)
    # kHz; data moves on both edges of the memory clock.
    hertz = 1e3 * properties.clock_rate
    memory = getattr(properties, "memory_clock_rate", 0) * getattr(
        properties, "memory_bus_width", 0
    )
    device = Device(
        (properties.major, properties.minor),
        properties.multi_processor_count,
        hertz,
        2e3 * memory / 8 or None,
    )
    where = {
        "device": properties.name,
        **device._asdict(),
        "capability": list(device.capability),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in PACKAGES},
    }
    return device, where


class Running:
    """A contender at one size, asked for one timed pass at a time."""

    def __init__(
        self, name: str, make: Callable[[], Loss], views: list[Tensor], precision: str
    ) -> None:
        self.setting = PRECISIONS[precision][1]
        self.name, self.error, self.peak, self.value = name, "", 0, 0.0
        self.milliseconds: dict[str, list[float]] = {"forward": [], "both": []}
        self.views = views
        try:
            self.loss = make()
        except ImportError as error:
            self.error = f"not installed: {error}"

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.loss(*self.views)

    def both(self) -> Tensor:
        value = self.loss(*self.views)
        value.backward()
        return value.detach()

    def run(self, which: str, *, measured: bool = True) -> None:
        """One pass; a peak of memory belongs to the last ``both``."""
        if self.error:
            return
        torch.set_float32_matmul_precision(self.setting)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        try:
            start.record()
            value = getattr(self, which)()
            end.record()
            end.synchronize()
        except torch.OutOfMemoryError:
            self.error = "out of memory"
        except Exception as error:  # a row that says what happened, not the end of the run
            self.error = f"failed: {str(error).strip().partition(chr(10))[0]}"
        else:
            if measured:
                self.milliseconds[which].append(start.elapsed_time(end))
            if which == "both":
                self.peak, self.value = torch.cuda.max_memory_allocated() - before, float(value)
        if self.error:
            gc.collect()
            torch.cuda.empty_cache()


def measure(
    family: str,
    names: list[str],
    n: int,
    d: int,
    precision: str,
    device: Device,
    inf_cl: Path | None,
    budget: float,
) -> list[Row]:
    """One row a contender."""
    makers = contenders(family, inf_cl)
    generator = torch.Generator("cuda").manual_seed(0)
    dtype = PRECISIONS[precision][0]
    views = [
        torch.randn(n, d, device="cuda", generator=generator).to(dtype).requires_grad_()
        for _ in range(2)
    ]
    for view in views:
        view.grad = torch.zeros_like(view)  # inputs and gradients are not extra memory
    running = [Running(name, makers[name], views, precision) for name in names if name in makers]
    for _ in range(2):  # compile, tune, warm
        for one in running:
            for which in one.milliseconds:
                one.run(which, measured=False)
    start = time.monotonic()
    for done in range(ROUNDS):
        if done >= 3 and time.monotonic() - start > budget:
            break
        for one in running:
            for which in one.milliseconds:
                one.run(which)
    rows = []
    for one in running:
        row: Row = {"family": family, "contender": one.name, "n": n, "d": d}
        row |= {"precision": precision, "temperature": TEMPERATURE}
        if one.error:
            rows.append(row | {"error": one.error})
            continue
        for which, times in one.milliseconds.items():
            needed = work(family, n, d, dtype.itemsize, backward=which == "both")
            low, median, high = statistics.quantiles(times, n=4, method="inclusive")
            row[f"{which}_ms"] = round(median, 4)
            row[f"{which}_quartiles_ms"] = [round(low, 4), round(high, 4)]
            row[f"{which}_tflops"] = round(2 * needed.multiply_adds / median / 1e9, 2)
            row[f"{which}_floor"] = {
                part: round(value, 5) for part, value in floors(needed, device, precision).items()
            }
        row |= {"repeats": len(one.milliseconds["both"]), "peak_mb": round(one.peak / 1e6, 1)}
        rows.append(row | {"loss": one.value})
    return rows


def table(rows: list[Row]) -> Table:
    shown = Table(title="medians", title_justify="left")
    for column in ("family", "N", "d", "precision", "loss function"):
        shown.add_column(column, justify="left" if column == "loss function" else "right")
    for column in ("fwd ms", "fwd+bwd ms", "TFLOP/s", "% of floor", "peak MB"):
        shown.add_column(column, justify="right")
    for row in rows:
        start = row["family"], f"{row['n']:,}", str(row["d"]), row["precision"], row["contender"]
        if "error" in row:
            shown.add_row(*start, row["error"])
            continue
        floor = max(row["both_floor"].values(), default=0.0)
        share = f"{100 * floor / row['both_ms']:.0f}" if floor else ""
        times = (f"{row[f'{which}_ms']:.3f}" for which in ("forward", "both"))
        shown.add_row(*start, *times, f"{row['both_tflops']:.1f}", share, f"{row['peak_mb']:.0f}")
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    names = list(dict.fromkeys(name for family in FAMILIES for name in contenders(family, None)))
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["nt_xent"])
    parser.add_argument("-n", type=int, nargs="+", default=[256, 4096, 32768], help="pairs, N")
    parser.add_argument("-d", type=int, nargs="+", default=[128], help="width of the embeddings")
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS), default=["bf16"])
    parser.add_argument("--contenders", nargs="+", choices=names, default=names)
    parser.add_argument("--inf-cl", type=Path, help="a checkout of DAMO-NLP-SG/Inf-CLIP")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of timing for a size")
    parser.add_argument(
        "--suite", action="store_true", help="every family, precision, N = 1k ... 512k, d to 1024"
    )
    parser.add_argument("--out", type=Path, help="write rows as JSON")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error(
            "PyTorch sees no CUDA device, and this measures one; python -m benchmarks measures the "
            "CPU, python -m benchmarks.gpu.kernels compiles the kernels without a GPU"
        )
    if options.suite:
        options.families, options.precisions = list(FAMILIES), list(PRECISIONS)
        options.n = [256, 1024, 4096, 16384, 32768, 65536, 131072, 262144, 524288]
        options.d = [64, 128, 256, 512, 1024]
    console = Console(width=None if sys.stdout.isatty() else 140)
    device, where = device_and_environment()
    console.print(json.dumps(where), highlight=False)
    rows: list[Row] = []
    for family in options.families:
        for precision in options.precisions:
            for d in options.d:
                for n in options.n:
                    if options.suite and d != 128 and n not in (4096, 32768):
                        continue
                    rows += measure(
                        family,
                        options.contenders,
                        n,
                        d,
                        precision,
                        device,
                        options.inf_cl,
                        options.budget,
                    )
                    if options.out:
                        options.out.parent.mkdir(parents=True, exist_ok=True)
                        content = {"environment": where, "rows": rows}
                        options.out.write_text(json.dumps(content, indent=1) + "\n")
    console.print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
