"""Two random views of each image, by kornia's augmentations on the device."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import kornia.augmentation as kornia
import torch
import yaml
from kornia.augmentation import AugmentationBase2D
from torch import Tensor, nn

from ntxent.simclr.config import AugmentationConfig
from ntxent.simclr.data import is_tiny

__all__ = ["TwoViews", "build_recipe"]


class TwoViews(nn.Module):
    """Returns two random views ``[N, *shape]`` in [0, 1] of images ``[N, C, H, W]`` in [0, 1].

    Each of the 2N views has its own random values, from PyTorch's global generators. A process that
    has ``part`` of a batch of ``total`` images draws the values of all 2·total views and uses its
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
            views = step(views, params=_rows_of(drawn, rows, 2 * count))
        first, second = views.clamp(0, 1).chunk(2)
        return first, second


def _rows_of(drawn: dict[str, Any], rows: Tensor, total: int) -> dict[str, Any]:
    """Returns the drawn values of some rows of a batch; ``order`` is the same for all rows."""

    def select(name: str, value: Any) -> Any:
        if name == "forward_input_shape":
            return torch.cat([torch.tensor([len(rows)], device=value.device), value[1:]])
        shared = name == "order" or not isinstance(value, Tensor) or value.shape[:1] != (total,)
        return value if shared else value[rows.to(value.device)]

    return {name: select(name, value) for name, value in drawn.items()}


def build_recipe(config: AugmentationConfig, shape: tuple[int, int, int]) -> list[nn.Module]:
    """Returns the augmentations, in their order, for images of ``shape``, channels first.

    Raises:
        ValueError: the views would be larger than the images, or the recipe file is malformed.
        OSError: the recipe file cannot be read.
    """
    recipe = config.recipe
    if recipe == "auto":
        recipe = "affine" if is_tiny(shape) else "simclr"
    if recipe == "affine":
        return _affine(config)
    if recipe == "simclr":
        return _simclr(config, shape)
    return _from_file(Path(config.recipe))


def _affine(config: AugmentationConfig) -> list[nn.Module]:
    """Returns an affine map, then brightness and contrast, then noise."""
    return [
        kornia.RandomAffine(
            degrees=config.rotation,
            translate=(config.translation, config.translation),
            scale=config.scale,
            shear=(-config.shear, config.shear),
            p=1.0,
        ),
        kornia.RandomBrightness((1 - config.brightness, 1 + config.brightness), p=1.0),
        kornia.RandomContrast((1 - config.contrast, 1 + config.contrast), p=1.0),
        kornia.RandomGaussianNoise(std=config.noise, p=1.0),
    ]


def _simclr(config: AugmentationConfig, shape: tuple[int, int, int]) -> list[nn.Module]:
    """Returns the augmentations of Chen et al. 2020, Appendix A.

    For images without colour, brightness and contrast are all that is left of its distortion.
    """
    channels, *sides = shape
    size = min(sides) if config.view_size is None else config.view_size
    if size > min(sides):
        raise ValueError(
            f"augmentation.view_size: received {size}, expected at most {min(sides)}, the shorter "
            "side of the images; make it smaller, or data.image_size of a folder larger"
        )
    # "resample" warps the whole batch at once, "slice" would loop over its images
    steps: list[nn.Module] = [
        kornia.RandomResizedCrop(
            (size, size), scale=config.crop, ratio=(3 / 4, 4 / 3), cropping_mode="resample", p=1.0
        )
    ]
    if config.flip:
        steps.append(kornia.RandomHorizontalFlip(p=0.5))
    change = 0.8 * config.strength
    if channels == 3:
        steps += [
            kornia.ColorJitter(change, change, change, 0.2 * config.strength, p=0.8),
            kornia.RandomGrayscale(p=0.2),
        ]
    else:
        between = max(0.0, 1 - change), min(2.0, 1 + change)
        steps += [kornia.RandomBrightness(between, p=0.8), kornia.RandomContrast(between, p=0.8)]
    radius = size // 20  # the kernel is a tenth of the side; below 20 pixels it has one entry
    if config.blur and radius > 0:
        kernel = (2 * radius + 1, 2 * radius + 1)
        steps.append(kornia.RandomGaussianBlur(kernel, (0.1, 2.0), p=0.5))
    return steps


_KNOWN: dict[str, Callable[..., nn.Module]] = {
    name: member
    for name, member in vars(kornia).items()
    if isinstance(member, type) and issubclass(member, AugmentationBase2D)
}


def _from_file(path: Path) -> list[nn.Module]:
    """Returns kornia's augmentations of a YAML file, a list of ``Name: {argument: value}``."""
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(
            f"augmentation.recipe: received {str(path)!r}, expected auto, affine, simclr, or a "
            "YAML file"
        )
    try:
        listed = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path}: expected a list of steps such as - RandomHorizontalFlip: {{}}")
    return [_step(path, entry) for entry in listed]


def _step(path: Path, entry: Any) -> nn.Module:
    named = {entry: None} if isinstance(entry, str) else entry
    if not isinstance(named, dict) or len(named) != 1:
        raise ValueError(f"{path}: received the step {entry!r}, expected Name: {{argument: value}}")
    ((name, arguments),) = named.items()
    if name not in _KNOWN:
        nearest = ", ".join(get_close_matches(str(name), _KNOWN)) or "RandomHorizontalFlip"
        raise ValueError(
            f"{path}: received {name!r}, expected an augmentation of kornia such as {nearest}"
        )
    # YAML has lists, kornia takes tuples
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in (arguments or {}).items()
    }
    try:
        return _KNOWN[name](**values)
    except Exception as error:  # kornia raises several classes of its own
        raise ValueError(f"{path}: {name}: {error}") from error
