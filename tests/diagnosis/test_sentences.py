"""Every sentence is said by some loss or run, so that none is there in vain."""

import re

import numpy as np
import pytest

from ntxent import bounds
from ntxent.diagnosis import Series, diagnose, judge
from ntxent.diagnosis.sentences import SENTENCES

N, TAU = 256, 0.2
LIMITS = bounds.limits("nt_xent", N, TAU)
X = np.linspace(0, 1, 400)


def run(positions, **options):
    noise = 0.003 * np.random.default_rng(0).standard_normal(len(positions))
    losses = LIMITS.floor + (np.asarray(positions) + noise) * (LIMITS.chance - LIMITS.floor)
    return judge(Series(np.arange(len(positions)) * 10.0, losses), N, TAU, **options)


def at(position, limits=LIMITS):
    return float(limits.floor + position * (limits.chance - limits.floor))


def measured(values):
    return Series(np.arange(400) * 10.0, np.asarray(values) + np.zeros(400))


def said():
    """The sentences of losses and runs of every kind, joined, by verdict."""
    course = {
        "rising": 0.3 * X,
        "fell": np.where(X < 0.3, 1 - 2 * X, 0.4 + 0.5 * (X - 0.3)),
        "diverged": np.where(X < 0.5, 1 - X, 1.0),
        "flat": np.ones(400),
    }
    runs = [
        run(x * (top - low) + low)
        for x in course.values()
        for low, top in (
            *((0.0, 1.0), (0.05, 1.0), (0.0, 0.1), (0.0, 1.2), (0.9, 1.25), (0.1, 0.7)),
            *((0.7, 1.0), (0.8, 1.3), (0.0, 0.15)),
        )
    ]
    finished = 0.3 + 0.7 * np.exp(-20 * X)
    runs += [run(finished), run(0.02 + 0.98 * np.exp(-20 * X))]
    cone = {"positive_similarity": measured(0.972 + 0.02 * X)}
    runs.append(run(np.full(400, 0.995), negative_similarity=measured(0.97), **cone))
    losses = [
        *(diagnose(at(x), N, TAU) for x in (-0.001, 0.05, 0.5, 1.0, 1.1)),
        *(diagnose(x, N, TAU, dim=64) for x in (at(1.05), 11.0)),
        *(diagnose(at(x), N, TAU, positive_similarity=1.0) for x in (0.01, 0.05, 0.15, 0.2)),
        diagnose(at(0.5), N, TAU, positive_similarity=0.9, negative_similarity=0.0),
        diagnose(at(0.05), N, TAU, positive_similarity=0.95, negative_similarity=0.0),
        diagnose(at(1.05), N, TAU, positive_similarity=0.1, negative_similarity=0.05),
        diagnose(at(1.0), N, TAU, positive_similarity=0.1, negative_similarity=0.1),
        diagnose(at(1.0), N, TAU, positive_similarity=0.99, negative_similarity=0.99),
        diagnose(at(0.5), N, TAU, positive_similarity=-0.9, negative_similarity=0.0),
        diagnose(0.95 * LIMITS.ceiling, N, TAU),
        diagnose(0.0, 64, 0.07),
        diagnose(0.0, 64, 0.5),
        *(diagnose(x, 1, 0.5) for x in (0.0, 3.0)),
        *(diagnose(x, 512, 0.5) for x in (4.844, 11.0, 2000.0)),
        diagnose(6.93, 512, 30.0),
        diagnose(5.545, 128, 0.5),
        diagnose(4.8442, 512, 5.0),
        *(diagnose(float(np.log(2 * k - 1)), N, 0.1, classes=N // k) for k in (4, 8, 16)),
    ]
    for size in (128,):
        for tau in (0.1, 0.5):
            limits = bounds.limits("nt_xent", size, tau)
            for hit in (np.log(2 * size), np.log(size), np.log(size - 1), 2 * np.log(size - 0.5)):
                if limits.floor <= hit <= limits.ceiling:
                    losses.append(diagnose(float(hit), size, tau))
                    losses.append(diagnose(float(hit), 4 * size, tau))
    words = {}
    for found in (*losses, *(one.end for one in runs)):
        words.setdefault(found.verdict, []).extend(found.sentences)
    return {verdict: " ".join(lines) for verdict, lines in words.items()}


SAID = said()
TEXTS = dict.fromkeys(line.text for lines in SENTENCES.values() for line in lines)


@pytest.mark.parametrize("text", list(TEXTS), ids=lambda text: text[:40])
def test_each_sentence_is_said_where_it_belongs(text):
    form = re.sub(r"\\{\w+(?::[^{}]*)?\\}", ".+?", re.escape(text).replace("\\:", ":"))
    assert any(re.search(form, words) for words in SAID.values()), text
