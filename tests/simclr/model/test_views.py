"""Recipes: SimCLR's own against its paper, files, and views that several processes share."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml
from kornia.augmentation import (
    ColorJitter,
    RandomAffine,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
)

from ntxent.simclr import AugmentationConfig
from ntxent.simclr.model.views import TwoViews, build_recipe

COLOUR = torch.rand(12, 3, 40, 40, generator=torch.Generator().manual_seed(0))
SIMCLR = AugmentationConfig(recipe="simclr")
DIGITS = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
STILL = AugmentationConfig(
    rotation=0, translation=0, scale=(1, 1), shear=0, brightness=0, contrast=0, noise=0
)


def views(config, images, seed=0, **part):
    made = TwoViews(config, tuple(images.shape[1:]))
    torch.manual_seed(seed)
    return made(images, **part)


RECIPES = {
    "affine": (AugmentationConfig(recipe="affine"), COLOUR[:, :1]),
    "simclr": (SIMCLR, COLOUR),
    "smaller views": (AugmentationConfig(recipe="simclr", view_size=24), COLOUR),
    "grey": (SIMCLR, COLOUR[:, :1]),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("parts", [(6, 6), (2, 10), (1, 1, 10)])
def test_parts_of_a_batch_have_the_views_of_the_whole(recipe, parts):
    config, images = RECIPES[recipe]
    whole = views(config, images)
    ends = np.cumsum((0, *parts))
    pieces = [
        views(config, images[start:end], part=slice(start, end), total=12)
        for start, end in pairwise(ends)
    ]
    for index in range(2):
        joined = torch.cat([piece[index] for piece in pieces])
        torch.testing.assert_close(joined, whole[index], rtol=0, atol=1e-6)
    assert not torch.equal(whole[0], whole[1])


def test_two_images_and_four_channels_do_not_confuse_rows_with_other_values():
    """Four rows in all: as many as the colour distortion has operations in its order."""
    whole = views(SIMCLR, COLOUR[:2])
    parts = [views(SIMCLR, COLOUR[i : i + 1], part=slice(i, i + 1), total=2) for i in range(2)]
    for index in range(2):
        joined = torch.cat([part[index] for part in parts])
        torch.testing.assert_close(joined, whole[index], rtol=0, atol=1e-6)


def test_a_part_of_another_size_than_the_images_is_refused():
    with pytest.raises(ValueError, match="3 rows of a batch of 12, expected 4"):
        views(SIMCLR, COLOUR[:4], part=slice(0, 3), total=12)


def test_simclr_is_the_recipe_of_its_paper():
    """Appendix A: crop of area 0.08 to 1 and aspect 3/4 to 4/3, flip 0.5, jitter of strength
    (0.8, 0.8, 0.8, 0.2) s in 0.8, grey in 0.2, blur of a tenth of the side in 0.5."""
    config = AugmentationConfig(recipe="simclr", strength=0.5)
    crop, flip, jitter, grey, blur = build_recipe(config, (3, 224, 224))
    assert isinstance(crop, RandomResizedCrop)
    assert isinstance(flip, RandomHorizontalFlip)
    assert isinstance(jitter, ColorJitter)
    assert isinstance(grey, RandomGrayscale)
    assert isinstance(blur, RandomGaussianBlur)
    assert [step.p for step in (crop, flip, jitter, grey, blur)] == [1.0, 0.5, 0.8, 0.2, 0.5]

    torch.manual_seed(0)
    shape = torch.Size((4000, 3, 224, 224))
    sides = crop.forward_parameters(shape)["src"]
    width, height = (sides[:, 2] - sides[:, 0] + 1).unbind(1)
    area, aspect = width * height / 224**2, width / height
    assert 0.07 < area.min() < 0.1
    assert 0.95 < area.max() <= 1
    assert 0.73 < aspect.min() < 0.77
    assert 1.3 < aspect.max() < 1.36
    drawn = jitter.forward_parameters(shape)
    for name, reach in (("brightness", 0.4), ("contrast", 0.4), ("saturation", 0.4)):
        factor = drawn[f"{name}_factor"]
        assert factor.min() == pytest.approx(1 - reach, abs=0.01)
        assert factor.max() == pytest.approx(1 + reach, abs=0.01)
    assert drawn["hue_factor"].abs().max() == pytest.approx(0.1, abs=0.01)
    assert blur.forward_parameters(shape)["sigma"].min() == pytest.approx(0.1, abs=0.01)
    assert blur.forward_parameters(shape)["sigma"].max() == pytest.approx(2.0, abs=0.01)
    assert blur.flags["kernel_size"] == (23, 23)  # 22, made odd as in the authors' code


def test_blur_and_flip_can_be_switched_off():
    config = AugmentationConfig(recipe="simclr", blur=False, flip=False)
    kinds = {type(step) for step in build_recipe(config, (3, 64, 64))}
    assert kinds == {RandomResizedCrop, ColorJitter, RandomGrayscale}


def test_simclr_views_keep_their_range_and_differ():
    first, second = views(SIMCLR, COLOUR)
    assert first.shape == second.shape == COLOUR.shape
    assert 0 <= torch.cat([first, second]).min() <= torch.cat([first, second]).max() <= 1
    assert (first - second).flatten(1).abs().amax(1).min() > 0.01


def test_the_shape_of_views_is_known_and_looking_for_it_draws_nothing():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert TwoViews(AugmentationConfig(recipe="simclr", view_size=20), (3, 30, 40)).shape == (
        *(3, 20, 20),
    )
    assert TwoViews(AugmentationConfig(recipe="affine"), (1, 30, 40)).shape == (1, 30, 40)
    assert torch.equal(torch.get_rng_state(), before)


def test_views_larger_than_the_images_are_refused():
    with pytest.raises(ValueError, match="view_size: received 224, expected at most 40"):
        TwoViews(AugmentationConfig(recipe="simclr", view_size=224), (3, 40, 60))


def test_a_recipe_file(tmp_path):
    path = tmp_path / "mine.yaml"
    steps = [{"RandomResizedCrop": {"size": [16, 16]}}, "RandomHorizontalFlip"]
    path.write_text(yaml.safe_dump(steps))
    made = TwoViews(AugmentationConfig(recipe=str(path)), (3, 40, 40))
    assert made.shape == (3, 16, 16)
    assert made(COLOUR)[0].shape == (12, 3, 16, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- RandomSolarise: {p: 0.1}", "received 'RandomSolarise', .* such as RandomSolarize"),
        ("- RandomSolarize: {q: 0.1}", "RandomSolarize: .*'q'"),
        ("- RandomMixUpV2: {}", "received 'RandomMixUpV2', expected an augmentation of kornia"),
        ("RandomSolarize: {}", "expected a list of steps"),
        ("- [1, 2]", r"received the step \[1, 2\]"),
        ("- {", "mine.yaml: "),
    ],
)
def test_a_malformed_recipe_file_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        build_recipe(AugmentationConfig(recipe=str(path)), (3, 40, 40))


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="received 'simlcr', expected auto, affine, simclr"):
        build_recipe(AugmentationConfig(recipe="simlcr"), (3, 40, 40))


def test_tiny_images_are_moved_and_larger_ones_cropped():
    for side, kind in ((16, RandomAffine), (17, RandomResizedCrop)):
        assert isinstance(build_recipe(AugmentationConfig(), (1, side, side))[0], kind)


def test_views_keep_shape_and_range_and_differ():
    first, second = views(AugmentationConfig(), DIGITS)
    assert first.shape == second.shape == DIGITS.shape
    assert torch.cat([first, second]).min() >= 0
    assert torch.cat([first, second]).max() <= 1
    assert (first - second).flatten(1).abs().amax(1).min() > 0.01


def test_views_follow_the_seed():
    torch.testing.assert_close(
        views(AugmentationConfig(), DIGITS), views(AugmentationConfig(), DIGITS), rtol=0, atol=0
    )
    assert not torch.equal(
        views(AugmentationConfig(), DIGITS, 0)[0], views(AugmentationConfig(), DIGITS, 1)[0]
    )


def test_without_augmentation_the_views_are_the_images():
    for view in views(STILL, DIGITS):
        torch.testing.assert_close(view, DIGITS, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"rotation": 30.0},
        {"translation": 0.2},
        {"scale": (0.7, 0.8)},
        {"shear": 20.0},
        {"brightness": 0.3},
        {"contrast": 0.3},
        {"noise": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_augmentation_acts_alone(change):
    first, second = views(replace(STILL, **change), DIGITS)
    assert (first - DIGITS).abs().max() > 0.01
    assert not torch.equal(first, second)
