import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.calibration import LogisticCalibrator, one_sided
from jaxcascade.cascade import CascadeModel, Outcome, Policy, Prices, Rule
from jaxcascade.copulas import Gumbel
from jaxcascade.marginals import BetaMixture, Marginal
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier, HeldOut, Point

ODD_NAMES = ("_small, <b>&amp;</b>", "大きい $x$", 'quote "large"')


def make_records(models: tuple[str, ...], n: int = 40, latency: bool = True) -> Records:
    rng = np.random.default_rng(1)
    shape = (n, len(models))
    confidence = rng.uniform(0.25, 1.0, shape)
    confidence[:, -1] = np.where(rng.uniform(size=n) < 0.3, 1.0, confidence[:, -1])
    cost = np.broadcast_to(10.0 ** np.arange(-5, len(models) - 5), shape).copy()
    return Records(
        queries=np.arange(n),
        models=models,
        log_confidence=np.log(confidence),
        correct=(rng.uniform(size=shape) < confidence).astype(float),
        cost_usd=cost,
        latency_s=np.full(shape, 0.5) if latency else None,
    )


def make_calibrators(k: int) -> LogisticCalibrator:
    column = jnp.ones((k, 1))
    return LogisticCalibrator(-jnp.ones(k), column, 0 * column, 4 * column, one_sided)


def make_outcome(k: int, error: float, cost_usd: float, abstention: float = 0.0) -> Outcome:
    shares = np.full(k, (1 - abstention) / k)
    means = [np.array(mean) for mean in (error, abstention, cost_usd, 0.5)]
    return Outcome(means[0], means[1], means[2], means[3], shares)


def make_frontier(models: tuple[str, ...], policies: list[Policy] | None = None) -> Frontier:
    """Four prices: a single model, two cascades with other thresholds, and one that gives up."""
    k, first, last = len(models), models[0], models[-1]
    if policies is None:
        fail_fast = {
            first: Rule((0.3, 0.7), ("abstain", last, "accept")),
            last: Rule((), ("accept",)),
        }
        cascades = [Policy.threshold_cascade([first, last], [t]) for t in (0.5, 0.6)]
        policies = [Policy.single(first), *cascades, Policy(first, fail_fast)]
    points = tuple(
        Point(
            Prices(1e-4 * 10.0**p, 0.0, np.inf),
            policy,
            "pool",
            make_outcome(k, 0.4 / (1 + p), 1e-5 * (1 + p)),
            make_outcome(k, 0.5 / (1 + p), 2e-5 * (1 + p), 0.1 * p),
            first,
        )
        for p, policy in enumerate(policies)
    )
    single_loss = np.arange(1.0, len(points) + 1)
    held_out = HeldOut(0.9 * single_loss, single_loss, 0.05 * single_loss, 0.04)
    cost, latency = 10.0 ** np.arange(-5, k - 5), np.full(k, 0.5)
    return Frontier(models, cost, latency, make_calibrators(k), points, held_out)


def make_model(models: tuple[str, ...]) -> CascadeModel:
    """A joint model whose marginals end where the calibrators of `make_calibrators` do."""
    k = len(models)
    weights = jnp.full((k, 2), 0.5)
    mixture = BetaMixture(weights, jnp.ones((k, 2)) * jnp.array([2.0, 5.0]), weights * 4)
    low, high = jax.nn.sigmoid(-jnp.ones(k)), jax.nn.sigmoid(3 * jnp.ones(k))
    marginal = Marginal(low, high, jnp.zeros(k), jnp.full(k, 0.2), mixture)
    copula = Gumbel.from_tau(jnp.full((k, k), 0.4))
    return CascadeModel(models, jnp.ones(k), jnp.ones(k), make_calibrators(k), marginal, copula)


@pytest.fixture(scope="session")
def frontier() -> Frontier:
    return make_frontier(ODD_NAMES)


@pytest.fixture(scope="session")
def records() -> Records:
    return make_records(ODD_NAMES)


@pytest.fixture(scope="session")
def model() -> CascadeModel:
    return make_model(ODD_NAMES)
