"""What answers are worth: prices, break-even, budgets, abstention, people, segments, drift."""

from jaxcascade.economics.baseline import (
    baseline_table,
)
from jaxcascade.economics.best_system import (
    Choice,
    PriceMap,
    best_system,
    price_map,
)
from jaxcascade.economics.bootstrap import (
    bootstrap_outcomes,
    bootstrap_weights,
)
from jaxcascade.economics.break_even import (
    BreakEven,
    FiellerInterval,
    break_even,
    break_even_of_draws,
    break_even_price,
    break_even_steps,
    fieller_interval,
)
from jaxcascade.economics.budgets import (
    Allocation,
    SystemMixture,
    best_within,
    late_share,
    mixed,
)
from jaxcascade.economics.candidates import (
    candidate_ledger,
    frontier_systems,
    recommended_system,
)
from jaxcascade.economics.cascade_error import (
    CascadeError,
    cascade_error,
    cascade_error_draws,
)
from jaxcascade.economics.cautious import (
    cautious_within,
    chance_within,
)
from jaxcascade.economics.deferral import (
    DeferralCurve,
    deferral_curve,
)
from jaxcascade.economics.drags import (
    Drag,
    cost_drag,
    latency_drag,
)
from jaxcascade.economics.drift import (
    Monitoring,
    Watch,
    monitor,
)
from jaxcascade.economics.elicitation import (
    BeliefChoice,
    LogNormalPrice,
    PriceBelief,
    best_under_belief,
    lognormal_from_quantiles,
    price_of_error_by_bayes,
)
from jaxcascade.economics.frontier_budgets import (
    within_budget,
)
from jaxcascade.economics.frontier_map import (
    RECOMMENDED,
    FrontierMap,
    frontier_map,
)
from jaxcascade.economics.hull import (
    Hull,
    budget_hull,
)
from jaxcascade.economics.human import (
    ask_policy,
    confidence_from_tokens,
    fail_fast_policy,
)
from jaxcascade.economics.human_curves import (
    LoopCurves,
    loop_curves,
)
from jaxcascade.economics.human_tables import (
    drag_table,
    savings_table,
)
from jaxcascade.economics.ledger import (
    Ledger,
    policy_ledger,
    router_ledger,
    single_ledger,
)
from jaxcascade.economics.limits import (
    Limits,
)
from jaxcascade.economics.local_lines import (
    LocalLinear,
    local_linear,
)
from jaxcascade.economics.optimum import (
    RuleComparison,
    compare_rules,
)
from jaxcascade.economics.pricing import (
    base_cost,
    check_priceable,
)
from jaxcascade.economics.reasoning import (
    DEEPSEEK_R1,
    LLAMA_405B,
    O3,
    QWEN3_235B,
    SimulatedModel,
    expected_drags,
    simulated_records,
    token_confidence_correlation,
)
from jaxcascade.economics.rejection import (
    Auarc,
    RejectionCurve,
    auarc,
    error_given_answered,
    rejection_curve,
)
from jaxcascade.economics.reviewers import (
    AccuracyDrag,
    Human,
    accuracy_drag,
    mean_doubt,
    with_human,
)
from jaxcascade.economics.segment_frontier import (
    SegmentFrontier,
    SegmentPoint,
    segment_frontier,
    segment_table,
)
from jaxcascade.economics.segments import Segments, segments
from jaxcascade.economics.self_knowledge import (
    SelfKnowledge,
    self_knowledge,
)
from jaxcascade.economics.sharing import (
    LossFromSharing,
    SegmentChoice,
    choose_per_segment,
    loss_from_sharing,
)
from jaxcascade.economics.staffing import (
    Staffing,
    affordable_share,
    reviewers_needed,
)

__all__ = [
    "DEEPSEEK_R1",
    "LLAMA_405B",
    "O3",
    "QWEN3_235B",
    "RECOMMENDED",
    "AccuracyDrag",
    "Allocation",
    "Auarc",
    "BeliefChoice",
    "BreakEven",
    "CascadeError",
    "Choice",
    "DeferralCurve",
    "Drag",
    "FiellerInterval",
    "FrontierMap",
    "Hull",
    "Human",
    "Ledger",
    "Limits",
    "LocalLinear",
    "LogNormalPrice",
    "LoopCurves",
    "LossFromSharing",
    "Monitoring",
    "PriceBelief",
    "PriceMap",
    "RejectionCurve",
    "RuleComparison",
    "SegmentChoice",
    "SegmentFrontier",
    "SegmentPoint",
    "Segments",
    "SelfKnowledge",
    "SimulatedModel",
    "Staffing",
    "SystemMixture",
    "Watch",
    "accuracy_drag",
    "affordable_share",
    "ask_policy",
    "auarc",
    "base_cost",
    "baseline_table",
    "best_system",
    "best_under_belief",
    "best_within",
    "bootstrap_outcomes",
    "bootstrap_weights",
    "break_even",
    "break_even_of_draws",
    "break_even_price",
    "break_even_steps",
    "budget_hull",
    "candidate_ledger",
    "cascade_error",
    "cascade_error_draws",
    "cautious_within",
    "chance_within",
    "check_priceable",
    "choose_per_segment",
    "compare_rules",
    "confidence_from_tokens",
    "cost_drag",
    "deferral_curve",
    "drag_table",
    "error_given_answered",
    "expected_drags",
    "fail_fast_policy",
    "fieller_interval",
    "frontier_map",
    "frontier_systems",
    "late_share",
    "latency_drag",
    "local_linear",
    "lognormal_from_quantiles",
    "loop_curves",
    "loss_from_sharing",
    "mean_doubt",
    "mixed",
    "monitor",
    "policy_ledger",
    "price_map",
    "price_of_error_by_bayes",
    "recommended_system",
    "rejection_curve",
    "reviewers_needed",
    "router_ledger",
    "savings_table",
    "segment_frontier",
    "segment_table",
    "segments",
    "self_knowledge",
    "simulated_records",
    "single_ledger",
    "token_confidence_correlation",
    "with_human",
    "within_budget",
]
