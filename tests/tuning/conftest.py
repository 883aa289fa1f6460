import jax
import numpy as np
import pytest

from jaxcascade.records import example_records
from jaxcascade.tuning import tune

MODELS = ("llama3.2-3b", "llama3.1-70b", "llama3.1-405b")
PRICES = np.array([5e-4, 9e-4, 6e-3, 1.3e-2, 0.1])  # a single, pairs, and a pool of actions


@pytest.fixture(scope="session")
def train():
    return example_records("train").select(MODELS)


@pytest.fixture(scope="session")
def test_records():
    return example_records("test").select(MODELS).take(np.arange(400))


@pytest.fixture(scope="session")
def tuned(train):
    return tune(jax.random.key(0), train, error_prices=PRICES)


@pytest.fixture(scope="session")
def frontier(tuned):
    return tuned.frontier
