"""What the rows were measured on."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("ntxent", "torch", "lightly", "pytorch-metric-learning", "jax", "optax", "pykeops")


def environment() -> dict[str, Any]:
    return {
        "device": _processor(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in PACKAGES},
    }


def describe(where: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {v or 'not installed'}" for name, v in where["versions"].items())
    return (
        f"{where['device']}, {where['threads']} threads, {where['system']}\n"
        f"Python {where['python']}, {packages}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
