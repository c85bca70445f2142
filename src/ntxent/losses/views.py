"""How the views of samples lie in memory, and who is whose positive."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from ntxent.losses.checks import check_choice, check_embeddings, check_together

Layout = Literal["halves", "interleaved"]


def stack_views(views: Sequence[Tensor], layout: Layout | None) -> tuple[list[str], Tensor]:
    """Whatever the layout, ``[N, V, d]``, and what to call each view in an error."""
    if layout is not None:
        check_choice("layout", layout, ("halves", "interleaved"))
    if len(views) > 1:
        names = [f"z{i + 1}" for i in range(len(views))]
        for name, view in zip(names, views, strict=True):
            check_embeddings(name, view)
        check_together(" and ".join(names), views)
        if layout is not None:
            raise ValueError(
                f"layout: received {layout!r} with {len(views)} tensors, expected None; it says "
                "how a single [2N, d] tensor holds its views"
            )
        stacked = torch.stack(list(views), dim=1)
    elif len(views) == 1:
        (z,) = views
        check_embeddings("z", z, (2, 3))
        if z.ndim == 2:
            if layout is None or z.shape[0] % 2:
                raise ValueError(
                    f"z: received one tensor of shape {list(z.shape)} with layout={layout!r}, "
                    'expected an even number of rows and layout="halves" (z1 above z2) or '
                    '"interleaved" (both views of a sample side by side)'
                )
            pairs = z.shape[0] // 2
            halves = z.view(2, pairs, z.shape[1]).transpose(0, 1)
            stacked = halves if layout == "halves" else z.view(pairs, 2, z.shape[1])
        else:
            stacked = z
        names = [f"z[:, {i}]" for i in range(stacked.shape[1])]
    else:
        raise TypeError("nt_xent_loss: received no tensor, expected two or more views")
    n, v, d = stacked.shape
    if v < 2 or d == 0:
        raise ValueError(too_small(names, v, n, d))
    return names, stacked


def anchors(n: int, views: int, first: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row its sample and its target, the next view; on the CPU kept unless one traces.

    On an accelerator they belong to a stream, and what a captured graph makes is filled by its
    replay only.
    """
    plain = type(like) is Tensor and like.device.type == "cpu" and not torch.compiler.is_compiling()
    if not plain:
        return _anchors(n, views, first, like.device)
    kept = _kept(n, views, first, like.device)
    if type(kept[0]) is not Tensor:  # a mode (fake tensors) is on that the next call is not in
        _kept.cache_clear()
    return kept


def _anchors(n: int, views: int, first: int, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # made under it, they could not be saved outside it
        anchor = torch.arange(n * views, device=device)
        return anchor // views + first, anchor.view(n, views).roll(-1, 1).flatten()


_kept = lru_cache(maxsize=8)(_anchors)


def too_small(names: Sequence[str], views: int, samples: int, d: int) -> str:
    return (
        f"{' and '.join(names)}: received {views} views of shape {[samples, d]}, expected V >= 2 "
        "views of N >= 2 samples in d >= 1 dimensions; a single sample has no negatives, and its "
        "loss is 0 whatever the embeddings"
    )
