"""Runs a case and compares what comes back with the definition: the faults it shows."""

import re
import threading
import warnings
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cases import WIDE, Call, Problem, Sequence, arrange, disarrange, dtype_of, make_problem, place
from faults import Fault, kind_of
from ntxent import (
    InfoNCELoss,
    MoCoLoss,
    NTXentLoss,
    SupConLoss,
    info_nce_loss,
    nt_xent_loss,
    sup_con_loss,
)
from oracle import SLACK, Expected, define

FUNCTIONS = {"nt_xent": nt_xent_loss, "sup_con": sup_con_loss, "info_nce": info_nce_loss}
MODULES = {"nt_xent": NTXentLoss, "sup_con": SupConLoss, "info_nce": InfoNCELoss}

# What a refusal reads like: what it is about, what came and what was expected; or one of these.
CLEAR = re.compile(
    r"^[\w :\[\],.()/]+: (received .*expected |row \d+ (has|is) )"
    r"|^ntxent: rank \d+ stops because rank \d+ "
    r"|^ntxent: a second derivative of the loss was asked for"
    r"|^engine: .* runs on .* move them"
    r"|^\w+\(\) got an unexpected keyword argument",
    re.DOTALL,
)
# Options that no call takes; of a module they are refused when it is made or at its first call.
SPOILT: dict[str, dict[str, Any]] = {
    "two temperatures": {"temperature": 0.5, "scale": 2.0},
    "option": {"temprature": 0.5},
    "engine": {"engine": "fast"},
    "distributed": {"distributed": "all"},
    "reduction": {"reduction": "max"},
}

REFUSALS = (ValueError, TypeError, RuntimeError)


@dataclass
class Outcome:
    """What one call gave, as plain tensors, or the exception it raised."""

    error: BaseException | None = None
    loss: Tensor | None = None
    gradients: dict[str, Tensor] | None = None
    statistics: tuple[Tensor, ...] | None = None
    scale: float = 0.0
    """1 / temperature as the call had it."""


def valid(call: Call) -> bool:
    """Whether the combination is one that the API has."""
    if call.bad == "two temperatures" and (call.module or call.loss == "moco"):
        return False
    if call.loss == "sup_con":
        return (
            call.ids != "none"
            and (call.layout == "stacked" or (call.layout, call.views) == ("views", 1))
            and not (call.decoupled or call.negatives or call.stats or call.frozen)
            and call.bad != "missing view"
        )
    if call.loss == "nt_xent":
        fits = call.layout in ("views", "stacked") or (
            call.views == 2 and not (call.module and call.layout != "stacked")
        )
        return call.views >= 2 and fits and not call.negatives and call.frozen < call.views
    paired = call.views == 2 and call.layout == "views" and not call.stats and call.frozen < 2
    if call.loss == "moco":
        paired = paired and not call.bad.startswith("ids") and call.bad != "missing view"
        one_way = not call.symmetric and not call.in_batch and call.frozen == 1
        return paired and one_way and call.ids == "none" and call.negatives >= call.n > 0
    paired = paired and call.bad != "missing view"
    return paired and not (call.shared and not call.negatives)


# --- one call -------------------------------------------------------------------------------------


class Prepared:
    """A loss with its settings, as a function of a problem; a module keeps its state."""

    def __init__(self, call: Call, problem: Problem, **options: Any) -> None:
        self.call = call
        self.options = {"reduction": call.reduction, "normalize": call.normalize, **options}
        if call.loss == "nt_xent":
            self.options |= {"decoupled": call.decoupled, "return_stats": call.stats}
        if call.loss == "sup_con":
            self.options["missing"] = call.missing
        if call.loss in ("info_nce", "moco"):
            self.options["decoupled"] = call.decoupled
        if call.loss == "info_nce":
            names = ("symmetric", "in_batch")
            self.options |= {name: getattr(call, name) for name in names}
            self.options["shared_negatives"] = call.shared
        self.module: Any = None
        if call.module or call.loss == "moco":
            # What is wrong with the options of a module, and its weights, are there from the start.
            self.options |= SPOILT.get(call.bad, {})
            weights = broken(call.bad, problem, [], {})[0].weights
            self.options |= {} if weights is None else {"weights": weights}
        if call.loss == "moco":
            assert problem.negatives is not None
            self.module = MoCoLoss(
                len(problem.negatives),
                call.d,
                call.tau,
                learnable=call.learnable,
                **self.options,
            )
            self.module.queue.copy_(problem.negatives)
        elif call.module:
            self.module = MODULES[call.loss](call.tau, learnable=call.learnable, **self.options)

    def temperature(self) -> tuple[dict[str, Any], Tensor | None, float]:
        """The argument, its leaf, and 1 / temperature as the call has it."""
        call = self.call
        if self.module is not None:
            scale = self.module.scale
            value = scale.item() if isinstance(scale, Tensor) else scale
            return {}, self.module.log_scale, value
        name, _, dtype = call.tau_as.partition(" ")
        value = 1 / call.tau if name == "scale" and call.tau else call.tau
        if not dtype:
            return {name.replace("float", "temperature"): value}, None, _scale(name, value)
        leaf = torch.tensor(value, dtype=dtype_of(dtype), requires_grad=True)
        argument = leaf if call.seed % 2 else leaf.reshape(1)
        named = {"scale" if name == "scale" else "temperature": argument}
        return named, leaf, _scale(name, float(leaf.detach()))

    def inputs(self, problem: Problem) -> list[Tensor]:
        tensors = [
            place(tensor, self.call.memory) for tensor in arrange(problem.views, self.call.layout)
        ]
        if (self.call.memory, self.call.layout) == ("expanded", "views"):
            tensors = [z[:1].expand(z.shape) for z in tensors]
        trained = len(tensors) - (self.call.frozen if self.call.layout == "views" else 0)
        return [z.requires_grad_() if i < trained else z for i, z in enumerate(tensors)]

    def __call__(
        self, problem: Problem, inputs: list[Tensor], weights: Tensor | None, named: dict[str, Any]
    ) -> Any:
        call = self.call
        arguments: dict[str, Any] = {}
        if problem.ids is not None and call.loss != "moco":
            arguments["labels" if call.loss == "sup_con" else "ids"] = problem.ids
        if call.loss == "info_nce" and problem.negatives is not None:
            arguments["negatives"] = problem.negatives
        if self.module is not None:
            return self.module(*inputs, **arguments)
        if call.layout not in ("views", "stacked"):
            arguments["layout"] = call.layout
        if weights is not None:
            arguments["weights"] = weights
        return FUNCTIONS[call.loss](*inputs, **{**self.options, **arguments, **named})


def _scale(name: str, value: float) -> float:
    if name == "scale":
        return value
    return 1 / value if value else float("inf")


def upstream_of(losses: int) -> Tensor:
    return torch.linspace(0.5, 1.5, losses, dtype=WIDE) / losses


def attempt(run: Prepared, problem: Problem, upstream: Tensor | None = None) -> Outcome:
    """Forward and backward, in the modes that the call asks for."""
    call = run.call
    named, leaf, scale = {}, None, _scale("temperature", call.tau)
    try:
        named, leaf, scale = run.temperature()
        inputs = run.inputs(problem)
        problem, named = broken(call.bad, problem, inputs, named)
        problem = replace(problem)
        weights = problem.weights
        trained = isinstance(weights, Tensor) and weights.is_floating_point()
        if trained and run.module is None:
            weights = weights.clone().requires_grad_()
        if call.loss == "info_nce" and problem.negatives is not None:
            problem.negatives = place(problem.negatives, call.memory).requires_grad_()
        with ExitStack() as stack:
            if call.autocast != "off":
                stack.enter_context(torch.autocast("cpu", dtype_of(call.autocast)))
            if call.grad != "on":
                mode = torch.no_grad if call.grad == "no_grad" else torch.inference_mode
                stack.enter_context(mode())
            result = run(problem, inputs, weights, named)
        statistics = None
        if call.loss == "nt_xent" and call.stats:
            result, *statistics = result[0], *result[1]
        outcome = Outcome(None, result.detach(), {}, statistics, scale)
        if call.grad != "on":
            return outcome
        leaves: dict[str, Tensor] = {f"input {i}": z for i, z in enumerate(inputs)}
        leaves |= {} if leaf is None else {"scale": leaf}
        if call.loss == "info_nce" and problem.negatives is not None:
            leaves["negatives"] = problem.negatives
        leaves |= {"weights": weights} if isinstance(weights, Tensor) else {}
        leaves = {name: tensor for name, tensor in leaves.items() if tensor.requires_grad}
        seed = None
        if result.ndim:
            seed = upstream_of(len(result)) if upstream is None else upstream
            seed = seed.to(result.dtype)
        inside = call.autocast != "off" and call.inside
        cast = torch.autocast("cpu", dtype_of(call.autocast)) if inside else nullcontext()
        with cast:
            found = torch.autograd.grad(result, list(leaves.values()), seed, allow_unused=True)
        gradients = {
            name: torch.zeros_like(leaves[name]) if gradient is None else gradient
            for name, gradient in zip(leaves, found, strict=True)
        }
        outcome.gradients = by_view(call, inputs, gradients)
        return outcome
    except Exception as error:
        return Outcome(error, scale=scale)


def by_view(call: Call, inputs: list[Tensor], gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradients of the inputs as those of the views."""
    own = [gradients.pop(f"input {i}", None) for i in range(len(inputs))]
    present = [gradient for gradient in own if gradient is not None]
    if call.loss == "sup_con" and call.layout == "views":
        views = present
    else:
        views = disarrange(present, call.layout, call.views)
    return gradients | {f"view {i}": view for i, view in enumerate(views)}


def broken(
    bad: str, problem: Problem, inputs: list[Tensor], named: dict[str, Any]
) -> tuple[Problem, dict[str, Any]]:
    """The problem with what is wrong in it; the inputs are changed in place."""
    with torch.no_grad():
        if bad == "nan row" and inputs and inputs[-1].shape[0]:
            inputs[-1].data = inputs[-1].clone().index_fill_(0, torch.tensor([0]), torch.nan)
        elif bad == "width" and inputs:
            wider = torch.cat([inputs[-1], inputs[-1][..., :1]], -1)
            inputs[-1] = wider
            if len(inputs) == 1:
                inputs[-1] = wider[None]
        elif bad == "dtype" and inputs:
            inputs[-1] = inputs[-1].long()
        elif bad in SPOILT:
            named = {**named, **SPOILT[bad]}
        elif bad == "ids length":
            problem = replace(problem, ids=torch.arange(len(problem.views[0]) + 1))
        elif bad == "ids float":
            problem = replace(problem, ids=torch.rand(len(problem.views[0])))
        elif bad == "weights length":
            problem = replace(problem, weights=torch.ones(3 * len(problem.views[0]) + 1))
        elif bad == "weights list":
            problem = replace(problem, weights=[1.0])
        elif bad == "missing view" and inputs:
            del inputs[1:]
            inputs[0] = inputs[0][0]
    return problem, named


# --- comparing ------------------------------------------------------------------------------------


def compare(expected: Expected, outcome: Outcome, unchecked: bool = False) -> list[Fault]:
    """``unchecked``, as in a compiled graph, bad input may give NaN."""
    if outcome.error is not None:
        return refused(expected, outcome.error)
    assert outcome.loss is not None
    if expected.must_refuse:
        if unchecked and bool(outcome.loss.isnan().any()):
            return []
        loss = outcome.loss.flatten()[:3].tolist()
        return [Fault(f"not refused: {expected.must_refuse[0]}", f"returned {loss}")]
    assert expected.loss is not None
    assert expected.losses is not None
    exact = {"loss": expected.loss, "per_anchor": expected.losses, **expected.gradients}
    tolerances = {**expected.tolerances, "per_anchor": expected.tolerances["losses"]}
    found = {"loss": outcome.loss}
    if outcome.statistics is not None and expected.statistics is not None:
        names = ("per_anchor", "positive_similarity", "negative_similarity")
        found |= dict(zip(names, outcome.statistics, strict=True))
        exact |= dict(zip(names[1:], expected.statistics, strict=True))
        bound = SLACK * torch.finfo(expected.dtype).eps * expected.largest
        tolerances |= dict.fromkeys(names[1:], bound)
    found |= outcome.gradients or {}
    # One cause shows in all that follows from it: the first fault stands for them.
    for name, value in found.items():
        rounding = value.dtype if name in (outcome.gradients or {}) else expected.dtype
        kind = re.sub(r" \d+", "", name)
        if fault := differs(kind, value, exact[name], tolerances[name], rounding):
            return [fault]
    if outcome.loss.dtype != expected.dtype:
        return [Fault("loss: dtype", f"{outcome.loss.dtype} for {expected.dtype}")]
    return []


def refused(expected: Expected, error: BaseException) -> list[Fault]:
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    if not isinstance(error, REFUSALS) or not CLEAR.match(str(error)):
        return [Fault(f"raised {kind_of(said)[:80]}", said)]
    if not expected.must_refuse and not expected.may_refuse:
        return [Fault(f"refused a good call: {kind_of(said)[:80]}", said)]
    return []


def differs(
    name: str, value: Tensor, exact: Tensor, tolerance: Tensor, rounding: torch.dtype
) -> Fault | None:
    """The value is exact up to the tolerance, the rounding to a dtype, and that dtype's range."""
    if value.shape != exact.shape:
        return Fault(f"{name}: shape", f"{list(value.shape)} for {list(exact.shape)}")
    if not value.numel():
        return None
    limits = torch.finfo(rounding)
    wide, exact = value.detach().double(), exact.double()
    if wide.isnan().any():
        return Fault(f"{name}: NaN", f"{int(wide.isnan().sum())} of {wide.numel()}")
    wide, exact = (t.clamp(limits.min, limits.max) for t in (wide, exact))
    allowed = tolerance + limits.eps * exact.abs() + 4 * limits.smallest_normal * limits.eps
    share = ((wide - exact).abs() / allowed).flatten()
    worst = float(share.max())
    if worst <= 1:
        WORST[name] = max(WORST.get(name, 0.0), worst)
        return None
    at = int(share.argmax())
    got, want = wide.flatten()[at].item(), exact.flatten()[at].item()
    kind = "wrong" if value.isfinite().all() else "infinite"
    return Fault(f"{name}: {kind}", f"{got:.9g} for {want:.9g}, {worst:.3g} x the tolerance")


WORST: dict[str, float] = {}
"""The largest share of its tolerance that a right result used, by name."""


def run_call(call: Call) -> list[Fault]:
    if not valid(call):
        return []
    problem = make_problem(call)
    try:
        run = Prepared(call, problem)
    except Exception as error:
        expected = define(call, problem, _scale("temperature", call.tau))
        return refused(expected, error)
    outcome = attempt(run, problem)
    return compare(expectation(call, problem, outcome.scale), outcome)


def expectation(call: Call, problem: Problem, scale: float) -> Expected:
    anchors = call.n * (1 if call.loss in ("info_nce", "moco") else call.views)
    expected = define(call, problem, scale, upstream_of(anchors))
    if "scale" in expected.gradients:  # handed in as something else
        factor = torch.tensor(_inner(call, scale), dtype=WIDE)
        expected.gradients["scale"] = expected.gradients["scale"] * factor
        tolerance = expected.tolerances["scale"] * factor.abs()
        expected.tolerances["scale"] = tolerance
    return expected


def _inner(call: Call, scale: float) -> float:
    """d scale / d what the call was given."""
    if call.module or call.loss == "moco":
        return scale
    return 1.0 if call.tau_as.startswith("scale") else -(scale**2)


# --- calls before it ------------------------------------------------------------------------------


def disturb(what: str, run: Prepared, problem: Problem) -> None:
    """A call that may fail, in whatever way."""
    call = run.call

    def once(bad: str = "nothing") -> None:
        named, _, _ = run.temperature()
        inputs = run.inputs(problem)
        other, named = broken(bad, problem, inputs, named)
        weights = other.weights
        result = run(other, inputs, weights, named)
        result = result[0] if isinstance(result, tuple) else result
        if torch.is_grad_enabled() and result.requires_grad:
            if what == "hook":
                inputs[0].register_hook(_fail)
                result = result * 1.0
                result.register_hook(_fail)
            result.sum().backward()

    if what == "meta":
        with torch.device("meta"):
            once()
    elif what == "inference_mode":
        with torch.inference_mode():
            once()
    elif what == "no_grad":
        with torch.no_grad():
            once()
    elif what == "float64 by default":
        torch.set_default_dtype(torch.float64)
        try:
            once()
        finally:
            torch.set_default_dtype(torch.float32)
    elif what == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            once()
    elif what == "eval" and run.module is not None:
        run.module.eval()
        try:
            with torch.no_grad():
                once()
        finally:
            run.module.train()
    elif what == "vmap":
        z = torch.randn(2, call.n, call.d)
        torch.func.vmap(lambda z: nt_xent_loss(z, z))(z)
    elif what in ("nan row", "width", "option"):
        once(what)
    elif what == "hook":
        once()


def _fail(gradient: Tensor) -> None:
    raise ArithmeticError("a hook that fails")


def run_sequence(case: Sequence) -> list[Fault]:
    """In a thread of its own, whose state is new."""
    faults: list[Fault] = []
    thread = threading.Thread(target=lambda: faults.extend(_in_turn(case)), daemon=True)
    thread.start()
    thread.join(60)
    if thread.is_alive():
        return [Fault("no answer in 60 s", "")]
    return faults


def _in_turn(case: Sequence) -> list[Fault]:
    call = case.call
    if not valid(call):
        return []
    problem = make_problem(call)
    try:
        run = Prepared(call, problem)
    except Exception:
        return []  # run_call looks at those
    faults = []
    for what in case.before:
        kept = _state(run)
        raised = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                disturb(what, run, problem)
        except Exception:
            raised = True
        changed = [
            name for name, value in kept.items() if not same_tensor(value, _state(run)[name])
        ]
        # What a hook raises comes after the loss, whose keys are in the queue.
        if changed and (raised or what == "eval") and "hook" not in case.before:
            detail = f"{what}: {', '.join(changed)}"
            faults.append(Fault(f"a call in eval() or that failed changed {changed[0]}", detail))
    if run.module is not None:
        run.module.zero_grad(set_to_none=True)
    if call.loss == "moco":
        problem = replace(problem, negatives=run.module.queue.clone())
    outcome = attempt(run, problem)
    faults += compare(expectation(call, problem, outcome.scale), outcome)
    if call.loss == "moco" and outcome.error is None:
        faults += _queue_faults(run, problem)
    return faults


def _state(run: Prepared) -> dict[str, Tensor]:
    if run.module is None:
        return {}
    return {name: value.detach().clone() for name, value in run.module.state_dict().items()}


def same_tensor(a: Tensor, b: Tensor) -> bool:
    if a.dtype != b.dtype or a.device != b.device or a.shape != b.shape:
        return False
    return torch.allclose(a.double(), b.double(), rtol=0.0, atol=0.0, equal_nan=True)


def _queue_faults(run: Prepared, problem: Problem) -> list[Fault]:
    """The keys are in the queue, the oldest rows gone."""
    queue = run.module.queue.double()
    keys = problem.views[1].double()
    keys = keys / keys.norm(dim=1, keepdim=True)
    gaps = (queue[None] - keys[:, None]).norm(dim=2).amin(1)
    if not bool((gaps < 1e-5).all()):
        return [Fault("queue: a key is not in it", f"{int((gaps >= 1e-5).sum())} of {len(gaps)}")]
    return []
