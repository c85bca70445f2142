"""The Triton kernels behind the ``cuda`` engines; nothing here imports Triton before a first call.

With ``TRITON_INTERPRET=1`` in the environment before that, Triton interprets the kernels with
NumPy, and the engines also take tensors on the CPU: slow, and how they are tested without a GPU.
"""

import os
from importlib.util import find_spec

import torch

__all__ = ["DEVICES", "INTERPRETED", "obstacle", "priority"]

INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")
DEVICES = ("cuda", "cpu") if INTERPRETED else ("cuda",)
_OLDEST = (8, 0)


def obstacle() -> str:
    """Why the kernels cannot run here; empty where they can."""
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if INTERPRETED:
        return ""
    if torch.version.hip is not None:
        return "this PyTorch is built for ROCm, and the kernels are for NVIDIA GPUs"
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    for index in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(index)
        if capability < _OLDEST:
            return (
                f"{torch.cuda.get_device_name(index)} (cuda:{index}) has compute capability "
                f"{capability[0]}.{capability[1]}, and the kernels need 8.0, an A100 or later; "
                "CUDA_VISIBLE_DEVICES can hide it"
            )
    return ""


def priority(compiled: int) -> int:
    """``compiled``, or below every other engine where the kernels are interpreted."""
    return -1 if INTERPRETED else compiled
