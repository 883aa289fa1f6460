import mpmath as mp
import numpy as np
import pytest

from jaxcascade.calibration import log_odds, log_pair, one_sided, two_sided

P = [1e-300, 1e-9, 0.1, 0.4999999, 0.5, 0.5000001, 0.9, 1 - 1e-9, 1 - 2**-53]


def exact(transform, p):
    p = mp.mpf(p)
    return {
        one_sided: [-mp.log(1 - p)],
        two_sided: [-mp.log(2 * (1 - p)) if p >= 0.5 else mp.log(2 * p)],
        log_odds: [mp.log(p / (1 - p))],
        log_pair: [mp.log(p), -mp.log(1 - p)],
    }[transform]


@pytest.mark.parametrize("transform", [one_sided, two_sided, log_odds, log_pair])
def test_matches_arbitrary_precision(transform):
    with mp.workdps(60):
        # The input is the rounded logarithm, so the reference starts from that.
        logs = np.log(np.array(P))
        reference = [[float(v) for v in exact(transform, mp.exp(mp.mpf(x)))] for x in logs]
    np.testing.assert_allclose(transform(np.asarray(logs)), reference, rtol=2e-14, atol=2e-16)


def test_two_sided_is_continuous_and_increasing_at_one_half():
    around = np.log(0.5) + np.array([-1e-12, 0.0, 1e-12])
    values = np.asarray(two_sided(around))[:, 0]
    assert np.all(np.diff(values) > 0)
    assert np.max(np.abs(values)) < 1e-11


@pytest.mark.parametrize("transform", [one_sided, two_sided, log_odds])
def test_certainty_is_infinite(transform):
    assert np.asarray(transform(np.array([0.0])))[0, 0] == np.inf
