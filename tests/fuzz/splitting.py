"""A call whose samples lie on several processes, beside the definition on all of them."""

import time
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cases import Call, OnRanks, Problem, make_problem
from faults import Fault, kind_of
from oracle import Expected
from ranks import Ranks
from running import CLEAR, Outcome, Prepared, attempt, compare, expectation, upstream_of, valid

PATIENCE = 15.0  # seconds; gloo itself gives up after 20
START = 120.0  # seconds: processes import PyTorch first

# What may differ between ranks without changing the loss.
HARMLESS = ("nothing", "check_values", "weights dtype", "own temperature")


class PatientRanks(Ranks):
    """Ranks that are given up, and started anew, when one of them does not answer."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.answers(_meet, patience=START)

    def answers(
        self, function: Any, *arguments: Any, patience: float = PATIENCE
    ) -> list[tuple[bool, Any] | None]:
        """For each rank whether it returned and what; None where it died or hangs."""
        for pipe in self._pipes:
            pipe.send((function, arguments))
        until = time.monotonic() + patience
        answers: list[tuple[bool, Any] | None] = []
        for pipe in self._pipes:
            try:
                heard = pipe.poll(max(0.05, until - time.monotonic()))
                answers.append(pipe.recv() if heard else None)
            except (EOFError, OSError):
                answers.append(None)
        return answers

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join(10)


class Worlds:
    """Process groups by size, started when they are first wanted."""

    def __init__(self) -> None:
        self._made: dict[int, PatientRanks] = {}

    def __getitem__(self, size: int) -> PatientRanks:
        if size not in self._made:
            self._made[size] = PatientRanks(size)
        return self._made[size]

    def renew(self, size: int) -> None:
        self._made.pop(size).kill()

    def close(self) -> None:
        for ranks in self._made.values():
            ranks.kill()
        self._made.clear()


def lengths(total: int, case: OnRanks) -> list[int]:
    """The rows of each rank."""
    holders = case.ranks - min(case.empty, case.ranks - 1)
    shares = [2 + 3 * (i % 2) if case.uneven else 1 for i in range(holders)]
    counts = [total * share // sum(shares) for share in shares]
    counts[0] += total - sum(counts)
    return counts + [0] * (case.ranks - holders)


def part_of(case: OnRanks, problem: Problem, rank: int) -> Problem:
    def rows(total: int) -> slice:
        counts = lengths(total, case)
        return slice(sum(counts[:rank]), sum(counts[: rank + 1]))

    extra = slice(0, 0)
    if problem.negatives is not None:
        total = len(problem.negatives)
        shared = case.call.shared or case.call.loss == "moco"
        extra = slice(0, total) if shared else rows(total)
    return problem.part(rows(case.call.n), extra)


def on_rank(case: OnRanks) -> Outcome:
    """What this rank gets."""
    rank = dist.get_rank()
    part = part_of(case, make_problem(case.call), rank)
    call = replace(case.call, n=len(part.views[0]))
    options: dict[str, Any] = {"distributed": case.mode}
    if rank == case.ranks - 1:
        call, part, options = _spoilt(case.bad, call, part, options)
    views = len(part.views)
    whole = upstream_of(case.call.n * (views if call.loss in ("nt_xent", "sup_con") else 1))
    counts = lengths(case.call.n, case)
    own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
    upstream = whole.view(-1, case.call.n)[:, own].flatten()
    outcome = attempt(Prepared(call, part, **options), part, upstream)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def _spoilt(
    bad: str, call: Call, part: Problem, options: dict[str, Any]
) -> tuple[Call, Problem, dict[str, Any]]:
    if bad in ("nan row", "width", "dtype", "option", "weights length"):
        call = replace(call, bad=bad)
    elif bad in ("engine", "distributed"):
        options = {**options, bad: "fast"}
    elif bad == "check_values":
        options = {**options, bad: False}
    elif bad == "reduction":
        call = replace(call, reduction="sum" if call.reduction == "mean" else "mean")
    elif bad == "temperature":
        call = replace(call, tau=2 * call.tau)
    elif bad == "float64":
        part = replace(part, views=[view.double() for view in part.views])
    elif bad == "weights dtype" and part.weights is not None:
        part = replace(part, weights=part.weights.double())
    elif bad == "weights missing":
        part = replace(part, weights=None)
    return call, part, options


def run_on_ranks(case: OnRanks, worlds: Worlds) -> list[Fault]:
    call = case.call
    small = call.n < case.ranks - case.empty
    if not valid(call) or small or (call.frozen and call.loss != "moco") or call.bad != "nothing":
        return []
    if case.bad.startswith("weights") and call.weights == "none" and case.bad != "weights length":
        return []
    made = call.module or call.loss == "moco"
    if made and case.bad in ("option", "engine", "distributed", "weights length"):
        return []  # a module that is refused when it is made says so to nobody
    ranks = worlds[case.ranks]
    answers = ranks.answers(on_rank, case)
    if any(answer is None for answer in answers):
        worlds.renew(case.ranks)
        lost = [rank for rank, answer in enumerate(answers) if answer is None]
        said = [answer[1] for answer in answers if answer is not None and not answer[0]]
        what = "all of them" if len(lost) == len(answers) else "some"
        return [Fault(f"ranks: {what} hang or die", f"ranks {lost}; others: {said}"[:300])]
    if any(not answer[0] for answer in answers) and not _in_step(ranks):
        worlds.renew(case.ranks)
        said = [answer[1] for answer in answers if not answer[0]]
        return [Fault(f"ranks: out of step after {kind_of(said[0])[:60]}", said[0][:300])]
    return [Fault(f"ranks: {f.what}", f.detail) for f in _compare(case, answers)]


def _meet() -> None:
    dist.barrier()


def _in_step(ranks: PatientRanks) -> bool:
    return all(answer is not None and answer[0] for answer in ranks.answers(_meet))


def _compare(case: OnRanks, answers: list[Any]) -> list[Fault]:
    call = case.call
    problem = make_problem(call)
    errors = [what for well, what in answers if not well]
    scale = next((what.scale for well, what in answers if well), 1 / call.tau)
    expected = expectation(call, problem, scale)
    if case.bad not in HARMLESS:
        expected.must_refuse.append(f"{case.bad} on one rank")
    if errors:
        may = expected.must_refuse or expected.may_refuse or case.bad != "nothing"
        for said in errors:
            kind, _, message = said.partition(": ")
            if kind not in ("ValueError", "TypeError", "RuntimeError") or not CLEAR.match(message):
                return [Fault(f"raised {kind_of(said)[:80]}", said[:300])]
        if len(errors) < len(answers):
            return [Fault(f"refused by some only: {kind_of(errors[0])[:60]}", errors[0][:300])]
        return [] if may else [Fault(f"refused a good call: {kind_of(errors[0])[:60]}", errors[0])]
    outcomes = [outcome for _, outcome in answers]
    if expected.must_refuse:
        return [Fault(f"not refused: {expected.must_refuse[0]}", "")]
    return _values(case, expected, outcomes)


def _values(case: OnRanks, expected: Expected, outcomes: list[Outcome]) -> list[Fault]:
    """Each rank's loss is that of the whole batch; their gradients average to its gradient."""
    call = case.call
    size = len(outcomes)
    faults = []
    for outcome in outcomes:
        gradients = outcome.gradients or {}
        scales = {"scale": gradients["scale"]} if "scale" in gradients else {}
        if call.reduction == "none":
            scales = {}
        partial = replace(outcome, gradients=scales)
        if call.reduction == "none":
            partial.loss = _joined(call, [o.loss for o in outcomes])
        if partial.statistics is not None:
            losses = _joined(call, [o.statistics[0] for o in outcomes if o.statistics])
            partial.statistics = (losses, *partial.statistics[1:])
        faults += compare(expected, partial)
        if faults:
            return faults
    if call.reduction == "none":
        return faults
    names = [name for name in (outcomes[0].gradients or {}) if name.startswith(("view", "neg"))]
    shared = call.shared
    whole = {
        name: torch.cat([(o.gradients or {})[name].double() / size for o in outcomes])
        for name in names
        if not (shared and name == "negatives")
    }
    dtype = (outcomes[0].gradients or {})[names[0]].dtype
    outcome = Outcome(None, outcomes[0].loss, {n: t.to(dtype) for n, t in whole.items()})
    return compare(expected, outcome)


def _joined(call: Call, parts: list[Tensor | None]) -> Tensor:
    """The anchors of all ranks, those of the first view first."""
    views = call.views if call.loss in ("nt_xent", "sup_con") else 1
    return torch.cat([part.view(views, -1) for part in parts if part is not None], 1).flatten()
