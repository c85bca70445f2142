"""Probes against independent implementations, and intervals against their definitions."""

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from ntxent.simclr import EvaluationConfig
from ntxent.simclr.evaluation.classifiers import knn, linear, linear_by_sgd, standardise
from ntxent.simclr.evaluation.evaluate import confusion_matrix
from ntxent.simclr.evaluation.probes import Probes
from ntxent.simclr.evaluation.scores import mean_score, wilson_score


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    train, test = standardise(pixels[:1300], pixels[1300:])
    return train, labels[:1300], test, labels[1300:]


@pytest.mark.parametrize("neighbors", [1, 5, 20])
def test_knn_votes_as_scikit_learns(digits, neighbors):
    train, labels, test, _ = digits
    theirs = KNeighborsClassifier(neighbors, metric="cosine").fit(train, labels).predict(test)
    np.testing.assert_array_equal(knn(train, labels, test, neighbors), theirs)


def test_a_tie_of_votes_goes_to_the_smallest_label():
    train = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    labels = np.array([7, 7, 3, 3])
    assert knn(train, labels, np.array([[1.0, 1.0]]), 4).tolist() == [3]


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


@pytest.mark.parametrize(("right", "images"), [(0, 5), (3, 10), (450, 450), (77, 1000)])
def test_the_interval_of_one_probe_is_wilsons(right, images):
    theirs = binomtest(right, images).proportion_ci(0.95, method="wilson")
    score = wilson_score(right, images)
    assert score.mean == right / images
    assert (score.low, score.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_interval_of_several_draws_is_students():
    values = [0.5, 0.55, 0.7, 0.61]
    theirs = ttest_1samp(values, 0).confidence_interval(0.95)
    score = mean_score(values)
    assert (score.low, score.high) == pytest.approx((theirs.low, theirs.high))
    assert score.sd == pytest.approx(np.std(values, ddof=1))


def test_small_probes_take_a_share_of_each_class_and_at_least_one_image():
    labels = np.repeat([0, 1, 2], [100, 40, 3])
    config = EvaluationConfig(label_shares=(0.01, 0.1), draws=3)
    evaluation = Probes(labels, labels, config)
    # three images in the smallest class: of 1, 5 and 10 a class only 1 remains
    assert list(evaluation.draws) == ["linear_1", "linear_1%", "linear_10%"]
    for measure, counts in (("linear_1%", [1, 1, 1]), ("linear_10%", [10, 4, 1])):
        for drawn in evaluation.draws[measure]:
            assert np.bincount(labels[drawn]).tolist() == counts


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="received one class, expected at least two"):
        Probes(np.zeros(4, int), np.zeros(4, int), EvaluationConfig())


def test_rows_of_the_confusion_matrix_are_the_true_labels():
    matrix = confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 1]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [0, 1, 0]])
