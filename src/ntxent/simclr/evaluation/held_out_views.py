"""What can be measured without labels: how the embeddings of two views of unseen images lie."""

from __future__ import annotations

import torch

from ntxent.measures import alignment, contrastive_accuracy, effective_rank, uniformity
from ntxent.simclr.data import Images, to_unit
from ntxent.simclr.model.module import SimCLR

__all__ = ["measure_views"]

LARGEST_PART = 2048
BATCH = 256


@torch.no_grad()
def measure_views(model: SimCLR, images: Images, seed: int = 0) -> dict[str, float] | None:
    """The measures of :mod:`ntxent.measures` on at most 2,048 of the images.

    ``contrastive_accuracy`` is the share of views whose other view is nearer than any view of any
    other image; it is larger for fewer images. None where there is one image only.
    """
    if len(images) < 2:
        return None
    device = next(model.parameters()).device
    count = min(len(images), LARGEST_PART)
    pairs = []
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, count, BATCH):
            batch = images[list(range(start, min(start + BATCH, count)))]
            views = model.views(to_unit(batch).to(device))
            pairs.append(model(torch.cat(views)).float().cpu().chunk(2))
    first, second = (torch.cat(part) for part in zip(*pairs, strict=True))
    return {
        "images": count,
        "contrastive_accuracy": contrastive_accuracy(first, second),
        "alignment": alignment(first, second),
        "uniformity": uniformity(torch.cat([first, second])),
        "effective_rank": effective_rank(torch.cat([first, second])),
    }
