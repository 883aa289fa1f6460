"""Several raters, one decision: costs of actions, pooled likelihoods, what to ask next."""

from jaxcascade.decisions.costs import Costs, Decision, cost_matrix, decide
from jaxcascade.decisions.pools import RULES, belief, log_likelihood_of_ratings, pooled
from jaxcascade.decisions.sequential import (
    STOP,
    Plan,
    Sources,
    outcome_number,
    screening_tests,
    sequential_plan,
    value_of_asking,
)

__all__ = [
    "RULES",
    "STOP",
    "Costs",
    "Decision",
    "Plan",
    "Sources",
    "belief",
    "cost_matrix",
    "decide",
    "log_likelihood_of_ratings",
    "outcome_number",
    "pooled",
    "screening_tests",
    "sequential_plan",
    "value_of_asking",
]
