"""Posteriors of the joint model: how sure is a threshold, a frontier, a choice?"""

from jaxcascade.posterior.bands import (
    with_bands,
)
from jaxcascade.posterior.diagnostics import (
    LIMITS,
    Diagnosis,
    diagnose,
)
from jaxcascade.posterior.drawing import Drawn
from jaxcascade.posterior.evidence import (
    Evidence,
    Frame,
    has_one_signal,
)
from jaxcascade.posterior.export import to_datatree
from jaxcascade.posterior.frontiers import (
    Band,
    BayesFrontier,
    FrontierDraws,
    bayes_frontier,
    frontier_draws,
    pointwise_band,
    policy_draws,
    simultaneous_band,
)
from jaxcascade.posterior.inference import (
    Laplace,
    Method,
    Nuts,
    Variational,
    infer,
    infer_evidence,
    look,
)
from jaxcascade.posterior.labels import (
    LabelsWorth,
    LabelValue,
    labels_worth,
    value_of_labels,
)
from jaxcascade.posterior.posterior import (
    Posterior,
)
from jaxcascade.posterior.predictive import (
    marginal_check,
    pair_check,
    posterior_predictive,
    prior_predictive,
    reliability_check,
)
from jaxcascade.posterior.priors import (
    Priors,
)
from jaxcascade.posterior.sensitivity import (
    sensitivity,
)
from jaxcascade.posterior.simulate import (
    prior_draws,
    simulate,
)
from jaxcascade.posterior.storage import load_posterior, save_posterior
from jaxcascade.posterior.tables import (
    draw_tables,
    shared_grid,
)

__all__ = [
    "LIMITS",
    "Band",
    "BayesFrontier",
    "Diagnosis",
    "Drawn",
    "Evidence",
    "Frame",
    "FrontierDraws",
    "LabelValue",
    "LabelsWorth",
    "Laplace",
    "Method",
    "Nuts",
    "Posterior",
    "Priors",
    "Variational",
    "bayes_frontier",
    "diagnose",
    "draw_tables",
    "frontier_draws",
    "has_one_signal",
    "infer",
    "infer_evidence",
    "labels_worth",
    "load_posterior",
    "look",
    "marginal_check",
    "pair_check",
    "pointwise_band",
    "policy_draws",
    "posterior_predictive",
    "prior_draws",
    "prior_predictive",
    "reliability_check",
    "save_posterior",
    "sensitivity",
    "shared_grid",
    "simulate",
    "simultaneous_band",
    "to_datatree",
    "value_of_labels",
    "with_bands",
]
