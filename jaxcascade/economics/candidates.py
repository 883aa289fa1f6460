"""What a frontier offers to choose from: its policies, and single models."""

import numpy as np

from jaxcascade.cascade import Policy
from jaxcascade.economics.ledger import Ledger, policy_ledger
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier, Point


def frontier_systems(frontier: Frontier) -> dict[str, Policy]:
    """Returns the candidates: single models and the distinct policies of a frontier, in words."""
    found = {name: Policy.single(name) for name in frontier.models}
    for number, point in enumerate(frontier.points):
        if point.policy not in found.values():
            name = point.policy.describe()
            # Words round thresholds, so that two policies may read alike.
            found[f"{name} (point {number})" if name in found else name] = point.policy
    return found


def recommended_system(frontier: Frontier, point: Point) -> str:
    """Returns the name that the policy of a frontier's point has in `frontier_systems`."""
    named = frontier_systems(frontier).items()
    return next(name for name, policy in named if policy == point.policy)


def candidate_ledger(frontier: Frontier, records: Records) -> Ledger:
    """Makes the ledger of all recorded single models and of a frontier's distinct policies.

    Args:
        frontier: See `tune`.
        records: Labelled runs.

    Returns:
        Systems are named by their policy in words, see `frontier_systems`.

    Raises:
        UnknownModelError: The records lack a model that a policy asks.
    """
    arranged = frontier.arrange(records)
    confidence = np.asarray(frontier.calibrate(records))
    systems = frontier_systems(frontier)
    for name, runs in zip(frontier.models, (arranged.asked & arranged.labelled).T, strict=True):
        if not runs.any():
            del systems[name]
    return policy_ledger(arranged, confidence, systems)
