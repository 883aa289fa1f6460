"""From a fitted model and prices to policies and frontiers."""

from jaxcascade.tuning.candidates import (
    BEST_OF_ALL,
    BEST_SINGLE,
    COUNTED_PAIRS,
    POOL,
    RATIONAL_TUNING,
    THRESHOLDS,
    Method,
)
from jaxcascade.tuning.choose import (
    choose_policies,
    query_losses,
)
from jaxcascade.tuning.evaluate import (
    Evaluation,
    evaluate,
    replay_policies,
)
from jaxcascade.tuning.frontier import (
    Frontier,
    HeldOut,
    Point,
)
from jaxcascade.tuning.prices import (
    break_even_prices,
    price_grid,
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
    Chains,
    RationalTuning,
    ThresholdSolution,
    best_thresholds,
    rational_tuning,
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
    "Chains",
    "Evaluation",
    "Frontier",
    "HeldOut",
    "Method",
    "Point",
    "PriceRange",
    "RationalTuning",
    "StoppingSolution",
    "ThresholdSolution",
    "Tuned",
    "Verdict",
    "best_thresholds",
    "break_even_prices",
    "choose_policies",
    "dollars",
    "evaluate",
    "load_frontier",
    "optimal_stopping",
    "price_grid",
    "query_losses",
    "rational_tuning",
    "replay_policies",
    "save_frontier",
    "tune",
    "verdict",
]
