"""gradcache beside plain backward of the same loss."""

from typing import Any

import torch
from torch import Tensor, nn

from cases import Cached
from faults import Fault, kind_of
from ntxent import gradcache, info_nce_loss, nt_xent_loss
from running import CLEAR, REFUSALS

WIDTH = 5


class Encoder(nn.Module):
    """Two layers; takes a tensor, or a dict or list of tensors."""

    def __init__(self, case: Cached) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(6) if case.norm != "none" else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(WIDTH, 6), norm, nn.Tanh(), nn.Linear(6, 4))
        self.dropout = nn.Dropout(0.3) if case.dropout else nn.Identity()
        self.double()
        norm.train(case.norm == "train")
        self.calls, self.fails_at = 0, 0

    def forward(self, view: Any) -> Tensor:
        self.calls += 1
        if self.calls == self.fails_at:
            raise ArithmeticError("an encoder that fails")
        if isinstance(view, dict):
            view = view["image"]
        if isinstance(view, list | tuple):
            view = view[0] * 1.0
        out: Tensor = self.dropout(self.layers(view))
        return out


def _setting(case: Cached) -> tuple[list[Encoder], list[Any], list[Tensor]]:
    """Towers, views and the leaves behind them, the same at each call."""
    torch.manual_seed(case.seed)
    count = 1 if case.towers == "shared" else case.views
    towers = [Encoder(case) for _ in range(count)]
    if case.towers == "frozen":
        towers[-1].requires_grad_(False)
    leaves, views = [], []
    for _ in range(case.views):
        data = torch.randn(case.n, WIDTH, dtype=torch.float64)
        leaf = data.requires_grad_(case.inputs != "data")
        leaves.append(leaf)
        view = leaf * leaf if case.inputs == "graph" else leaf
        views.append({"tensor": view, "dict": {"image": view}, "list": [view]}[case.form])
    return towers, views, leaves


def _loss(case: Cached) -> Any:
    if case.loss == "info_nce":
        return lambda x, y: info_nce_loss(x, y, temperature=0.2)
    return lambda *z: nt_xent_loss(*z, temperature=0.2, return_stats=case.stats)


def run_cached(case: Cached) -> list[Fault]:
    whole = case.chunk_size >= case.n
    if case.loss == "info_nce" and (case.views != 2 or case.stats):
        return []
    if (case.norm == "train" or case.dropout) and not whole:
        return []  # another network than the plain one
    if case.fails:
        return _failing(case)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0) if case.scaler else None
    towers, views, leaves = _setting(case)
    each = towers * case.views if case.towers == "shared" else towers
    torch.manual_seed(1)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.autocast):
            value = _loss(case)(*(tower(view) for tower, view in zip(each, views, strict=True)))
    except ValueError:  # dropout left nothing of a row
        return []
    first = value[0] if isinstance(value, tuple) else value
    (first if scaler is None else scaler.scale(first)).backward()
    exact, exact_buffers = _grads(towers, leaves), _buffers(towers)

    towers, views, leaves = _setting(case)
    encoder = towers[0] if case.towers == "shared" else towers
    torch.manual_seed(1)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.autocast):
            ours = gradcache(encoder, views, _loss(case), chunk_size=case.chunk_size, scaler=scaler)
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        clear = isinstance(error, REFUSALS) and CLEAR.match(str(error))
        # Gradients of the data are not what it computes: a refusal says so.
        if clear and case.inputs != "data":
            return []
        return [Fault(f"gradcache: raised {kind_of(said)[:80]}", said)]
    faults = []
    loose = 0.05 if case.autocast else 1e-8
    got = ours[0] if isinstance(ours, tuple) else ours
    if not torch.allclose(got.double(), first.detach().double(), rtol=loose, atol=loose):
        faults.append(Fault("gradcache: loss", f"{got.item():.9g} for {first.item():.9g}"))
    for (name, a), b in zip(exact.items(), _grads(towers, leaves).values(), strict=True):
        if (a is None) != (b is None):
            kind = name.split()[0]
            faults.append(Fault(f"gradcache: no gradient of {kind}", f"{name}: {b} for {a}"[:200]))
        elif a is not None and b is not None:
            gap = float((a - b).norm() / a.norm().clamp(min=1e-6))
            if not gap <= (0.1 if case.autocast else 1e-8):
                faults.append(Fault("gradcache: gradient", f"{name}: {gap:.3g} relative"))
                break
    for (name, a), b in zip(exact_buffers.items(), _buffers(towers).values(), strict=True):
        if not torch.allclose(a.double(), b.double(), rtol=loose, atol=loose):
            faults.append(Fault("gradcache: buffers", f"{name}: {b.tolist()} for {a.tolist()}"))
            break
    return faults


def _failing(case: Cached) -> list[Fault]:
    """After an error in the second pass, running statistics have counted the rows once."""
    towers, views, _ = _setting(case)
    first_pass = case.views * -(-case.n // case.chunk_size)
    chunks_of_first = first_pass if case.towers == "shared" else first_pass // case.views
    towers[0].fails_at = chunks_of_first + min(case.fails, chunks_of_first)
    encoder = towers[0] if case.towers == "shared" else towers
    try:
        gradcache(encoder, views, _loss(case), chunk_size=case.chunk_size)
    except ArithmeticError:
        pass
    except ValueError:  # dropout left nothing of a row
        return []
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        if case.inputs == "data":
            return [Fault(f"gradcache: raised {kind_of(said)[:80]}", said)]
        return []
    counted = [
        int(buffer) for name, buffer in _buffers(towers[:1]).items() if "num_batches" in name
    ]
    expected = chunks_of_first if case.norm == "train" else 0
    if counted and counted[0] not in (0, expected):
        detail = f"num_batches_tracked {counted[0]} for {expected}"
        return [Fault("gradcache: buffers after an error in the second pass", detail)]
    return []


def _grads(towers: list[Encoder], leaves: list[Tensor]) -> dict[str, Tensor | None]:
    named = {f"parameter {i}.{n}": p for i, t in enumerate(towers) for n, p in t.named_parameters()}
    named |= {f"view {i}": leaf for i, leaf in enumerate(leaves)}
    return {name: None if p.grad is None else p.grad.clone() for name, p in named.items()}


def _buffers(towers: list[Encoder]) -> dict[str, Tensor]:
    return {f"{i}.{n}": b.clone() for i, t in enumerate(towers) for n, b in t.named_buffers()}
