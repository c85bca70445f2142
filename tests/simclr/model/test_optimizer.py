"""LARS, the learning rate rules and the schedule, against formulas written out here."""

import math

import pytest
import torch
from torch import nn

from ntxent.simclr.config import OptimizerConfig
from ntxent.simclr.model.optimizer import (
    LARS,
    make_optimizer,
    parameter_groups,
    peak_lr,
    warmup_cosine,
)


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5)
    ).double()


def gradients(network, steps):
    """``steps`` lists of one gradient for each parameter, of very different lengths."""
    generator = torch.Generator().manual_seed(1)
    return [
        [
            10.0 ** (index - 2) * torch.randn(p.shape, generator=generator, dtype=p.dtype)
            for index, p in enumerate(network.parameters())
        ]
        for _ in range(steps)
    ]


def lars_by_hand(weights, all_gradients, rates, momentum, decay, trust):
    """One tensor and one number at a time: You et al. 2017, Algorithm 1, with SimCLR's norm."""
    weights = [weight.flatten().tolist() for weight in weights]
    shapes_with_one_axis = {1, 2, 4}  # BatchNorm's scale and shift, the bias
    velocities = [[0.0] * len(weight) for weight in weights]
    for rate, step in zip(rates, all_gradients, strict=True):
        for index, gradient in enumerate(step):
            weight, g = weights[index], gradient.flatten().tolist()
            ratio = 1.0
            if index not in shapes_with_one_axis:
                g = [a + decay * b for a, b in zip(g, weight, strict=True)]
                ratio = trust * math.hypot(*weight) / math.hypot(*g)
            v = [momentum * a + rate * ratio * b for a, b in zip(velocities[index], g, strict=True)]
            velocities[index] = v
            weights[index] = [a - b for a, b in zip(weight, v, strict=True)]
    return weights


def test_lars_is_its_formula():
    network, config = model(), OptimizerConfig(name="lars", lr=0.3, weight_decay=1e-2)
    steps, rates = gradients(network, 4), [0.1, 0.3, 0.2, 0.05]
    expected = lars_by_hand(network.parameters(), steps, rates, 0.9, 1e-2, 1e-3)

    optimizer = make_optimizer(network.parameters(), config, batch_size=256)
    for rate, step in zip(rates, steps, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for parameter, gradient in zip(network.parameters(), step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    for parameter, values in zip(network.parameters(), expected, strict=True):
        expected_tensor = torch.tensor(values, dtype=torch.float64).view_as(parameter)
        torch.testing.assert_close(parameter.detach(), expected_tensor, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 2.0), (3.0, 0.0)])
def test_lars_steps_plainly_where_a_norm_is_zero(weight, gradient):
    parameter = nn.Parameter(torch.full((2, 2), weight))
    parameter.grad = torch.full((2, 2), gradient)
    LARS([parameter], lr=0.5).step()
    torch.testing.assert_close(parameter.detach(), torch.full((2, 2), weight - 0.5 * gradient))


def test_lars_leaves_what_has_no_gradient():
    frozen, trained = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    trained.grad = torch.ones(2, 2)
    LARS([frozen, trained], lr=1.0).step()
    assert torch.equal(frozen.detach(), torch.ones(2, 2))
    assert not torch.equal(trained.detach(), torch.ones(2, 2))


@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"trust": 0.0}, {"weight_decay": -1.0}])
def test_lars_refuses_what_has_no_meaning(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: received"):
        LARS([nn.Parameter(torch.ones(2))], lr=1.0, **wrong)


def test_vectors_are_left_out_of_decay_and_ratio():
    network = model()
    lars = parameter_groups(network.parameters(), OptimizerConfig(name="lars"))
    assert [[p.ndim for p in group["params"]] for group in lars] == [[4, 2], [1, 1, 1]]
    assert (lars[1]["weight_decay"], lars[1]["adapt"]) == (0.0, False)
    (adamw,) = parameter_groups(network.parameters(), OptimizerConfig())
    assert len(adamw["params"]) == 5
    adamw = parameter_groups(network.parameters(), OptimizerConfig(exclude_vectors=True))
    assert [len(group["params"]) for group in adamw] == [2, 3]
    assert adamw[1]["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD), ("lars", LARS)]
)
def test_each_name_is_its_optimizer(name, kind):
    config = OptimizerConfig(name=name, lr=0.3, lr_scaling="linear", momentum=0.8)
    optimizer = make_optimizer(model().parameters(), config, batch_size=512)
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.6}
    assert optimizer.param_groups[0].get("momentum", 0.8) == 0.8


@pytest.mark.parametrize("size", [32, 256, 1000, 4096])
def test_the_rules_of_the_learning_rate(size):
    assert peak_lr(OptimizerConfig(lr=0.3, lr_scaling="linear"), size) == pytest.approx(
        0.3 * size / 256
    )
    assert peak_lr(OptimizerConfig(lr=0.075, lr_scaling="sqrt"), size) == pytest.approx(
        0.075 * size**0.5
    )
    assert peak_lr(OptimizerConfig(lr=0.1), size) == 0.1


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0), (10, 3), (100, 10), (3, 2)])
def test_the_schedule_is_its_formula(steps, warmup):
    """Linear from 1/warmup to 1; then PyTorch's own cosine from there to 0 at the end."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - warmup)
    expected = [(step + 1) / warmup for step in range(warmup)]
    for _ in range(steps - warmup):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    measured = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert measured == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (2, 1), (10, 1), (100, 30)])
def test_schedule_rises_to_its_peak_and_falls(steps, warmup):
    factors = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert max(factors) == 1
    assert min(factors) > 0
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
