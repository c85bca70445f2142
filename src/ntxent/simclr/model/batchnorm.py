"""Batch normalisation over the batches of all processes, on any device."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

__all__ = ["SynchronisedBatchNorm", "convert_sync_batchnorm"]


# The classes that a synchronised one can replace.
PLAIN = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d


def convert_sync_batchnorm(module: nn.Module, accelerator: str) -> None:
    """Replaces every BatchNorm layer inside ``module`` by a synchronised one with the same tensors.

    The ``state_dict`` keeps its names. On CUDA the layers are ``torch.nn.SyncBatchNorm``, which
    refuses tensors of other devices; elsewhere they are :class:`SynchronisedBatchNorm`.

    Raises:
        ValueError: a layer is of another subclass of BatchNorm, which may do more.
    """
    for name, child in list(module.named_children()):
        if type(child) in PLAIN:
            setattr(module, name, _synchronised(child, accelerator))
        elif isinstance(child, (*PLAIN, nn.SyncBatchNorm)):
            raise ValueError(
                f"sync_batchnorm: found a {type(child).__name__}, expected plain BatchNorm layers, "
                "as it is not known what else this one does; choose another encoder, or "
                "--sync_batchnorm false"
            )
        else:
            convert_sync_batchnorm(child, accelerator)


def _synchronised(norm: nn.Module, accelerator: str) -> nn.Module:
    kind = nn.SyncBatchNorm if accelerator == "cuda" else SynchronisedBatchNorm
    settings = "num_features", "eps", "momentum", "affine", "track_running_stats"
    layer = kind(**{name: getattr(norm, name) for name in settings})
    for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
        setattr(layer, name, tensor)
    return layer.train(norm.training)


class SynchronisedBatchNorm(nn.BatchNorm1d):
    """Normalises over the batches of all processes, as one process would over all of them.

    The input is ``[n, C, ...]``; n may differ between processes. The sum, and then the sum of the
    centred squares, is reduced over the processes, in at least float32.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"input: received {input.dim()} axes, expected at least 2: [n, C]")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        single = not distributed.is_initialized() or distributed.get_world_size() == 1
        if not self.training or single:
            return super().forward(input)
        normalised, mean, variance, count = _Normalise.apply(input, self.eps)
        if self.running_mean is not None:
            self._track(mean, variance * (count / (count - 1)))
        if self.affine:
            shape = 1, -1, *[1] * (input.dim() - 2)
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normalised.to(input.dtype)
        return result

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        batches = cast(Tensor, self.num_batches_tracked).add_(1)
        share = 1 / float(batches) if self.momentum is None else self.momentum
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            tracked = cast(Tensor, running)
            tracked.lerp_(value.to(tracked.dtype), share)


class _Normalise(torch.autograd.Function):
    """(x − mean) / √(variance + eps) for each channel, over all processes.

    With x̂ the result, g its gradient and E the mean over all values of a channel:
    ∂x = (g − E[g] − x̂ E[g x̂]) / √(variance + eps).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Any:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = 1, -1, *[1] * (x.dim() - 2)
        values = wide.new_full((1,), x.numel() // x.shape[1])
        sums = torch.cat([wide.sum(axes), values])
        distributed.all_reduce(sums)
        count = sums[-1]
        mean = sums[:-1] / count
        centred = wide - mean.view(shape)
        squares = centred.square().sum(axes)
        distributed.all_reduce(squares)
        variance = squares / count
        scale = torch.rsqrt(variance + eps)
        normalised = centred * scale.view(shape)
        ctx.save_for_backward(normalised, scale, count)
        ctx.axes, ctx.shape, ctx.dtype = axes, shape, x.dtype
        ctx.mark_non_differentiable(mean, variance, count)
        return normalised, mean, variance, count

    @staticmethod
    def backward(ctx: Any, g: Tensor, *_: Any) -> Any:
        normalised, scale, count = ctx.saved_tensors
        sums = torch.stack([g.sum(ctx.axes), (g * normalised).sum(ctx.axes)])
        distributed.all_reduce(sums)
        first, second = (sums / count).unbind()
        gradient = g - first.view(ctx.shape) - normalised * second.view(ctx.shape)
        return (gradient * scale.view(ctx.shape)).to(ctx.dtype), None
