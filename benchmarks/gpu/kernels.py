"""Compile the Triton kernels ahead of time, without a GPU, and say what each needs of one.

Every launch that an engine makes for small examples is recorded, with its arguments, and what it
would run is compiled to machine code. Registers are per thread, of 255; what does not fit into them
spills into local memory, shown in bytes per thread; shared memory is per program.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import triton
from rich.console import Console
from rich.table import Table
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ntxent.engines._triton import backward, blocks, forward, kernels
from ntxent.engines._triton.tiling import Tiling, candidates
from ntxent.engines.contract import Block, Sums

WAYS = {
    "bfloat16": (torch.bfloat16, "ieee"),
    "float16": (torch.float16, "ieee"),
    "tf32": (torch.float32, "tf32"),
    "tf32x3": (torch.float32, "tf32x3"),
    "float32": (torch.float32, "ieee"),
    "float64": (torch.float64, "ieee"),
}
SHAPES = ("self", "one way", "both ways")
TYPES = {
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.int64: "i64",
}
OPTIONS = ("num_warps", "num_stages")


class Launch(NamedTuple):
    kernel: str
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    aligned: tuple[int, ...]
    options: tuple[tuple[str, int], ...]

    def compile(self, architecture: int) -> dict[str, Any]:
        source = ASTSource(
            getattr(kernels, self.kernel),
            dict(self.signature),
            dict(self.constants),
            {(place,): [["tt.divisibility", 16]] for place in self.aligned},
        )
        target = GPUTarget("cuda", architecture, 32)
        compiled = triton.compile(source, target=target, options=dict(self.options))
        return {"shared": compiled.metadata.shared, **_usage(compiled.asm["cubin"])}


def _usage(cubin: bytes) -> dict[str, int]:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", text))
    return {"registers": int(found["REG"]), "spilled": int(found["STACK"]) + int(found["LOCAL"])}


class _Recorder:
    """Stands for a kernel and remembers its launches."""

    def __init__(self, name: str, launches: dict[Launch, None]) -> None:
        self._name, self._launches = name, launches
        self._parameters = getattr(kernels, name).params

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return self._record

    def _record(self, *arguments: Any, **named: Any) -> None:
        options = tuple((key, named.pop(key)) for key in OPTIONS if key in named)
        names = [parameter.name for parameter in self._parameters]
        given = dict(zip(names, arguments, strict=False)) | named
        if set(given) != set(names):
            raise TypeError(f"{self._name}: received {sorted(given)}, expected {sorted(names)}")
        signature, constants, aligned = [], [], []
        for place, parameter in enumerate(self._parameters):
            value = given[parameter.name]
            if parameter.is_constexpr:
                signature.append((parameter.name, "constexpr"))
                constants.append((parameter.name, value))
            elif isinstance(value, torch.Tensor):
                signature.append((parameter.name, "*" + TYPES[value.dtype]))
                if value.data_ptr() % 16 == 0:
                    aligned.append(place)
            else:
                signature.append((parameter.name, "i32"))
        launch = Launch(self._name, *map(tuple, (signature, constants, aligned)), options)
        self._launches[launch] = None


@contextmanager
def _recorded(way: str, tiling: Tiling, programs: int) -> Iterator[dict[Launch, None]]:
    launches: dict[Launch, None] = {}
    names = ("describe", "sum_tiles", "merge_sums", "prepare", "gradient", "add_panel")
    recorders = {name: _Recorder(name, launches) for name in names}
    stand_in = mock.Mock(**recorders)
    with (
        mock.patch.object(blocks, "products", return_value=WAYS[way]),
        mock.patch.object(blocks, "_PROGRAMS", programs),
        mock.patch.object(forward, "kernels", stand_in),
        mock.patch.object(backward, "kernels", stand_in),
        mock.patch.object(forward, "fastest", return_value=tiling),
        mock.patch.object(backward, "fastest", return_value=tiling),
    ):
        yield launches


def launches(way: str, width: int, shape: str, tiling: Tiling, *, atomic: bool) -> list[Launch]:
    """What an engine launches for one block, forward and backward, each once: where programs share
    columns, and where there are rows enough for all.
    """
    dtype = WAYS[way][0]
    x = torch.zeros(256, width, dtype=dtype)
    ids = torch.arange(256)
    y, y_ids = (None, None) if shape == "self" else (torch.zeros(512, width, dtype=dtype), ids)
    if y is not None:
        y_ids = torch.arange(512)
    target = torch.arange(256 if shape != "both ways" else 768) % 256
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    block = Block(x, y, torch.tensor(2.0, dtype=wide), ids, y_ids, target, shape == "both ways")
    row = torch.zeros(len(target), dtype=wide)
    every: dict[Launch, None] = {}
    for programs in (2**10, 1):
        with _recorded(way, tiling, programs) as found:
            forward.forward(block)
            gradient = backward.backward_atomic if atomic else backward.backward
            gradient(block, Sums(row, row, row[:0]), row, row)
        every |= found
    return list(every)


Row = dict[str, Any]


def measure(
    ways: list[str], widths: list[int], shapes: list[str], architectures: list[int], every: bool
) -> Iterator[Row]:
    seen = set()
    for way, width, atomic, shape in product(ways, widths, (False, True), shapes):
        for tiling in candidates(*WAYS[way], width, atomic=atomic)[: None if every else 1]:
            found = launches(way, width, shape, tiling, atomic=atomic)
            for launch, architecture in product(found, architectures):
                if (launch, architecture) in seen:
                    continue
                seen.add((launch, architecture))
                yield {
                    "kernel": launch.kernel,
                    "atomic": dict(launch.constants).get("ATOMIC", False),
                    "panel": dict(launch.constants).get("PANEL", False),
                    "precision": way,
                    "width": width,
                    "shape": shape,
                    "tiling": list(tiling),
                    "architecture": architecture,
                    **launch.compile(architecture),
                }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.kernels", description=__doc__)
    parser.add_argument("--precisions", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--widths", nargs="+", type=int, default=[128, 512], help="d")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES[:1]))
    parser.add_argument("--architectures", nargs="+", type=int, default=[80, 90], help="sm_...")
    parser.add_argument("--every", action="store_true", help="all tilings, not the first alone")
    parser.add_argument("--json", action="store_true", help="print each row as a line of JSON")
    options = parser.parse_args()
    rows = measure(
        options.precisions,
        options.widths,
        options.shapes,
        options.architectures,
        options.every,
    )
    if options.json:
        for row in rows:
            print(json.dumps(row), flush=True)
        return 0
    columns = ("sm", "kernel", "of", "precision", "d", "block", "depth", "out", "warps", "stages")
    table = Table(*columns, "registers", "spilled B", "shared KiB")
    for row in rows:
        kernel = row["kernel"] + (", atomic" if row["atomic"] else "")
        kernel += ", panel" if row["panel"] else ""
        start = row["architecture"], kernel, row["shape"], row["precision"], row["width"]
        cells = (*start, *row["tiling"])
        shared = f"{row['shared'] / 1024:.0f}"
        table.add_row(*map(str, (*cells, row["registers"], row["spilled"], shared)))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
