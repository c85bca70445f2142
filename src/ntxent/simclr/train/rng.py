"""The state of every global random generator that a step may draw from."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["random_states", "seed_all", "set_random_states"]


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and PyTorch.

    Lightning's ``seed_everything`` also leaves the seed in the environment, and with several
    processes seeds once more when the weights are there, unlike with one.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """States of Python, NumPy, PyTorch and its CUDA devices; tensors and plain numbers only."""
    name, keys, *rest = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Continue where :func:`random_states` was called."""
    version, values, gauss = states["python"]
    random.setstate((version, tuple(values), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
