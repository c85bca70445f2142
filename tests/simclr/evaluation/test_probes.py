import numpy as np
import pytest

from ntxent.simclr import EvaluationConfig
from ntxent.simclr.evaluation.probes import Probes

LABELS = np.repeat(np.arange(4), 10)
CONFIG = EvaluationConfig(labels_per_class=(1, 3), draws=4, neighbors=3)


def separable(generator):
    return np.eye(4)[LABELS] * 10 + generator.normal(scale=0.1, size=(len(LABELS), 4))


def test_separable_features_score_one():
    generator = np.random.default_rng(0)
    scores = Probes(LABELS, LABELS, CONFIG)(separable(generator), separable(generator))
    assert list(scores) == ["linear_1", "linear_3", "linear_all", "knn"]
    assert {score.mean for score in scores.values()} == {1.0}
    assert scores["linear_1"].sd == 0
    assert scores["linear_all"].sd is None


def test_features_without_information_score_at_chance():
    labels = np.tile(np.arange(4), 250)
    noise = np.random.default_rng(0).normal(size=(2, len(labels), 8))
    scores = Probes(labels, labels, CONFIG)(*noise)
    # 1000 images: the standard error of an accuracy of 1/4 is 0.014
    assert all(abs(score.mean - 0.25) < 0.05 for score in scores.values())


def test_every_representation_meets_the_same_labelled_images():
    evaluation = Probes(LABELS, LABELS, CONFIG)
    features = np.random.default_rng(0).normal(size=(2, len(LABELS), 8))
    assert evaluation(*features) == evaluation(*features)
    again = Probes(LABELS, LABELS, CONFIG)
    for measure, draws in evaluation.draws.items():
        count = int(measure.removeprefix("linear_"))
        assert len(draws) == 4
        for drawn, repeated in zip(draws, again.draws[measure], strict=True):
            np.testing.assert_array_equal(drawn, repeated)
            np.testing.assert_array_equal(np.bincount(LABELS[drawn]), [count] * 4)
            assert len(set(drawn)) == len(drawn)
    assert not np.array_equal(evaluation.draws["linear_3"][0], evaluation.draws["linear_3"][1])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EvaluationConfig(labels_per_class=(1, 11)), "labels_per_class: received 11, .* most 10"),
        (EvaluationConfig(neighbors=41), "neighbors: received 41, expected at most 40"),
    ],
)
def test_more_labels_than_images_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        Probes(LABELS, LABELS, config)


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
