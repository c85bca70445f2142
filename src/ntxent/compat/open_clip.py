"""open_clip's ``ClipLoss``; write ``from ntxent.compat.open_clip import ClipLoss``."""

from torch import Tensor, nn

from ntxent.functional import info_nce_loss

__all__ = ["ClipLoss"]


class ClipLoss(nn.Module):
    """CLIP's symmetric InfoNCE of rows that are used as they are: the model normalises them.

    Args:
        world_size: 1; this version does not gather.
        local_loss, gather_with_grad, cache_labels, rank, use_horovod: Of no effect in one process.

    ``output_dict`` and ``logit_bias`` are keywords here, because open_clip's versions disagree on
    their order. The bias, equal for all logits, cancels in the softmax and gets no gradient.

    >>> import torch
    >>> z = torch.eye(3)
    >>> round(ClipLoss()(z, z, logit_scale=torch.tensor(2.0)).item(), 6)  # ln(1 + 2 exp(-2))
    0.239545
    """

    def __init__(
        self,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        use_horovod: bool = False,
    ) -> None:
        super().__init__()
        if world_size > 1:
            raise NotImplementedError(
                f"world_size: received {world_size}, expected 1: this version does not gather "
                "features; gather them with torch.distributed.nn.functional.all_gather and call "
                "ntxent.info_nce_loss"
            )

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: float | Tensor,
        *,
        logit_bias: float | Tensor | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        loss = info_nce_loss(
            image_features,
            text_features,
            scale=logit_scale,
            normalize=False,
            distributed="local",
        )
        return {"contrastive_loss": loss} if output_dict else loss
