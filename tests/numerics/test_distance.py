import numpy as np
import pytest
from scipy import stats

from jaxcascade.numerics.distance import cramer_von_mises


def test_matches_a_plain_loop_with_ties():
    sample = np.array([0.2, 0.5, 0.5, 0.9, 0.2, 0.7])
    cdf = stats.beta.cdf(sample, 2, 2)
    squares = [
        (np.mean(sample <= x) - stats.beta.cdf(x, 2, 2)) ** 2 for x in sample
    ]  # fmt: skip
    assert cramer_von_mises(sample, cdf) == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-14)


def test_is_near_scipys_statistic_without_ties():
    rng = np.random.default_rng(0)
    n = 2000
    sample = rng.beta(2, 3, n)
    theirs = np.sqrt(stats.cramervonmises(sample, stats.beta(2, 2.5).cdf).statistic / n)
    assert cramer_von_mises(sample, stats.beta.cdf(sample, 2, 2.5)) == pytest.approx(
        theirs, abs=1 / n
    )


def test_of_a_perfect_law_is_zero_and_of_the_true_law_small():
    sample = np.array([0.1, 0.4, 0.4, 0.8])
    assert cramer_von_mises(sample, np.array([0.25, 0.75, 0.75, 1.0])) == 0
    rng = np.random.default_rng(1)
    distances = [cramer_von_mises(u, u) for u in rng.random((200, 100))]
    # 0.4 / sqrt(n), as the docstring says: the mean of the statistic is 1 / 6.
    assert np.sqrt(np.mean(np.square(distances)) * 100) == pytest.approx(0.41, abs=0.06)


def test_order_does_not_matter():
    rng = np.random.default_rng(2)
    u = rng.random(50)
    turned = rng.permutation(50)
    assert cramer_von_mises(u, u**2) == pytest.approx(cramer_von_mises(u[turned], u[turned] ** 2))
