"""Two random views of every image, drawn in one batch on the device."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ntxent.simclr.config import AugmentationConfig
from ntxent.simclr.model.recipes import build_recipe

__all__ = ["TwoViews"]


class TwoViews(nn.Module):
    """Images ``[N, C, H, W]`` in [0, 1] to two views ``[N, *shape]`` of the same range.

    Each of the 2N images draws its own values, from PyTorch's global generators. A process that
    holds ``part`` of a batch of ``total`` images draws the values of all 2·total and applies its
    own, so with equal seeds the views of all parts, concatenated, are those of the whole batch.

    Args:
        config: The recipe.
        image_shape: Channels, height and width of the images.

    Attributes:
        shape: Channels, height and width of a view.
    """

    def __init__(self, config: AugmentationConfig, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        steps = build_recipe(config, image_shape)
        self.steps: Iterable[Any] = nn.ModuleList(steps)
        with torch.random.fork_rng(devices=[]):
            channels, height, width = self(torch.zeros(2, *image_shape))[0].shape[1:]
        self.shape = (channels, height, width)

    @torch.no_grad()
    def forward(
        self, images: Tensor, part: slice = slice(None), total: int | None = None
    ) -> tuple[Tensor, Tensor]:
        count = len(images) if total is None else total
        rows = torch.arange(count)[part]
        if len(rows) != len(images):
            raise ValueError(
                f"part: received {part}, {len(rows)} rows of a batch of {count}, expected "
                f"{len(images)}, the images of this process"
            )
        rows = torch.cat([rows, rows + count])
        views = torch.cat([images, images])
        for step in self.steps:
            drawn = step.forward_parameters(torch.Size((2 * count, *views.shape[1:])))
            views = step(views, params=_take(drawn, rows, 2 * count))
        first, second = views.clamp(0, 1).chunk(2)
        return first, second


def _take(drawn: dict[str, Any], rows: Tensor, total: int) -> dict[str, Any]:
    """The values of some rows of a batch; ``order`` is the one value that all rows share."""

    def taken(name: str, value: Any) -> Any:
        if name == "forward_input_shape":
            return torch.cat([torch.tensor([len(rows)], device=value.device), value[1:]])
        shared = name == "order" or not isinstance(value, Tensor) or value.shape[:1] != (total,)
        return value if shared else value[rows.to(value.device)]

    return {name: taken(name, value) for name, value in drawn.items()}
