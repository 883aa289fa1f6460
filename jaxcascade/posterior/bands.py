"""How sure a frontier's recommendations are: intervals for each point, beside what was counted."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import Policy, Prices, loss, stack_policies
from jaxcascade.errors import UnknownModelError
from jaxcascade.posterior.frontiers import pointwise_band, policy_draws, simultaneous_band
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.tuning import Bands, Frontier


def with_bands(frontier: Frontier, posterior: Posterior, *, level: float = 0.9) -> Frontier:
    """Adds posterior intervals to a frontier.

    They hold for the joint model. Where a policy may ask three or more models, what the first ones
    said is forgotten, and predicted errors are too low: see `docs/posterior.md`.

    Args:
        frontier: See `tune`.
        posterior: Of the same records; see `infer`.
        level: Probability of each interval.

    Raises:
        UnknownModelError: The posterior is of other models.
    """
    models = posterior.frame.models
    if models != frontier.models:
        raise UnknownModelError(
            f"`posterior` must be of the frontier's models, {', '.join(frontier.models)}; it is of "
            f"{', '.join(models)}. Infer it from the records that the frontier was tuned on."
        )
    count = len(frontier.points)
    policies = [point.policy for point in frontier.points]
    singles = [Policy.single(point.best_single) for point in frontier.points]
    arrays = stack_policies([*policies, *singles], models)
    # One call for both: it builds the tables of each draw but once.
    both = policy_draws(posterior, arrays, frontier.calibrators)
    chosen, single = (
        jax.tree.map(lambda leaf, part=part: leaf[:, part], both)
        for part in (slice(count), slice(count, None))
    )
    prices = Prices(*map(jnp.array, zip(*(point.prices for point in frontier.points), strict=True)))
    losses, single_losses = (np.asarray(loss(outcome, prices)) for outcome in (chosen, single))
    same = np.array([policy == one for policy, one in zip(policies, singles, strict=True)])
    whole = simultaneous_band(losses, level)
    bands = Bands(
        level,
        *(_columns(part, level) for part in (chosen.error, chosen.cost_usd, losses)),
        whole_loss=np.stack([whole.low, whole.high], axis=1),
        beats_single=np.where(same, np.nan, np.mean(losses < single_losses, axis=0)),
    )
    return frontier._replace(bands=bands)


def _columns(draws: Float[Array | np.ndarray, "d p"], level: float) -> Float[np.ndarray, "p 3"]:
    return np.stack(pointwise_band(draws, level), axis=1)
