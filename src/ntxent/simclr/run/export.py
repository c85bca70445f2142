"""Files of a trained encoder that can be read without this package."""

import logging
import warnings
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from ntxent.files import atomic
from ntxent.simclr.data import Shape

__all__ = ["write_onnx", "write_safetensors"]


def write_safetensors(encoder: nn.Module, path: Path) -> None:
    """Writes the weights by their names; those of a timm model have the names of timm."""
    weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    with atomic(path) as partial:
        partial.write_bytes(save(weights))


def write_onnx(encoder: nn.Module, shape: Shape, path: Path) -> None:
    """Writes the encoder as ONNX: ``images`` ``[n, *shape]`` in [0, 1] to ``features`` ``[n, f]``.

    Raises:
        ModuleNotFoundError: the extra ``export`` is not installed.
    """
    import onnxscript  # noqa: F401  PyTorch's own message, where it is missing, is long

    images = torch.zeros(2, *shape)
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with atomic(path) as partial, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about its own use of PyTorch
            torch.onnx.export(
                encoder.eval(),
                (images,),
                partial,
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    finally:
        log.setLevel(level)
