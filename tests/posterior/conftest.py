"""One small posterior that tests of what is made of it share."""

import jax
import numpy as np
import pytest

from jaxcascade.posterior import Laplace, Posterior, infer
from jaxcascade.records import Records, example_records

MODELS = ["llama3.1-8b", "llama3.1-70b", "gpt-4o"]


@pytest.fixture(scope="session")
def few_records() -> Records:
    """Three models on 120 queries."""
    return example_records("train").select(MODELS).take(np.arange(120))


@pytest.fixture(scope="session")
def posterior(few_records) -> Posterior:
    return infer(jax.random.key(0), few_records, method=Laplace(num_draws=200))
