"""SupContrast's ``SupConLoss``; write ``from ntxent.compat.sup_contrast import SupConLoss``."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ntxent.functional import nt_xent_loss, sup_con_loss
from ntxent.losses.checks import check_choice, checked_scale

__all__ = ["SupConLoss"]


class SupConLoss(nn.Module):
    """L_out of Khosla et al. 2020, times temperature / base_temperature, of rows used as they are.

    Args:
        temperature: tau > 0.
        contrast_mode: Whose anchors count: those of ``"all"`` views, or of the first (``"one"``).
        base_temperature: > 0.

    Shape: features ``[N, V, ...]``, labels ``[N]`` or mask ``[N, N]``, to a 0-d loss. Without both,
    the views of a sample are its positives (SimCLR's loss). An anchor without positives counts as 0
    in the mean.

    >>> import torch
    >>> z = torch.eye(2).unsqueeze(1).expand(2, 2, 2)  # two aligned, orthogonal pairs
    >>> round(SupConLoss(temperature=0.5, base_temperature=0.5)(z).item(), 6)  # ln(1 + 2 exp(-2))
    0.239545
    """

    def __init__(
        self,
        temperature: float = 0.07,
        contrast_mode: Literal["all", "one"] = "all",
        base_temperature: float = 0.07,
    ) -> None:
        super().__init__()
        check_choice("contrast_mode", contrast_mode, ("all", "one"))
        checked_scale(temperature, None, torch.float64, torch.device("cpu"), check_value=True)
        if not 0 < base_temperature < math.inf:
            raise ValueError(
                f"base_temperature: received {base_temperature}, expected a finite number > 0; "
                "the loss is multiplied by temperature / base_temperature"
            )
        self.temperature = temperature
        self.contrast_mode = contrast_mode
        self.base_temperature = base_temperature

    def forward(
        self, features: Tensor, labels: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        if features.ndim < 3:
            raise ValueError(
                f"features: received shape {list(features.shape)}, expected [N, V, ...], "
                "N samples in V views; for one view features.unsqueeze(1)"
            )
        if labels is not None and mask is not None:
            raise ValueError("labels and mask: received both, expected at most one of them")
        features = features.flatten(2)
        if mask is not None:
            labels = _labels_of(mask.to(features.device), len(features))
        if labels is None:
            each = nt_xent_loss(
                features,
                temperature=self.temperature,
                normalize=False,
                reduction="none",
                distributed="local",
            )
        else:
            each = sup_con_loss(
                features,
                labels.flatten().to(features.device),
                missing="skip",
                temperature=self.temperature,
                normalize=False,
                reduction="none",
                distributed="local",
            )
        counted = each if self.contrast_mode == "all" else each[: len(features)]
        loss: Tensor = counted.mean() * (self.temperature / self.base_temperature)
        return loss


def _labels_of(mask: Tensor, samples: int) -> Tensor:
    """Labels that are equal exactly where the mask is 1: the first column of each row's ones."""
    if mask.shape != (samples, samples):
        raise ValueError(
            f"mask: received shape {list(mask.shape)}, expected {[samples, samples]}, "
            "one row and one column a sample"
        )
    labels = (mask != 0).int().argmax(1)
    if not torch.equal(mask, (labels[:, None] == labels).to(mask.dtype)):
        raise ValueError(
            "mask: received one that no labels have, expected mask[i, j] = 1 where samples i and j "
            "share a class and 0 elsewhere, and so 1 on the diagonal, symmetric and transitive"
        )
    return labels
