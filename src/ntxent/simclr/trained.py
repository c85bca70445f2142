"""The encoder that a run has trained, built again from its folder."""

import json
from dataclasses import replace

import torch
from safetensors.torch import load_file
from torch import nn

from ntxent.simclr.augmentation import TwoViews
from ntxent.simclr.backbones import build_encoder
from ntxent.simclr.data import Shape
from ntxent.simclr.run_folder import RunFolder
from ntxent.simclr.stored import kept_config

__all__ = ["trained_encoder"]


def trained_encoder(run: RunFolder) -> tuple[nn.Module, Shape]:
    """The encoder in evaluation mode on the CPU, and the shape of the images it reads.

    Its weights are those of ``encoder.safetensors``, or in a run that has not finished those of
    the last checkpoint; neither file can bring code with it.

    Raises:
        FileNotFoundError: there is no run, or it has no weights yet.
    """
    config = kept_config(run)
    try:
        channels, height, width = json.loads(run.data.read_text())["shape"]
        weights = load_file(run.encoder) if run.encoder.exists() else _from_checkpoint(run)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"run folder {run.path} has no weights yet; continue the run with "
            f"ntxent train --resume {run.path}"
        ) from error
    shape = TwoViews(config.augmentation, (channels, height, width)).shape
    # Published weights that training started from need not be fetched again.
    arguments = {k: v for k, v in config.model.arguments.items() if k != "pretrained"}
    encoder, _ = build_encoder(replace(config.model, arguments=arguments), shape)
    encoder.load_state_dict(weights)
    return encoder.eval(), shape


def _from_checkpoint(run: RunFolder) -> dict[str, torch.Tensor]:
    state = torch.load(run.checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "encoder."
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
