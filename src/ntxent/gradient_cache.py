r"""One exact step on a batch whose activations do not fit in memory.

The gradient of a contrastive loss does not split into those of chunks: every anchor's denominator
has the rows of the whole batch, so that sums of the losses of chunks ("gradient accumulation") are
another loss, with fewer negatives. But it does split at the embeddings,

.. math:: \frac{\partial L}{\partial \theta}
          = \sum_c \Bigl(\frac{\partial L}{\partial z_c}\Bigr)^\top
            \frac{\partial z_c}{\partial \theta} ,

for chunks c of the batch. So: embed every chunk without a graph; compute the loss of all embeddings
and its gradient at each of them; then embed every chunk again, with a graph and the same random
numbers, and propagate its part of that gradient back. Memory is that of one chunk's activations and
of all embeddings; the price is a second forward pass.

Source: Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup
(arXiv 2101.06983).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["gradcache"]

Encoder = Callable[..., Tensor]


def gradcache(
    encoder: Encoder | Sequence[Encoder],
    views: Sequence[Any],
    loss: Callable[..., Any],
    *,
    chunk_size: int,
    scaler: torch.amp.GradScaler | None = None,
) -> Any:
    """The loss of the whole batch, and in every parameter's ``.grad`` the gradient of that loss.

    Naively::

        value = loss(*(encoder(view) for view in views))
        value.backward()

    and then, as after those two lines, ``optimizer.step()``. Each view is embedded in chunks, on
    its own. Layers that couple the rows of a chunk, such as BatchNorm while training, see its
    ``chunk_size`` rows and not the batch: that is another network than the naive one, though the
    gradient is still exactly that of its loss. Buffers of the encoders, such as running statistics,
    change in the first pass only, and not at all where the call ends with an error; gradients are
    then undefined, as after a ``backward()`` that fails.

    Args:
        encoder: What embeds a view: rows in, ``[n, d]`` out; a module, possibly in
            DistributedDataParallel, whose gradients are then synchronised once, or a method of one.
            Or one for each view (an image and a text encoder), some of which may be frozen.
        views: Tensors, or dicts, lists or tuples of tensors, with one row a sample. Those that
            require a gradient get it; a graph behind them is gone through once.
        loss: A function of the embeddings of the views. Where it returns a tuple, as with
            ``return_stats=True``, the first element is differentiated. It may be distributed.
        chunk_size: Rows of a view that are embedded at a time.
        scaler: Scales the loss before the backward passes, as ``scaler.scale(value).backward()``.

    Returns:
        What ``loss`` returned, detached.

    Under autocast, call it inside the context; the backward passes run outside of it. Random
    numbers of PyTorch's global generators (dropout, augmentation on the device) are drawn alike in
    both passes; those of Python and NumPy, or of a generator of your own, are not.

    Raises:
        ValueError: ``chunk_size`` is below 1, there is no view, there are as many encoders as views
            or one, or an encoder returns other rows than it was given.
        RuntimeError: nothing requires a gradient: neither an encoder, nor a view, nor the loss.

    Example:
        >>> import torch, ntxent
        >>> encoder, criterion = torch.nn.Linear(8, 4), ntxent.NTXentLoss(0.1)
        >>> x1, x2 = torch.randn(2, 32, 8)
        >>> criterion(encoder(x1), encoder(x2)).backward()
        >>> plain = encoder.weight.grad.clone()
        >>> encoder.weight.grad = None
        >>> value = ntxent.gradcache(encoder, [x1, x2], criterion, chunk_size=5)
        >>> torch.testing.assert_close(encoder.weight.grad, plain)
    """
    if not isinstance(chunk_size, int) or chunk_size < 1:
        raise ValueError(f"chunk_size: received {chunk_size!r}, expected an integer >= 1")
    if not views:
        raise ValueError("views: received none, expected one or more")
    encoders = list(encoder) if isinstance(encoder, Sequence) else [encoder] * len(views)
    if len(encoders) != len(views):
        raise ValueError(
            f"encoder: received {len(encoders)} for {len(views)} views, expected one for all of "
            "them or one each"
        )
    with _restored(encoders, only_after_errors=True):
        return _step(encoders, views, loss, chunk_size, scaler)


def _step(
    encoders: Sequence[Encoder],
    views: Sequence[Any],
    loss: Callable[..., Any],
    chunk_size: int,
    scaler: torch.amp.GradScaler | None,
) -> Any:
    inputs = [_Input(view) for view in views]
    chunks = [
        [_Chunk(embed, rows) for rows in _split(given.view, chunk_size)]
        for embed, given in zip(encoders, inputs, strict=True)
    ]
    with torch.no_grad(), _unsynchronised(encoders):
        embeddings = [torch.cat([chunk.embed() for chunk in view]) for view in chunks]
    result = loss(*(z.requires_grad_() for z in embeddings))
    value = result[0] if isinstance(result, tuple) else result
    value = value if scaler is None else scaler.scale(value)
    trained = _leaves(value) - {id(z) for z in embeddings}
    _backward([value])

    work = [chunk for view in chunks for chunk in view]
    gradients = [part for z in embeddings for part in torch.split(_gradient(z), chunk_size)]
    last = {id(chunk.encoder): chunk for chunk in work}
    replayed = []
    with _restored(encoders):
        for chunk, gradient in zip(work, gradients, strict=True):
            final = last[id(chunk.encoder)] is chunk
            with nullcontext() if final else _unsynchronised([chunk.encoder]):
                replayed.append(chunk.replay(gradient))
    if not trained and not any(replayed):
        raise RuntimeError(
            "encoder: received none that requires a gradient, with a loss that has no parameter, "
            "expected something to train; call loss(...) itself for its value alone"
        )
    cut = [pair for given in inputs for pair in given.cut if pair[1].grad is not None]
    if cut:
        _backward([tensor for tensor, _ in cut], [_gradient(leaf) for _, leaf in cut])
    return tree_map_only(Tensor, Tensor.detach, result)


class _Input:
    """A view whose tensors that carry a graph (of a module before the encoder) are cut off it, so
    that the chunks go back through it once and not each for itself.
    """

    def __init__(self, view: Any) -> None:
        self.cut: list[tuple[Tensor, Tensor]] = []
        self.view = tree_map_only(Tensor, self._cut, view)

    def _cut(self, tensor: Tensor) -> Tensor:
        if not tensor.requires_grad:
            return tensor
        leaf = tensor.detach().requires_grad_()
        self.cut.append((tensor, leaf))
        return leaf


class _Chunk:
    """Rows that are embedded at a time, and the random state in which they first were."""

    def __init__(self, encoder: Encoder, rows: Any) -> None:
        self.encoder, self.rows = encoder, rows
        self.devices = sorted({t.get_device() for t in tree_leaves(rows) if t.is_cuda})

    def embed(self) -> Tensor:
        self.cpu_state = torch.get_rng_state()
        self.cuda_states = [torch.cuda.get_rng_state(device) for device in self.devices]
        z = self.encoder(self.rows)
        if not isinstance(z, Tensor) or z.shape[:1] != (_rows(self.rows),):
            received = list(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ValueError(
                f"encoder: returned {received} for {_rows(self.rows)} rows, expected a tensor "
                "with a row for each"
            )
        return z

    def replay(self, gradient: Tensor) -> bool:
        """Embed the rows again, with a graph, and send the gradient back through it; whether there
        is one, which a frozen encoder has not.
        """
        # Weights that autocast rounded in the first pass were rounded without a graph.
        torch.clear_autocast_cache()
        with torch.random.fork_rng(self.devices):
            torch.set_rng_state(self.cpu_state)
            for device, state in zip(self.devices, self.cuda_states, strict=True):
                torch.cuda.set_rng_state(state, device)
            z = self.encoder(self.rows)
        if z.requires_grad:
            _backward([z], [gradient])
        return z.requires_grad


def _rows(view: Any) -> int:
    return len(tree_leaves(view)[0])


def _split(view: Any, size: int) -> Iterator[Any]:
    """The view in chunks of at most ``size`` rows; one empty chunk where it has none."""
    for start in range(0, max(1, _rows(view)), size):
        rows = slice(start, start + size)
        yield tree_map_only(Tensor, itemgetter(rows), view)


def _backward(values: list[Tensor], gradients: list[Tensor] | None = None) -> None:
    with torch.autocast(values[0].device.type, enabled=False):
        torch.autograd.backward(values, gradients)


def _leaves(value: Tensor) -> set[int]:
    """``id`` of every tensor that ``value.backward()`` would give a gradient."""
    found, seen, left = set(), set(), [value.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found.add(id(leaf))
        left += [after for after, _ in node.next_functions]
    return found


def _gradient(z: Tensor) -> Tensor:
    return torch.zeros_like(z) if z.grad is None else z.grad


@contextmanager
def _unsynchronised(encoders: Sequence[Encoder]) -> Iterator[None]:
    """Inside, wrappers of several processes (DDP, FSDP) leave gradients and buffers alone."""
    with ExitStack() as stack:
        for encoder in {id(encoder): encoder for encoder in encoders}.values():
            if hasattr(encoder, "no_sync"):
                stack.enter_context(encoder.no_sync())
        yield


@contextmanager
def _restored(encoders: Sequence[Encoder], only_after_errors: bool = False) -> Iterator[None]:
    """Buffers, such as running statistics, are afterwards what they were before."""
    kept = [
        (module, name, buffer, buffer.clone())
        for module in {id(m): m for e in encoders for m in _modules(e)}.values()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    error = True
    try:
        yield
        error = False
    finally:
        if error or not only_after_errors:
            with torch.no_grad():
                for module, name, buffer, value in kept:
                    buffer.copy_(value)
                    setattr(module, name, buffer)  # a module may have put another in its place


def _modules(encoder: Encoder) -> Iterator[torch.nn.Module]:
    """Those of a module, or of the one whose method is given."""
    owner = getattr(encoder, "__self__", encoder)
    return owner.modules() if isinstance(owner, torch.nn.Module) else iter(())
