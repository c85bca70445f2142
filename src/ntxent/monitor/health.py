"""The health of a contrastive loss, for any loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, SupportsFloat

import numpy as np

from ntxent.bounds import Convention
from ntxent.diagnosis import Diagnosis, Trajectory
from ntxent.diagnosis.course import recovers
from ntxent.diagnosis.trajectory import course_sentences, judge_in
from ntxent.diagnosis.value import diagnose_in
from ntxent.monitor.history import History

__all__ = ["HealthMonitor", "Similarities"]

_LOG = logging.getLogger("ntxent")
RECOVERS = (
    "The loss is at chance and the embeddings lie in a narrow cone, but positives and negatives "
    "move apart: a young run that starts so recovers."
)
LOOKS = 100  # looks from which a run has a course worth a word
EPISODE = 4  # times the patience, likewise
GAPS = 400  # measured gaps kept; beyond, every other one


class Similarities(Protocol):
    """What ``return_stats=True`` gives: :class:`ntxent.functional.ContrastiveStats`."""

    @property
    def positive_similarity(self) -> SupportsFloat: ...

    @property
    def negative_similarity(self) -> SupportsFloat: ...


class HealthMonitor:
    """Says where a loss stands, every few steps, and warns in words once for each episode.

    A number is read from the device only at the steps that are looked at: one wait for each of the
    values given, every ``every_n_steps`` steps. What is warned of:

    - a value that no loss can have: NaN, infinite, negative, or beyond its limits;
    - collapse, as soon as training falls into it, or if it starts there, after ``patience`` steps,
      and not while the gap between positives and negatives grows;
    - no better than chance for ``patience`` steps;
    - the floor: nothing is left to gain at this temperature;
    - the course of the run, by the rules of ``diagnose`` on a log: rising, flat from the start,
      fell and rose again, diverged, each with the best step, from 100 looks and four times the
      patience on. ``trajectory()`` has all of it, ``sentences()`` in words.

    An episode is over when its condition has not been seen for ``patience`` steps.

    Args:
        batch_size: N, the positive pairs of a step, over all ranks whose negatives are used.
        temperature: tau.
        dim: d, the dimension of the embeddings; raises the floor where 2N is large against d.
        variant: A key of ``bounds.VARIANTS``.
        queue: Queued negatives, for moco.
        views: Views of each sample, for the NT-Xent shapes.
        negatives: Negatives that each query brings along, for InfoNCE and CLIP.
        normalized: Whether embeddings have unit length.
        every_n_steps: Steps from one look to the next.
        patience: Steps before chance, or collapse from the start, is worth a word.
        say: What a warning is given to, at once; all are kept in ``warnings`` as well.

    >>> monitor = HealthMonitor(batch_size=256, temperature=0.5, every_n_steps=1)
    >>> round(monitor.update(5.0)["position"], 3)
    0.38
    >>> monitor.update(5.0 - 0.7)["similarity_low"] > 0.8
    True
    >>> len(monitor.warnings)
    1
    """

    def __init__(
        self,
        batch_size: int,
        temperature: float,
        dim: int | None = None,
        variant: str = "nt_xent",
        *,
        queue: int | None = None,
        views: int = 2,
        negatives: int = 0,
        normalized: bool = True,
        every_n_steps: int = 10,
        patience: int = 100,
        say: Callable[[str], object] = _LOG.warning,
    ) -> None:
        for name, steps in (("every_n_steps", every_n_steps), ("patience", patience)):
            if steps < 1:
                raise ValueError(f"{name}: received {steps}, expected an integer >= 1")
        self.convention = Convention(
            batch_size, temperature, variant, queue, dim, views, negatives, normalized
        )
        self.convention.limits()  # refuses what has none
        self.every_n_steps = every_n_steps
        self.patience = patience
        self.say = say
        self.step = 0
        self.warnings: list[str] = []
        self._first_look: int | None = None
        self._episodes: dict[str, _Episode] = {}
        self._gaps: list[float] = []
        self._history = History()
        self._course = ""
        self._judged_at = 0

    def due(self, step: int) -> bool:
        """Whether that step, the first being 1, is looked at."""
        return step > 0 and step % self.every_n_steps == 0

    def update(
        self,
        loss: SupportsFloat,
        stats: Similarities | None = None,
        *,
        step: int | None = None,
        batch_size: int | None = None,
        temperature: SupportsFloat | None = None,
    ) -> dict[str, float]:
        """Take one step's loss; where it is due, judge it and return plain numbers, else nothing.

        Args:
            loss: As the implementation reports it, a number or a 0-d tensor.
            stats: Its measured similarities; they tell collapse from chance.
            step: Number of the step, the first being 1; else one more than the last.
            batch_size: N of this step, where it differs, as in an incomplete last batch.
            temperature: tau of this step, where it is learnt.

        Returns:
            ``loss``, ``floor``, ``chance``, ``ceiling``, ``position``, and what the loss proves:
            ``similarity_low``, ``similarity_high``, ``top1_share``, ``gradient_bound``; with
            ``stats`` also ``positive_similarity``, ``negative_similarity``. What has no value, as
            the position of a NaN, is left out.
        """
        self.step = self.step + 1 if step is None else step
        if not self.due(self.step):
            return {}
        if self._first_look is None:
            self._first_look = self.step
        health = {"loss": _number(loss)}
        if stats is not None:
            health["positive_similarity"] = _number(stats.positive_similarity)
            health["negative_similarity"] = _number(stats.negative_similarity)
            self._gaps.append(health["positive_similarity"] - health["negative_similarity"])
            if len(self._gaps) > GAPS:
                del self._gaps[1::2]
        convention = self._convention(batch_size, temperature)
        self._remember(health["loss"], convention)
        try:
            found = diagnose_in(
                convention,
                health["loss"],
                health.get("positive_similarity"),
                health.get("negative_similarity"),
                search=False,
            )
        except ValueError as error:
            self._warn("refused", str(error))
            return health
        self._judge(found)
        self._judge_run()
        return health | _numbers(found)

    def _convention(self, batch_size: int | None, temperature: SupportsFloat | None) -> Convention:
        """That of one step."""
        changed: dict[str, Any] = {}
        if batch_size is not None:
            changed["batch_size"] = batch_size
        if temperature is not None:
            changed["temperature"] = _number(temperature)
        return replace(self.convention, **changed) if changed else self.convention

    def trajectory(self) -> Trajectory | None:
        """The run so far, as ``judge`` takes a log; None before a finite loss was seen.

        Where N or tau changes from step to step, as a learnt one does, the losses are those that
        have the same position at the stated N and tau.
        """
        loss = self._history.series()
        if not np.isfinite(loss.values).any():
            return None
        return judge_in(self.convention, loss)

    def sentences(self) -> tuple[str, ...]:
        """The course of the run so far, and what to do next, as ``ntxent diagnose`` says it."""
        run = self.trajectory()
        return () if run is None else run.sentences

    def _remember(self, loss: float, convention: Convention) -> None:
        if convention != self.convention:
            own, stated = convention.limits(), self.convention.limits()
            if own.chance > own.floor:
                position = (loss - own.floor) / (own.chance - own.floor)
                loss = stated.floor + position * (stated.chance - stated.floor)
        self._history.add(self.step, loss)

    def _judge_run(self) -> None:
        """Warn once of each course that asks for something else than the last value does."""
        first = self._first_look or 0
        long = self.step - first >= EPISODE * self.patience and len(self._history) >= LOOKS
        if not long or self.step - self._judged_at < self.patience:
            return
        self._judged_at = self.step
        run = self.trajectory()
        if run is None or run.course is None or not run.course.troubled:
            self._course = ""
            return
        said = any(episode.said for episode in self._episodes.values())
        if run.course.shape == self._course or (run.course.shape == "flat" and said):
            return  # of a flat run at chance or collapsed the value says why
        self._course = run.course.shape
        advice = [words for words in run.end.sentences if words.startswith("Next: ")]
        self.warnings.append(
            f"step {self.step}: {' '.join((*course_sentences(run), *advice[-1:]))}"
        )
        self.say(self.warnings[-1])

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which another monitor of the same settings continues."""
        return {
            "step": self.step,
            "first_look": self._first_look,
            "warnings": list(self.warnings),
            "gaps": list(self._gaps),
            "history": self._history.state_dict(),
            "course": self._course,
            "judged_at": self._judged_at,
            "episodes": {kind: asdict(episode) for kind, episode in self._episodes.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a :meth:`state_dict`: no warning is given twice, no episode forgotten."""
        self.step, self._first_look = state["step"], state["first_look"]
        self.warnings = list(state["warnings"])
        self._gaps = list(state.get("gaps", ()))
        self._history = History(state.get("history"))
        self._course, self._judged_at = state.get("course", ""), state.get("judged_at", 0)
        self._episodes = {kind: _Episode(**fields) for kind, fields in state["episodes"].items()}

    def _judge(self, found: Diagnosis) -> None:
        first, *middle, last = found.sentences
        if found.verdict == "impossible":
            self._warn("impossible", " ".join((first, *middle, last)))
        elif found.verdict in ("at_chance", "above_chance"):
            self._warn("chance", f"{first} {last}", self.patience)
        elif found.verdict == "collapsed" and recovers(np.array(self._gaps)):
            # A narrow cone that positives and negatives leave.
            self._warn("chance", RECOVERS, self.patience)
        elif found.verdict == "collapsed":
            # An untrained encoder may map all inputs to nearly one direction, and recover.
            since = self._episodes.get("collapsed", _Episode(self.step)).start
            self._warn("collapsed", f"{first} {last}", self.patience * (since == self._first_look))
        elif found.verdict in ("at_floor", "degenerate"):
            self._warn(found.verdict, f"{first} {last}")
        else:
            self._forget()

    def _warn(self, kind: str, words: str, after: int = 0) -> None:
        """Say it once its episode has lasted ``after`` steps."""
        self._forget(but=kind)
        episode = self._episodes.setdefault(kind, _Episode(self.step))
        episode.last = self.step
        if episode.said or self.step - episode.start < after:
            return
        episode.said = True
        since = f", since step {episode.start}" if episode.start < self.step else ""
        self.warnings.append(f"step {self.step}{since}: {words}")
        self.say(self.warnings[-1])

    def _forget(self, but: str | None = None) -> None:
        """End what is not seen now: at once if nothing was said of it yet, else with patience."""
        for kind, episode in list(self._episodes.items()):
            if kind != but and (not episode.said or self.step - episode.last >= self.patience):
                del self._episodes[kind]


@dataclass
class _Episode:
    start: int
    last: int = 0
    said: bool = False


def _number(value: SupportsFloat) -> float:
    """float(value), which warns of a tensor that has a gradient, as a loss does; item() does not"""
    read: Callable[[], SupportsFloat] | None = getattr(value, "item", None)
    return float(value if read is None else read())


def _numbers(found: Diagnosis) -> dict[str, float]:
    low, high = found.similarity_interval or (None, None)
    numbers = {
        "floor": found.floor,
        "chance": found.chance,
        "ceiling": found.ceiling,
        "position": found.position,
        "similarity_low": low,
        "similarity_high": high,
        "top1_share": found.top1_share,
        "gradient_bound": found.gradient_bound,
    }
    return {name: value for name, value in numbers.items() if value is not None}
