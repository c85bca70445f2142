"""open_clip's ``ClipLoss``; write ``from ntxent.compat.open_clip import ClipLoss``."""

import torch
from torch import Tensor, nn

from ntxent.functional import info_nce_loss

__all__ = ["ClipLoss"]


class ClipLoss(nn.Module):
    """CLIP's symmetric InfoNCE of rows that are used as they are: the model normalises them.

    Args:
        world_size: Processes that share the batch; above 1, those of the initialised process group.
        local_loss, gather_with_grad, cache_labels, rank: Of no effect: the loss is the mean over
            the samples of all processes on each of them, and the gradient after DDP's averaging is
            that of one process on the whole batch, which open_clip gives with both set.
        use_horovod: False.

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
        if use_horovod:
            raise ValueError("use_horovod: received True, expected False; use torch.distributed")
        self.world_size = world_size

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: float | Tensor,
        *,
        logit_bias: float | Tensor | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        if self.world_size > 1:
            group = torch.distributed
            running = group.get_world_size() if group.is_initialized() else 1
            if running != self.world_size:
                raise ValueError(
                    f"world_size: received {self.world_size} among {running} processes, expected "
                    "their number; call torch.distributed.init_process_group first"
                )
        loss = info_nce_loss(
            image_features,
            text_features,
            scale=logit_scale,
            normalize=False,
            distributed="auto" if self.world_size > 1 else "local",
        )
        return {"contrastive_loss": loss} if output_dict else loss
