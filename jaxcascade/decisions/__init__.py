"""Several raters, one decision: likelihoods, beliefs, actions, and what to ask next."""

from jaxcascade.decisions.ablation import Contributions, leave_one_out, shapley, subsets
from jaxcascade.decisions.approximate import (
    RatioTest,
    expectimax,
    look_ahead_plan,
    myopic_plan,
    rollout_plan,
    sprt,
    sprt_plan,
)
from jaxcascade.decisions.audit import audit_ranks
from jaxcascade.decisions.audit_report import Audit, GroupAudit, PositionAudit, SegmentAudit
from jaxcascade.decisions.costs import Costs, Decision, cost_matrix, decide
from jaxcascade.decisions.dawid_skene import DawidSkene
from jaxcascade.decisions.disagreement import pays_to_ask, posterior_divergence, ratio_spread
from jaxcascade.decisions.echo import EchoModel
from jaxcascade.decisions.elicitation import (
    ParsedRatings,
    contrastive_prompt,
    contrastive_prompts,
    parse_rating,
    parse_ratings,
)
from jaxcascade.decisions.evidence import (
    Evidence,
    evidence_of_probabilities,
    evidence_of_ratings,
    log_likelihood_of_ratings,
    log_ratio_of_probability,
    probability_of_log_ratio,
)
from jaxcascade.decisions.factor_copula import FactorCopula
from jaxcascade.decisions.fairness import fairness
from jaxcascade.decisions.fairness_report import Fairness, FairnessRow
from jaxcascade.decisions.levels import LevelModel
from jaxcascade.decisions.orchestrator import (
    Decisions,
    FittedOrchestrator,
    Judged,
    Orchestrator,
    Report,
    best_rater,
    judged,
)
from jaxcascade.decisions.outcomes import STOP
from jaxcascade.decisions.parity import (
    Counterfactual,
    ParityDecisions,
    ParityPrice,
    counterfactual,
    parity_decisions,
    price_of_fairness,
)
from jaxcascade.decisions.pools import RULES, belief, linear_pool, log_linear_pool, pooled
from jaxcascade.decisions.rater_model import RaterModel, RaterPosterior
from jaxcascade.decisions.rater_sources import joined, rater_sources, uncertain_tests
from jaxcascade.decisions.rating_table import read_ratings
from jaxcascade.decisions.screening import (
    METHODS,
    PARTS,
    ScreeningResults,
    compare_screening,
)
from jaxcascade.decisions.screening_world import (
    Candidates,
    ScreeningWorld,
    simulated_candidates,
)
from jaxcascade.decisions.sequential import (
    Plan,
    Question,
    Sources,
    first_question,
    outcome_number,
    plan_cost,
    screening_tests,
    sequential_plan,
    value_of_asking,
)
from jaxcascade.decisions.tempered import TemperedPool

__all__ = [
    "METHODS",
    "PARTS",
    "RULES",
    "STOP",
    "Audit",
    "Candidates",
    "Contributions",
    "Costs",
    "Counterfactual",
    "DawidSkene",
    "Decision",
    "Decisions",
    "EchoModel",
    "Evidence",
    "FactorCopula",
    "Fairness",
    "FairnessRow",
    "FittedOrchestrator",
    "GroupAudit",
    "Judged",
    "LevelModel",
    "Orchestrator",
    "ParityDecisions",
    "ParityPrice",
    "ParsedRatings",
    "Plan",
    "PositionAudit",
    "Question",
    "RaterModel",
    "RaterPosterior",
    "RatioTest",
    "Report",
    "ScreeningResults",
    "ScreeningWorld",
    "SegmentAudit",
    "Sources",
    "TemperedPool",
    "audit_ranks",
    "belief",
    "best_rater",
    "compare_screening",
    "contrastive_prompt",
    "contrastive_prompts",
    "cost_matrix",
    "counterfactual",
    "decide",
    "evidence_of_probabilities",
    "evidence_of_ratings",
    "expectimax",
    "fairness",
    "first_question",
    "joined",
    "judged",
    "leave_one_out",
    "linear_pool",
    "log_likelihood_of_ratings",
    "log_linear_pool",
    "log_ratio_of_probability",
    "look_ahead_plan",
    "myopic_plan",
    "outcome_number",
    "parity_decisions",
    "parse_rating",
    "parse_ratings",
    "pays_to_ask",
    "plan_cost",
    "pooled",
    "posterior_divergence",
    "price_of_fairness",
    "probability_of_log_ratio",
    "rater_sources",
    "ratio_spread",
    "read_ratings",
    "rollout_plan",
    "screening_tests",
    "sequential_plan",
    "shapley",
    "simulated_candidates",
    "sprt",
    "sprt_plan",
    "subsets",
    "uncertain_tests",
    "value_of_asking",
]
