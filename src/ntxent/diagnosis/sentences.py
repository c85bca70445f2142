"""A diagnosis in words, as data: the explorer fills in the same sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from .course import Course
from .course import facts as course_facts
from .result import Diagnosis
from .verdict import AT_CHANCE, Verdict

SAME_VIEWS = 0.9999  # mean cosine of the positives that augmented views do not reach
NAMED = 3  # alternatives named in a sentence; all are in the table
DRAWS = 3  # standard deviations within which one batch of random embeddings lies
EQUAL = 0.05  # of the position, within which a loss is that of equal samples
UNRESOLVED = 0.1  # nats between floor and chance that logged decimals hardly resolve


class Line(NamedTuple):
    """A sentence, said where all of ``when`` are true; ``not x`` is true where x is not.

    Its text is a format string over the facts of a diagnosis.
    """

    text: str
    when: tuple[str, ...] = ()


PHRASES = {
    "stated": "{variant} with N = {batch_size}, τ = {temperature:g}",
    "stated_queue": "{variant} with N = {batch_size}, K = {queue}, τ = {temperature:g}",
    "stated_views": "{variant} with N = {batch_size}, V = {views}, τ = {temperature:g}",
    "stated_negatives": "{variant} with N = {batch_size}, K = {negatives}, τ = {temperature:g}",
    "hit": "{convention}: {chance:.4f}",
    "positives": "positives {similarity:.3f}",
    "negatives": "negatives {similarity:.3f}",
}

_CERTIFIED = (
    Line(
        "The loss alone proves that the positive pairs have a mean cosine of at least {low:.3f} "
        "and at most {high:.3f}.",
        ("proves_low", "proves_high"),
    ),
    Line(
        "The loss alone proves that the positive pairs have a mean cosine of at least {low:.3f}.",
        ("proves_low", "not proves_high"),
    ),
    Line(
        "The loss alone proves that the positive pairs have a mean cosine of at most {high:.3f}.",
        ("proves_high", "not proves_low"),
    ),
    Line(
        "Together with the measured negatives it proves at least {low_measured:.3f}.",
        ("proves_measured",),
    ),
)
_ZERO = Line(
    "A loss of exactly 0 is what remains where no negatives reach it: one pair a rank, everything "
    "masked, an empty list. Next: print how many candidates a row has, before anything else.",
    ("zero",),
)
_ADVICE = (
    Line(
        "Next: find what drives the loss up: a similarity with the wrong sign, a learning rate too "
        "high, views that are not pairs, a temperature that is learnt or scheduled. Its value says "
        "little while it rises.",
        ("rising",),
    ),
    Line(
        "Next: take the checkpoint of step {best_step:g}, and look for what changed after it: the "
        "learning rate, the data, another loss that took over.",
        ("fell_then_rose",),
    ),
    Line(
        "Next: go back to a checkpoint before the rise; lower the learning rate, add warm-up, clip "
        "gradients, and look for overflow in half precision.",
        ("diverged",),
    ),
    Line(
        "Next: check that the optimiser has the encoder's parameters, that gradients reach them "
        "(nothing is detached or frozen), and the learning rate: a run that learns leaves its "
        "first value within an epoch.",
        ("flat",),
    ),
)
_EQUAL = (
    Line(
        "With {classes} classes a batch has about {equal_samples:.3g} samples of each, and an "
        "encoder for which those are equal a loss of {equal_loss:.4g}, about this one: what is "
        "left may be false negatives or duplicates, not a lack of training. Next: give the loss "
        "ids= (one for each class or distinct sample), which takes them out of the negatives; "
        "ntxent analyze counts them.",
        ("equal",),
    ),
    Line(
        "Where {held_at:.2g} samples of a batch are equal each (duplicates, captions or labels "
        "that repeat), no encoder gets below this value: ntxent analyze counts them, and ids= "
        "takes them out of the negatives.",
        ("not equal", "finished", "held"),
    ),
)
# In the study this found every run without augmentation at its first step, and no other.
_SAME_VIEWS = Line(
    "The two views of every image agree perfectly: the augmentation may be missing, and then the "
    "encoder learns next to nothing.",
    ("same_views",),
)
_EXACT_HIT = Line(
    "To three decimals it is the chance level of another convention, which is rarely an accident: "
    "{hits}. Check whether that is what the code computes.",
    ("hits",),
)

SENTENCES: dict[Verdict, tuple[Line, ...]] = {
    "impossible": (
        Line(
            "{stated} can have a loss of {loss:.4g}, but not with the measured similarities: loss, "
            "N, τ and similarities do not belong to the same batch and convention.",
            ("within",),
        ),
        Line(
            "No unit embeddings have a loss of {loss:.4g} under {stated}: its range is "
            "{floor:.4g} to {ceiling:.4g}.",
            ("not within",),
        ),
        _ZERO,
        Line(
            "Rows without unit length have neither floor nor ceiling: check that embeddings are "
            "normalised, along the last axis, or ask with --unnormalized.",
            ("not within", "normalized"),
        ),
        Line(
            "It is possible under: {named}; and {others} more, listed as alternatives.",
            ("named", "others"),
        ),
        Line("It is possible under: {named}.", ("named", "not others")),
        _EXACT_HIT,
        Line(
            "Next: find out which of them the code computes, then ask again with those arguments."
        ),
    ),
    "at_floor": (
        _ZERO,
        Line(
            "The value is below the floor by no more than logging rounds.",
            ("below_floor", "not zero"),
        ),
        Line(
            "Next to nothing is left to gain: no embeddings get below {floor:.4g} at "
            "N = {batch_size}, τ = {temperature:g}. This is not a failure to converge.",
            ("not zero",),
        ),
        _SAME_VIEWS,
        *_CERTIFIED,
        _EXACT_HIT,
        Line(
            "Next: judge the encoder by a linear or kNN probe, not by this loss. To give the loss "
            "room: lower τ, raise N, or augment more strongly.",
            ("not troubled", "not zero"),
        ),
        *_ADVICE,
    ),
    "learning": (
        Line(
            "Training works: it is {done:.0%} of the way down from chance, {chance:.4g}, to the "
            "floor, {floor:.4g}.",
            ("not troubled",),
        ),
        Line(
            "Its end is {done:.0%} of the way down from chance, {chance:.4g}, to the floor, "
            "{floor:.4g}.",
            ("troubled",),
        ),
        _SAME_VIEWS,
        *_CERTIFIED,
        _EXACT_HIT,
        *_EQUAL,
        Line(
            "Next: keep training. Compare this value with runs of the same N, τ and augmentation "
            "only: across them neither the loss nor the position ranks encoders, a probe does "
            "(docs/study.md). If it stays here, try a longer schedule or another learning rate.",
            ("not troubled", "not finished", "not equal"),
        ),
        Line(
            "Next: judge the encoder by a linear or kNN probe on held-out data: the loss and the "
            "position do not rank encoders of other N, τ or augmentation (docs/study.md). Where "
            "the probe is too low, change those, the encoder or the length of the schedule: going "
            "on from here gains little.",
            ("not troubled", "finished"),
        ),
        *_ADVICE,
    ),
    "at_chance": (
        Line(
            "This is chance, {chance:.4g}: the embeddings tell the positive from the other "
            "candidates no better than guessing."
        ),
        Line(
            "Mind that τ = {temperature:g} leaves only {span:.2g} between floor and chance: log "
            "more decimals, or lower τ.",
            ("unresolved",),
        ),
        _EXACT_HIT,
        Line(
            "The loss alone cannot tell why: all embeddings equal (collapse), logits all near 0 "
            "(normalised along the wrong axis), a wrong mask or pairing of positives, or a "
            "learning rate so high that the encoder was destroyed. In the first steps it is "
            "normal.",
            ("not measured",),
        ),
        Line(
            "Next: measure the mean cosine of positives and of negatives. Both near 1: collapse. "
            "Both near 0: logits or pairing. Positives clearly higher: the mask.",
            ("not measured",),
        ),
        Line(
            "The measured similarities exclude collapse. Next: check that row i of both views is "
            "the same image, that the mask keeps positives and drops self, that embeddings are "
            "normalised along the last axis, and the learning rate.",
            ("measured", "not recovers"),
        ),
        Line(
            "The embeddings lie in a narrow cone, but positives and negatives move apart: a young "
            "run that starts so recovers. Next: wait for a tenth of the training before you judge.",
            ("recovers",),
        ),
        *_ADVICE,
    ),
    "collapsed": (
        Line(
            "Collapse: the loss is chance, {chance:.4g}, and the mean cosine is high ({measured}): "
            "all embeddings point the same way."
        ),
        Line(
            "Likely causes: a learning rate too high or no warm-up, positives that are not pairs "
            "(the views shuffled apart), dead units before the loss, too strong weight decay, a "
            "batch norm that runs per view or in evaluation mode."
        ),
        Line(
            "Next: restart with a lower learning rate; a collapsed encoder has almost no gradient."
        ),
    ),
    "above_chance": (
        Line(
            "Worse than guessing, {chance:.4g}: some negatives are more similar than their "
            "positives."
        ),
        *_CERTIFIED,
        _EXACT_HIT,
        Line(
            "Early in training at a low τ this is normal, since random embeddings have such a "
            "loss. Give the dimension to compare.",
            ("not random",),
        ),
        Line(
            "Random embeddings in d = {dim} have about {random:.4g}, one batch ± "
            "{random_spread:.2g}: in the first steps such a loss is normal.",
            ("random", "like_random"),
        ),
        Line(
            "Even random embeddings in d = {dim} have only about {random:.4g}, one batch ± "
            "{random_spread:.2g}: positives are pushed apart.",
            ("random", "not like_random"),
        ),
        Line(
            "Next: if it stays after warm-up, check the pairing of the views, the sign of the "
            "similarity, stale or duplicate negatives, and the learning rate."
        ),
        *_ADVICE,
    ),
    "degenerate": (
        Line(
            "N = 1 has no negatives: the positive is the only candidate, the loss is 0 for all "
            "embeddings and so is its gradient."
        ),
        Line("A loss of {loss:.4g} is possible under: {named}.", ("named",)),
        Line("Next: raise the batch size, gather negatives from all ranks, or use a queue."),
    ),
}


def facts(found: Diagnosis, course: Course | None = None) -> dict[str, Any]:
    """What the sentences are filled with; ``diagnosis.js`` computes the same facts."""
    known: dict[str, Any] = {
        name: getattr(found, name)
        for name in (
            *("loss", "batch_size", "temperature", "variant", "queue", "dim"),
            *("floor", "chance", "ceiling", "random", "random_spread", "views", "negatives"),
            "normalized",
        )
    }
    low, high = found.loss_interval or (-1.0, 1.0)
    measured, _ = found.similarity_interval or (-1.0, 1.0)
    similarities = {"positives": found.positive_similarity, "negatives": found.negative_similarity}
    kind = "" if found.queue is None else "_queue"
    kind = "_views" if found.views != 2 else "_negatives" if found.negatives else kind
    stated = PHRASES[f"stated{kind}"]
    hits = [alternative for alternative in found.alternatives if alternative.exactly_chance]
    random = found.random
    return (
        known
        | course_facts(course)
        | {
            "stated": stated.format(**known),
            "within": found.floor <= found.loss <= found.ceiling,
            "below_floor": found.loss < found.floor,
            "named": "; ".join(a.convention for a in found.alternatives[:NAMED]),
            "others": max(0, len(found.alternatives) - NAMED),
            "hits": "; ".join(
                PHRASES["hit"].format(convention=a.convention, chance=a.chance)
                for a in hits[:NAMED]
            ),
            "low": low,
            "high": high,
            "proves_low": low > -1,
            "proves_high": high < 1,
            "low_measured": measured,
            "proves_measured": measured > low,
            "same_views": (found.positive_similarity or 0) >= SAME_VIEWS,
            "done": 1 - (found.position or 0),
            "span": found.chance - found.floor,
            "unresolved": found.chance - found.floor < UNRESOLVED,
            "measured": ", ".join(
                PHRASES[name].format(similarity=value)
                for name, value in similarities.items()
                if value is not None
            ),
            "like_random": random is not None
            and found.loss
            <= random + AT_CHANCE * (random - found.floor) + DRAWS * (found.random_spread or 0),
            "zero": found.loss == 0 and found.chance > 0,
        }
        | _equal(found)
    )


def _equal(found: Diagnosis) -> dict[str, Any]:
    near = EQUAL * (found.chance - found.floor)
    samples, loss = found.equal or (0.0, -math.inf)
    return {
        "classes": found.classes,
        "equal": abs(found.loss - loss) <= near < loss - found.floor,
        "equal_samples": samples,
        "equal_loss": loss,
        "held_at": found.held_at,
        "held": (found.held_at or 0) >= 1.5,
    }


def filled(lines: tuple[Line, ...], known: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of the lines whose conditions the facts meet."""

    def holds(name: str) -> bool:
        return not known[name[4:]] if name.startswith("not ") else bool(known[name])

    return tuple(line.text.format(**known) for line in lines if all(map(holds, line.when)))


def sentences(
    found: Diagnosis, course: Course | None = None, recovers: bool = False
) -> tuple[str, ...]:
    """What a value means, likely causes, what to do next; of a run's end, with its course."""
    known = facts(found, course) | {"recovers": recovers}
    return filled(SENTENCES[found.verdict], known)
