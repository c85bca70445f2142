"""Ways in which a contrastive run goes wrong, each as it is found in public code."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ntxent import nt_xent_loss

Loss = Callable[[Tensor, Tensor, float], Tensor]
RANKS = 4  # of the run whose negatives are local


def _exact(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    return nt_xent_loss(z1, z2, temperature=temperature)


def _shuffled(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """The second views come from a loader of their own: row i is another image."""
    return _exact(z1, z2[torch.randperm(len(z2))], temperature)


def _raw(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """A loss that expects unit rows, given the projections as they are."""
    return nt_xent_loss(z1, z2, temperature=temperature, normalize=False)


def _with_self(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(z1)))


def _summed(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    return 2 * _exact(z1, z2, temperature)


def _local(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Each of four ranks takes its own rows for all there are."""
    shares = zip(z1.chunk(RANKS), z2.chunk(RANKS), strict=True)
    return torch.stack([_exact(a, b, temperature) for a, b in shares]).mean()


def _all(model: nn.Module) -> Iterable[nn.Parameter]:
    return model.parameters()


def _head(model: nn.Module) -> Iterable[nn.Parameter]:
    head: nn.Module = model.get_submodule("head")
    return head.parameters()


def _none(model: nn.Module) -> Iterable[nn.Parameter]:
    """An optimizer made for a model that was then replaced."""
    return [nn.Parameter(torch.zeros(1))]


@dataclass(frozen=True)
class Failure:
    """What differs from a healthy run."""

    loss: Loss = _exact
    strength: float = 1.0
    rate: float = 1.0
    batch_norm: bool = True
    trained: Callable[[nn.Module], Iterable[nn.Parameter]] = _all


HEALTHY = ("none", "none, no batch norm")
FAILURES = {
    "none": Failure(),
    "none, no batch norm": Failure(batch_norm=False),
    "no augmentation": Failure(strength=0.0),
    "shuffled positives": Failure(_shuffled),
    "not normalised": Failure(_raw),
    "self not excluded": Failure(_with_self),
    "directions summed": Failure(_summed),
    "learning rate x 100": Failure(rate=100.0, batch_norm=False),
    "frozen encoder": Failure(trained=_head),
    "nothing trained": Failure(trained=_none),
    "local negatives": Failure(_local),
}
