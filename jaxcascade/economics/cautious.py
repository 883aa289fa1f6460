"""How surely a mixture stays within limits, and mixtures that do so with a given probability."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome, Prices
from jaxcascade.economics.budgets import Allocation, SystemMixture, best_within
from jaxcascade.economics.limits import Limits, limited_quantities
from jaxcascade.errors import InfeasibleError, InvalidInputError

_MOST_DEVIATIONS = 16.0
_HALVINGS = 10
_SAME = 1e-9


def chance_within(
    mixture: SystemMixture,
    systems: Sequence[str],
    draws: Outcome,
    limits: Limits,
    late: Float[np.ndarray, "d s"] | None = None,
) -> dict[str, float]:
    """Returns the probability that a mixture stays within each limit, and within "all" of them.

    Args:
        mixture: See `best_within`. If it was chosen on the same queries, its means there are
            flattering, and so are these probabilities.
        systems: Names of the draws' systems.
        draws: Of the means, leading axes (draws, systems), as from `bootstrap_outcomes`.
        limits: Upper limits.
        late: Share of late queries under each draw.
    """
    values, bounds = _mixed_quantities(mixture, systems, draws, limits, late)
    within = values <= bounds[:, None] + _SAME * np.abs(values)
    each = {name: float(row.mean()) for name, row in zip(limits.given(), within, strict=True)}
    return each | {"all": float(within.all(axis=0).mean())}


def cautious_within(
    systems: Sequence[str],
    draws: Outcome,
    limits: Limits,
    minimise: str | Prices = "cost_usd",
    late: Float[np.ndarray, "d s"] | None = None,
    chance: float = 0.9,
) -> Allocation:
    """Finds a mixture that stays within all limits at once with a given probability.

    All limits are tightened by the same number of standard deviations of what the plain optimum
    brings, the least that will do. That is safe under the draws, and not the best of all ways.

    Args:
        systems: Their names.
        draws: Of the means, leading axes (draws, systems).
        limits: See `Limits`.
        minimise: See `best_within`; on average over the draws.
        late: Share of late queries under each draw, where `limits.late` is given.
        chance: Probability, above 0 and below 1.

    Returns:
        The optimum for the tightened limits; its shadow prices and binding limits are those.

    Raises:
        InfeasibleError: The limits cannot be kept, or not so surely.
        InvalidInputError: See `best_within`.
    """
    if not 0.0 < chance < 1.0:
        raise InvalidInputError(f"`chance` must lie between 0 and 1; got {chance}.")
    plain = best_within(systems, draws, limits, minimise, late)
    values, bounds = _mixed_quantities(plain.mixture, systems, draws, limits, late)
    spread = values.std(axis=1)

    def attempt(deviations: float) -> tuple[Allocation, bool]:
        tighter = np.maximum(bounds - deviations * spread, 0.0).tolist()
        tightened = limits._replace(**dict(zip(limits.given(), tighter, strict=True)))
        try:
            found = best_within(systems, draws, tightened, minimise, late)
        except InfeasibleError as error:
            raise InfeasibleError(
                f"No mixture was found that is within the limits with a probability of "
                f"{chance:.0%}. With limits tightened by {deviations:.2g} standard deviations: "
                f"{error}"
            ) from None
        return found, chance_within(found.mixture, systems, draws, limits, late)["all"] >= chance

    best, sure = attempt(0.0)
    low = high = 0.0
    while not sure and high < _MOST_DEVIATIONS:
        low, high = high, max(2.0 * high, 0.5)
        best, sure = attempt(high)
    if high > 0.0:
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            found, sure = attempt(middle)
            low, high, best = (low, middle, found) if sure else (middle, high, best)
    return best


def _mixed_quantities(
    mixture: SystemMixture,
    systems: Sequence[str],
    draws: Outcome,
    limits: Limits,
    late: Float[np.ndarray, "d s"] | None,
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
    used = [list(systems).index(name) for name in mixture.systems]
    values, bounds = limited_quantities(draws, limits, late)
    return values[..., used] @ mixture.shares, bounds
