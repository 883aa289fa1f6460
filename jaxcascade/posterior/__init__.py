"""Posteriors of the joint model: how sure is a threshold, a frontier, a choice?"""

from jaxcascade.posterior.bands import (
    with_bands,
)
from jaxcascade.posterior.evidence import (
    Evidence,
    Frame,
    has_one_signal,
)
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
from jaxcascade.posterior.priors import (
    Priors,
)
from jaxcascade.posterior.tables import (
    draw_tables,
    shared_grid,
)

__all__ = [
    "Band",
    "BayesFrontier",
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
    "draw_tables",
    "frontier_draws",
    "has_one_signal",
    "infer",
    "infer_evidence",
    "labels_worth",
    "look",
    "pointwise_band",
    "policy_draws",
    "shared_grid",
    "simultaneous_band",
    "value_of_labels",
    "with_bands",
]
