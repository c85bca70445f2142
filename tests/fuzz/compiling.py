"""One compiled or exported function over several batch sizes and temperatures."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cases import Call, Compiled, Problem, make_problem
from faults import Fault, kind_of
from running import Outcome, Prepared, compare, expectation, valid

# Over any batch sizes and temperatures: one graph for each way the engine goes, and one to spare.
GRAPHS = {True: 3, None: 4}


class Counting:
    """A backend that counts the graphs it is given."""

    def __init__(self, backend: str) -> None:
        self.backend, self.graphs = backend, 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        self.graphs += 1
        return torch._dynamo.lookup_backend(self.backend)(graph, inputs)


def run_compiled(case: Compiled) -> list[Fault]:
    calls = [replace(case.call, n=n, tau=tau) for n in case.sizes for tau in case.taus]
    few = case.dynamic is not False or len(calls) <= 4  # each pair is a graph of its own
    if not few or not all(valid(call) for call in calls):
        return []
    torch._dynamo.reset()
    if case.backend == "export":
        return _exported(case, calls)
    backend = Counting(case.backend)
    first = make_problem(calls[0])
    run = Prepared(calls[0], first)
    run_of: Any = torch.compile(
        run.__call__, backend=backend, dynamic=case.dynamic, fullgraph=case.fullgraph
    )
    faults: list[Fault] = []
    for call in calls:
        problem = make_problem(call)
        outcome = _outcome(run_of, Prepared(call, problem), problem)
        if outcome.error is not None:
            said = f"{type(outcome.error).__name__}: {' '.join(str(outcome.error).split())}"[:300]
            return [Fault(f"compiled: raised {kind_of(said)[:60]}", f"n={call.n}: {said}")]
        found = compare(expectation(call, problem, outcome.scale), outcome, unchecked=True)
        faults += [Fault(f"compiled: {fault.what}", fault.detail) for fault in found]
    most = GRAPHS.get(case.dynamic)
    if most is not None and backend.graphs > most:
        faults.append(Fault("compiled: graphs", f"{backend.graphs} for {len(calls)} calls"))
    return faults


def _outcome(compiled: Any, run: Prepared, problem: Problem) -> Outcome:
    try:
        named, leaf, scale = run.temperature()
        inputs = run.inputs(problem)
        loss = compiled(problem, inputs, problem.weights, named)
        leaves = {f"view {i}": z for i, z in enumerate(inputs) if z.requires_grad}
        leaves |= {} if leaf is None else {"scale": leaf}
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return Outcome(None, loss.detach(), dict(zip(leaves, gradients, strict=True)), None, scale)
    except Exception as error:
        return Outcome(error)


class _Loss(torch.nn.Module):
    def __init__(self, run: Prepared, problem: Problem) -> None:
        super().__init__()
        self.run, self.problem = run, problem

    def forward(self, inputs: list[Tensor], ids: Tensor | None) -> Tensor:
        loss: Tensor = self.run(replace(self.problem, ids=ids), inputs, None, {})
        return loss


def _exported(case: Compiled, calls: list[Call]) -> list[Fault]:
    call = calls[0]
    problem = make_problem(call)
    model = _Loss(Prepared(replace(call, tau=0.5), problem), problem)
    samples = torch.export.Dim("samples", min=2)
    batch = {0: samples}
    inputs = [z.detach() for z in model.run.inputs(problem)]
    ids = None if problem.ids is None else batch
    try:
        shapes = ([batch for _ in inputs], ids)
        program = torch.export.export(model, (inputs, problem.ids), dynamic_shapes=shapes).module()
        faults = []
        for call in (replace(call, tau=0.5) for call in calls):
            problem = make_problem(call)
            inputs = [z.detach() for z in model.run.inputs(problem)]
            outcome = Outcome(None, program(inputs, problem.ids), scale=2.0)
            faults += compare(expectation(call, problem, 2.0), outcome, unchecked=True)
        return [Fault(f"exported: {fault.what}", fault.detail) for fault in faults]
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        return [Fault(f"exported: raised {kind_of(said)[:60]}", said)]
