"""The joint model, its fit, policies, and what they bring: expected, and on records."""

from jaxcascade.cascade.chain import (
    MarkovChain,
    chain_outcomes,
    edge_outcomes,
    grid_edges,
    markov_chain,
)
from jaxcascade.cascade.expectation import (
    expected_outcome,
    expected_outcomes,
)
from jaxcascade.cascade.fit import (
    CascadeFit,
    Observations,
    fit_cascade,
    fit_weighted,
    in_cost_order,
    observations,
    transforms,
)
from jaxcascade.cascade.integrals import (
    CERTIFIED,
    CHEAP,
    Quadrature,
    ThresholdTables,
    tabled_outcomes,
    threshold_tables,
)
from jaxcascade.cascade.model import (
    CascadeModel,
    calibrate,
)
from jaxcascade.cascade.outcome import (
    Outcome,
    Prices,
    loss,
)
from jaxcascade.cascade.policy import (
    ABSTAIN,
    ACCEPT,
    MISSING,
    Policy,
    PolicyArrays,
    Rule,
    stack_policies,
)
from jaxcascade.cascade.replay import (
    Replay,
    Route,
    mean_outcome,
    replay,
    replayable,
    replayed_outcomes,
    route,
)
from jaxcascade.cascade.storage import (
    load_model,
    save_model,
)

__all__ = [
    "ABSTAIN",
    "ACCEPT",
    "CERTIFIED",
    "CHEAP",
    "MISSING",
    "CascadeFit",
    "CascadeModel",
    "MarkovChain",
    "Observations",
    "Outcome",
    "Policy",
    "PolicyArrays",
    "Prices",
    "Quadrature",
    "Replay",
    "Route",
    "Rule",
    "ThresholdTables",
    "calibrate",
    "chain_outcomes",
    "edge_outcomes",
    "expected_outcome",
    "expected_outcomes",
    "fit_cascade",
    "fit_weighted",
    "grid_edges",
    "in_cost_order",
    "load_model",
    "loss",
    "markov_chain",
    "mean_outcome",
    "observations",
    "replay",
    "replayable",
    "replayed_outcomes",
    "route",
    "save_model",
    "stack_policies",
    "tabled_outcomes",
    "threshold_tables",
    "transforms",
]
