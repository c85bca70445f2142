"""The model of a finished run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ntxent.simclr.config import ModelConfig, TrainConfig
from ntxent.simclr.data import Images, Shape
from ntxent.simclr.model.module import SimCLR
from ntxent.simclr.run.config_file import read_config
from ntxent.simclr.run.folder import RunFolder

__all__ = ["TrainedRun"]


class TrainedRun:
    """The model of a run folder, in evaluation mode, on CUDA if there is a device.

    Args:
        folder: The run folder.

    Attributes:
        run, config: The folder, and the configuration of the training.
        model: Views, encoder and head; ``model.views.shape`` is the shape that the encoder takes.

    Raises:
        FileNotFoundError: the folder is not that of a run, or the run has not finished.
        ValueError: its weights do not fit its configuration.
    """

    def __init__(self, folder: str | Path) -> None:
        self.run = RunFolder(Path(folder))
        self.config: TrainConfig = read_config(self.run)
        if not self.run.encoder.exists():
            raise FileNotFoundError(
                f"{self.run.encoder} does not exist: the run has not finished; continue it with "
                f"ntxent train --resume {self.run.path}"
            )
        channels, height, width = json.loads(self.run.data.read_text())["shape"]
        self.image_shape: Shape = (channels, height, width)
        # The weights are loaded below; published ones need not be downloaded for them.
        rest = {k: v for k, v in self.config.model.arguments.items() if k != "pretrained"}
        self.model = self._build(replace(self.config.model, arguments=rest))
        try:
            state = torch.load(self.run.checkpoint, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["state_dict"])
            self.model.encoder.load_state_dict(load_file(self.run.encoder))
        except RuntimeError as error:
            raise ValueError(f"{self.run.path}: {str(error).partition(chr(10))[0]}") from error
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()

    def untrained_encoder(self) -> nn.Module:
        """Returns the encoder as it was before the first step."""
        return self._build(self.config.model).encoder.to(self.device).eval()

    def _build(self, choice: ModelConfig) -> SimCLR:
        # Not compiled: nothing is trained here.
        config = replace(self.config, model=choice, compile=False)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            return SimCLR(config, self.image_shape)

    def require_channels(self, images: Images) -> None:
        """Checks that the encoder can take the images.

        Raises:
            ValueError: they have another number of channels.
        """
        received, expected = images.shape[0], self.image_shape[0]
        if received != expected:
            raise ValueError(
                f"data.source: received images of {received} channels, expected {expected}, as "
                f"the encoder of {self.run.path} was trained on"
            )
