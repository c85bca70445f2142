import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from ntxent.simclr.evaluation.scores import mean_score, wilson_score


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
