"""What priors move: those that data speak to little, and nothing else."""

import jax
import numpy as np
import pytest

from jaxcascade.cascade import Prices
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Laplace
from jaxcascade.posterior.sensitivity import sensitivity

PRICES = Prices(np.array([0.001, 0.01]), 0.0, np.inf)


@pytest.fixture(scope="module")
def found(posterior):
    return sensitivity(
        jax.random.key(0),
        posterior,
        PRICES,
        names=("gap_scale", "tau_strength", "history_scale"),
        factors=(1.0, 20.0),
        method=Laplace(num_draws=200),
        num_cells=16,
    )


@pytest.mark.slow
def test_a_factor_of_one_changes_nothing(found):
    assert found.changes[:3] == (("", 1.0), ("gap_scale", 1.0), ("gap_scale", 20.0))
    for row in (1, 3, 5):
        assert max(values[row] for values in found.shift.values()) < 1e-6
        np.testing.assert_allclose(found.regret[row], 0.0, atol=1e-9)
        np.testing.assert_allclose(found.loss[row], 0.0, atol=1e-9)


@pytest.mark.slow
def test_a_prior_moves_its_own_parameter_most(found):
    strong = 4
    assert found.changes[strong] == ("tau_strength", 20.0)
    assert found.shift["tau"][strong] > 0.3
    assert found.shift["intercept"][strong] < 1e-6
    wide = 6
    assert found.spread["history"][wide] > 1.05
    assert found.shift["tau"][wide] < 1e-6


@pytest.mark.slow
def test_regret_is_never_a_gain_beyond_the_approximation(found):
    assert found.regret.min() > -1e-3
    assert found.thresholds.shape == (7, 2, 3)
    assert len(found.worst(2)) == 2


def test_bad_requests(posterior):
    with pytest.raises(InvalidInputError, match=r"`names`.*gap_scale.*magic"):
        sensitivity(jax.random.key(0), posterior, PRICES, names=("magic",))
    for factors in ((), (0.0,), (np.nan,)):
        with pytest.raises(InvalidInputError, match="`factors`"):
            sensitivity(jax.random.key(0), posterior, PRICES, factors=factors)
