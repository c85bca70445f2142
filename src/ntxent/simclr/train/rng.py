"""Seeds and states of the global random generators."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["rng_states", "seed_all", "set_rng_states"]


def seed_all(seed: int) -> None:
    """Seeds the generators of Python, NumPy and PyTorch.

    Lightning's ``seed_everything`` also puts the seed into the environment; several processes, but
    not one, are then seeded again after the weights were drawn.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def rng_states() -> dict[str, Any]:
    """Returns the states of Python, NumPy, PyTorch and CUDA, as tensors and plain numbers."""
    name, keys, *rest = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def set_rng_states(states: Mapping[str, Any]) -> None:
    """Sets the generators to the states that :func:`rng_states` returned."""
    version, values, gauss = states["python"]
    random.setstate((version, tuple(values), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
