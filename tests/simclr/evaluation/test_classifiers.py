"""Probes against independent implementations, and intervals against their definitions."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from ntxent.simclr.evaluation.classifiers import knn, linear, linear_by_sgd, standardise


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    train, test = standardise(pixels[:1300], pixels[1300:])
    return train, labels[:1300], test, labels[1300:]


@pytest.mark.parametrize("temperature", [None, 0.1, 1.0])
@pytest.mark.parametrize("neighbors", [1, 5, 20])
def test_knn_votes_as_scikit_learns(digits, neighbors, temperature):
    train, labels, test, _ = digits

    def weights(distance):
        return np.exp((1 - distance) / temperature)

    weights = "uniform" if temperature is None else weights
    theirs = KNeighborsClassifier(neighbors, metric="cosine", weights=weights).fit(train, labels)
    answers = knn(train, labels, test, neighbors, temperature)
    np.testing.assert_array_equal(answers, theirs.predict(test))


def test_by_default_a_tenth_of_the_features_votes_up_to_200(digits):
    train, labels, test, _ = digits
    np.testing.assert_array_equal(knn(train, labels, test), knn(train, labels, test, 130))
    np.testing.assert_array_equal(
        knn(train[:5], labels[:5], test), knn(train[:5], labels[:5], test, 1)
    )


def test_a_tie_of_votes_goes_to_the_smallest_label():
    train = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    labels = np.array([7, 7, 3, 3])
    assert knn(train, labels, np.array([[1.0, 1.0]]), 4, None).tolist() == [3]


def test_sgd_comes_close_to_the_exact_solution(digits):
    train, labels, test, test_labels = digits
    exact = LogisticRegression(max_iter=2000).fit(train, labels).score(test, test_labels)
    answers = linear_by_sgd(train, labels, test)
    assert (answers == test_labels).mean() == pytest.approx(exact, abs=0.02)
    np.testing.assert_array_equal(answers, linear_by_sgd(train, labels, test))


def test_large_features_are_probed_by_sgd(digits, monkeypatch):
    train, labels, test, _ = digits
    exact = linear(train, labels, test)
    monkeypatch.setattr("ntxent.simclr.evaluation.classifiers.EXACT_VALUES", 100)
    by_sgd = linear(train, labels, test)
    np.testing.assert_array_equal(by_sgd, linear_by_sgd(train, labels, test))
    assert not np.array_equal(by_sgd, exact)


def test_probes_answer_with_the_labels_they_were_given(digits):
    train, labels, test, _ = digits
    shifted = labels * 3 - 4
    for probe in (linear, linear_by_sgd, lambda *a: knn(*a, neighbors=5)):
        np.testing.assert_array_equal(
            probe(train, shifted, test), probe(train, labels, test) * 3 - 4
        )
