"""From a fitted model and prices to policies and frontiers."""

from jaxcascade.tuning.baselines import (
    Baseline,
    BayesianOptimisation,
    Chosen,
    Front,
    GridSearch,
    Mixture,
    SingleMixtures,
    bayesian_minimum,
)
from jaxcascade.tuning.candidates import (
    BEST_OF_ALL,
    BEST_SINGLE,
    COUNTED_PAIRS,
    POOL,
    RATIONAL_TUNING,
    THRESHOLDS,
    WITH_ABSTENTION,
    Method,
)
from jaxcascade.tuning.certificate import (
    CertifiedStopping,
    LossBounds,
    Prospects,
    certified_stopping,
    prospects,
    stopping_bounds,
)
from jaxcascade.tuning.chains import (
    Chains,
    subcascades,
)
from jaxcascade.tuning.choose import (
    choose_policies,
    query_losses,
)
from jaxcascade.tuning.corrections import (
    Bonferroni,
    Correction,
    FixedSequence,
    Holm,
)
from jaxcascade.tuning.evaluate import (
    Evaluation,
    evaluate,
    replay_policies,
)
from jaxcascade.tuning.frontier import (
    Bands,
    Frontier,
    HeldOut,
    Point,
)
from jaxcascade.tuning.guarantees import (
    Guarantees,
    RiskBounds,
    guarantees,
    risk_bounds,
)
from jaxcascade.tuning.mean_bounds import (
    Betting,
    ExactBinomial,
    HoeffdingBentkus,
    MeanBound,
    mean_bounds,
    mean_p_values,
)
from jaxcascade.tuning.polish import (
    Path,
    differentiable_thresholds,
    optimal_thresholds,
    polished_thresholds,
    threshold_loss,
)
from jaxcascade.tuning.prices import (
    break_even_prices,
    price_grid,
)
from jaxcascade.tuning.reference import (
    Reference,
    confidence_reference,
    confidence_scores,
)
from jaxcascade.tuning.risks import (
    AnsweredError,
    JointError,
    MeanCost,
    MeanLoss,
    Risk,
    dearest_paths,
)
from jaxcascade.tuning.scale import (
    spread_stopping,
    spread_thresholds,
)
from jaxcascade.tuning.stopping import (
    StoppingSolution,
    optimal_stopping,
)
from jaxcascade.tuning.storage import (
    load_frontier,
    save_frontier,
)
from jaxcascade.tuning.thresholds import (
    RationalTuning,
    ThresholdSolution,
    best_thresholds,
    rational_tuning,
    thresholds_of_each,
)
from jaxcascade.tuning.tune import (
    Tuned,
    tune,
)
from jaxcascade.tuning.verdict import (
    PriceRange,
    Verdict,
    dollars,
    verdict,
)

__all__ = [
    "BEST_OF_ALL",
    "BEST_SINGLE",
    "COUNTED_PAIRS",
    "POOL",
    "RATIONAL_TUNING",
    "THRESHOLDS",
    "WITH_ABSTENTION",
    "AnsweredError",
    "Bands",
    "Baseline",
    "BayesianOptimisation",
    "Betting",
    "Bonferroni",
    "CertifiedStopping",
    "Chains",
    "Chosen",
    "Correction",
    "Evaluation",
    "ExactBinomial",
    "FixedSequence",
    "Front",
    "Frontier",
    "GridSearch",
    "Guarantees",
    "HeldOut",
    "HoeffdingBentkus",
    "Holm",
    "JointError",
    "LossBounds",
    "MeanBound",
    "MeanCost",
    "MeanLoss",
    "Method",
    "Mixture",
    "Path",
    "Point",
    "PriceRange",
    "Prospects",
    "RationalTuning",
    "Reference",
    "Risk",
    "RiskBounds",
    "SingleMixtures",
    "StoppingSolution",
    "ThresholdSolution",
    "Tuned",
    "Verdict",
    "bayesian_minimum",
    "best_thresholds",
    "break_even_prices",
    "certified_stopping",
    "choose_policies",
    "confidence_reference",
    "confidence_scores",
    "dearest_paths",
    "differentiable_thresholds",
    "dollars",
    "evaluate",
    "guarantees",
    "load_frontier",
    "mean_bounds",
    "mean_p_values",
    "optimal_stopping",
    "optimal_thresholds",
    "polished_thresholds",
    "price_grid",
    "prospects",
    "query_losses",
    "rational_tuning",
    "replay_policies",
    "risk_bounds",
    "save_frontier",
    "spread_stopping",
    "spread_thresholds",
    "stopping_bounds",
    "subcascades",
    "threshold_loss",
    "thresholds_of_each",
    "tune",
    "verdict",
]
