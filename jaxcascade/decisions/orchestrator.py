"""From ratings to decisions in one object: learn from labelled items, decide on new ones."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxcascade.calibration import ece, log_loss
from jaxcascade.decisions.approximate import expectimax
from jaxcascade.decisions.costs import Costs
from jaxcascade.decisions.evidence import Evidence
from jaxcascade.decisions.fairness import fairness
from jaxcascade.decisions.fairness_report import Fairness
from jaxcascade.decisions.pools import MEDIAN_RATIO, belief, pooled
from jaxcascade.decisions.rater_model import (
    RaterModel,
    RaterPosterior,
    checked_truth,
    log_of_prior,
)
from jaxcascade.decisions.sequential import MOST_SOURCES, Question, Sources, first_question
from jaxcascade.decisions.tempered import TemperedPool
from jaxcascade.decisions.text_table import text_table
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Laplace, Method

_NUM_DRAWS = 500


class Orchestrator(eqx.Module):
    """Actions and their costs, what is believed before, a model of raters, and what may be asked.

    Attributes:
        costs: Of every action in every state.
        model: Of raters: `TemperedPool()`, the default, where there are labels; `EchoModel()` or
            `DawidSkene()` where there are few or none.
        sources: Of further information on an item, with prices; None where there are none.
        source_names: Of the same.

    Example:
        >>> import numpy as np
        >>> from jaxcascade.decisions import cost_matrix, evidence_of_probabilities
        >>> costs = cost_matrix({"leave": {"no": 0, "yes": 16}, "treat": {"no": 1, "yes": 0}})
        >>> said = np.array([[[0.9, 0.1]], [[0.2, 0.8]]] * 20)
        >>> evidence = evidence_of_probabilities(said, ["model"], ["no", "yes"])
        >>> fitted = Orchestrator(costs).fit(jax.random.key(0), evidence, np.array([0, 1] * 20))
        >>> fitted.decide(evidence).table().column("action")[:2].to_pylist()
        ['leave', 'treat']
    """

    costs: Costs
    model: RaterModel = TemperedPool()
    sources: Sources | None = None
    source_names: tuple[str, ...] = eqx.field(static=True, default=())

    def __check_init__(self):
        count = 0 if self.sources is None else self.sources.p_yes.shape[0]
        if len(self.source_names) != count:
            raise InvalidInputError(
                f"`source_names` must name each of the {count} sources; got "
                f"{len(self.source_names)}: {', '.join(self.source_names) or 'none'}."
            )
        states = len(self.costs.states)
        if self.sources is not None and self.sources.p_yes.shape[1] != states:
            raise InvalidInputError(
                f"`sources` must answer in each of the {states} states of the costs; theirs are "
                f"{self.sources.p_yes.shape[1]}."
            )

    def fit(
        self,
        key: PRNGKeyArray,
        evidence: Evidence,
        truth: Int[Array | np.ndarray, " n"] | None = None,
        *,
        prior: Float[Array | np.ndarray, "*n s"] | None = None,
        group: Int[Array | np.ndarray, " n"] | None = None,
        method: Method | None = None,
    ) -> "FittedOrchestrator":
        """Learns how raters are to be read, and how far the best of them would do alone.

        Args:
            key: Draws.
            evidence: Of `n` items, with the states of the costs in the same order.
            truth: Position of each item's state, -1 where unknown; by default no labels.
            prior: Probability of each state before any rating; by default all alike, and learnt
                by the model's offset or prevalence.
            group: Number of each item's domain; by default one. See the model.
            method: `Laplace(num_draws=500)` by default.

        Raises:
            InvalidInputError: States differ from those of the costs, or labels or shapes are wrong.
        """
        if evidence.states != self.costs.states:
            raise InvalidInputError(
                f"`evidence` must be of the states of the costs, {', '.join(self.costs.states)}, "
                f"in that order; it is of {', '.join(evidence.states)}."
            )
        n = len(evidence.items)
        truth = checked_truth(truth, n, evidence.states)
        log_prior = log_of_prior(prior, n, len(evidence.states))
        method = Laplace(num_draws=_NUM_DRAWS) if method is None else method
        of_all, of_one = jax.random.split(key)
        posterior = self.model.fit(of_all, evidence, truth, prior=prior, group=group, method=method)
        labelled = np.flatnonzero(truth >= 0)
        alone = None
        if labelled.size:
            best = best_rater(evidence.take(labelled), truth[labelled], log_prior)
            one = evidence.of_raters((best,))
            alone = TemperedPool().fit(of_one, one, truth, prior=prior, method=method)
        return FittedOrchestrator(self, posterior, alone)


class FittedOrchestrator(eqx.Module):
    """What was learnt, and decisions by it.

    Attributes:
        orchestrator: What it was fitted by.
        posterior: Of the model of raters.
        alone: The best single rater with a fit of its own, the peer that no claim may leave out;
            None without labels.
    """

    orchestrator: Orchestrator
    posterior: RaterPosterior
    alone: RaterPosterior | None

    def decide(
        self,
        evidence: Evidence,
        *,
        prior: Float[Array | np.ndarray, "*n s"] | None = None,
        group: Int[Array | np.ndarray, " n"] | None = None,
    ) -> "Decisions":
        """Believes, picks actions of least expected cost, and says what to ask first.

        Args:
            evidence: Of items, by the raters of the fit. Where none has spoken of an item, its
                belief is the prior.
            prior: Where it is not that of the fit.
            group: As in the fit.

        Raises:
            InvalidInputError: Raters or states are not those of the fit.
        """
        costs, sources = self.orchestrator.costs, self.orchestrator.sources
        found = self.posterior.belief(evidence, prior=prior, group=group)
        now = costs.value(found)
        question = None if sources is None else _first(found, costs, sources)
        return Decisions(
            evidence.items,
            costs.states,
            costs.actions,
            self.orchestrator.source_names,
            found,
            costs.best(found),
            now,
            costs.perfect_information(found),
            jnp.zeros_like(now) if question is None else now - question.expected_usd,
            question,
        )

    def report(
        self,
        key: PRNGKeyArray,
        evidence: Evidence,
        truth: Int[Array | np.ndarray, " n"],
        *,
        prior: Float[Array | np.ndarray, "*n s"] | None = None,
        group: Int[Array | np.ndarray, " n"] | None = None,
        group_names: Sequence[str] | None = None,
        favourable: Sequence[int] = (1,),
    ) -> "Report":
        """Judges beliefs and decisions by items whose truth is known, beside simpler ways.

        Args:
            key: Draws of intervals.
            evidence: Of items that were not learnt from.
            truth: Position of each item's state, -1 where unknown.
            prior: Where it is not that of the fit.
            group: Number of each item's group: decisions are compared between groups, and the
                model is told of them if it was in the fit.
            group_names: By number.
            favourable: Positions of the actions that are good for the item.

        Raises:
            InvalidInputError: No truth is known, or raters, states or labels are not those of the
                fit.
        """
        known = checked_truth(truth, len(evidence.items), evidence.states) >= 0
        if not known.any():
            raise InvalidInputError("`truth` must be known of one item or more; all are -1.")
        log_prior = self.posterior.log_priors(prior, len(known))
        log_prior = jax.nn.logsumexp(log_prior, axis=0) - jnp.log(len(log_prior))
        ways = {
            type(self.posterior.model).__name__: self.posterior.belief(
                evidence, prior=prior, group=group if self.posterior.num_groups > 1 else None
            ),
            "prior alone": jnp.broadcast_to(jnp.exp(log_prior), (len(known), len(evidence.states))),
            "median of raters": belief(
                log_prior, pooled(evidence.log_likelihood, evidence.known, rule=MEDIAN_RATIO)
            ),
        }
        if self.alone is not None:
            best = self.alone.raters[0]
            one = evidence.of_raters((best,))
            ways[f"{best} alone, fitted"] = self.alone.belief(one, prior=prior)
        costs = self.orchestrator.costs
        rows = tuple(
            judged(name, np.asarray(found)[known], np.asarray(truth)[known], costs)
            for name, found in ways.items()
        )
        between = None
        if group is not None:
            found = next(iter(ways.values()))
            labels = np.asarray(group) if group_names is None else np.array(group_names)[group]
            two = len(evidence.states) == 2
            between = fairness(
                key,
                labels,
                costs.best(found),
                truth=np.asarray(truth) if two else None,
                probability=found[:, 1] if two else None,
                costs=costs if two else None,
                favourable=favourable,
            )
        return Report(rows, between)


class Decisions(NamedTuple):
    """What to do with each item, and why.

    Attributes:
        items: Identities.
        states: Names.
        actions: Names.
        sources: Names.
        probability: Belief in each state.
        action: Position of the action of least expected cost.
        expected_usd: Its expected cost.
        perfect_information: What it would be worth to know the state, in dollars.
        worth_asking: What asking further is expected to save, prices paid, in dollars.
        question: What to ask first; None where there are no sources.
    """

    items: tuple
    states: tuple[str, ...]
    actions: tuple[str, ...]
    sources: tuple[str, ...]
    probability: Float[Array, "n s"]
    action: Int[Array, " n"]
    expected_usd: Float[Array, " n"]
    perfect_information: Float[Array, " n"]
    worth_asking: Float[Array, " n"]
    question: Question | None

    def table(self) -> pa.Table:
        """One row per item; `next_source` is null where the action is to be taken now."""
        columns = {"item": list(self.items)}
        columns |= {
            f"p_{state}": np.asarray(self.probability[:, at])
            for at, state in enumerate(self.states)
        }
        columns |= {
            "action": [self.actions[a] for a in np.asarray(self.action)],
            "expected_usd": np.asarray(self.expected_usd),
            "perfect_information_usd": np.asarray(self.perfect_information),
            "worth_asking_usd": np.asarray(self.worth_asking),
        }
        asked = (
            [-1] * len(self.items) if self.question is None else np.asarray(self.question.source)
        )
        names = [None if at < 0 else self.sources[at] for at in asked]
        return pa.table(columns | {"next_source": pa.array(names, pa.string())})


class Judged(NamedTuple):
    """How one way of believing does on items whose truth is known.

    Attributes:
        way: Its name.
        log_loss: Mean negative log-probability of the truth, in nats.
        brier: Mean squared error of probabilities, summed over states and halved.
        ece: Expected calibration error of the second state, over deciles; with more than two
            states, of the likeliest.
        error: Share of items whose likeliest state is not the truth.
        usd: Mean cost of the actions chosen.
        standard_error_usd: Of that mean.
        excess_usd: The same above the cost of knowing the truth.
    """

    way: str
    log_loss: float
    brier: float
    ece: float
    error: float
    usd: float
    standard_error_usd: float
    excess_usd: float


def judged(
    way: str,
    probability: Float[np.ndarray, "n s"],
    truth: Int[np.ndarray, " n"],
    costs: Costs,
) -> Judged:
    """Judges one way of believing by truth.

    Args:
        way: Its name.
        probability: Of each state.
        truth: Position of each item's state.
        costs: Of actions.
    """
    right = np.eye(probability.shape[1])[truth]
    likeliest = probability.argmax(axis=1)
    two = probability.shape[1] == 2
    chance = probability[:, 1] if two else probability.max(axis=1)
    came = right[:, 1] if two else (likeliest == truth).astype(float)
    usd = np.asarray(costs.usd)[np.asarray(costs.best(jnp.asarray(probability))), truth]
    picked = jnp.asarray(probability[np.arange(len(truth)), truth])
    apart = 0.5 * np.square(probability - right).sum(axis=1)
    return Judged(
        way,
        float(log_loss(picked, jnp.ones(len(truth)))),
        float(apart.mean()),
        float(ece(jnp.asarray(chance), jnp.asarray(came))),
        float((likeliest != truth).mean()),
        float(usd.mean()),
        float(usd.std(ddof=1) / np.sqrt(len(usd))) if len(usd) > 1 else float("nan"),
        float(usd.mean() - np.asarray(costs.usd).min(axis=0)[truth].mean()),
    )


class Report(NamedTuple):
    """How beliefs and decisions do on items whose truth is known; prints as text.

    Attributes:
        ways: The model first, then simpler ways.
        groups: Decisions between groups; None without groups.
    """

    ways: tuple[Judged, ...]
    groups: Fairness | None

    def __str__(self) -> str:
        head = ("way", "log loss", "Brier", "ECE", "error", "cost", "above knowing")
        rows = [
            (
                row.way,
                f"{row.log_loss:.3f}",
                f"{row.brier:.3f}",
                f"{row.ece:.3f}",
                f"{row.error:.1%}",
                f"${row.usd:.4g} ± {row.standard_error_usd:.2g}",
                f"${row.excess_usd:.4g}",
            )
            for row in self.ways
        ]
        told = text_table([head, *rows])
        return told if self.groups is None else f"{told}\n\n{self.groups}"


def _first(probability: Float[Array, "n s"], costs: Costs, sources: Sources) -> Question:
    """Exactly while there are few sources, else two questions ahead."""
    few = sources.p_yes.shape[0] <= MOST_SOURCES
    return (first_question if few else expectimax)(probability, costs, sources)


def best_rater(
    evidence: Evidence, truth: Int[np.ndarray, " n"], log_prior: Float[Array, "*n s"]
) -> str:
    """Returns the rater whose own belief has the least log loss; of one that is silent, the prior.

    Args:
        evidence: Of items whose truth is known.
        truth: Position of each item's state.
        log_prior: Before any rating.
    """
    prior = jnp.exp(log_prior).reshape(-1, len(evidence.states)).mean(axis=0)
    told = jax.nn.log_softmax(jnp.log(prior) + evidence.log_likelihood, axis=-1)
    right = jnp.take_along_axis(told, jnp.asarray(truth)[:, None, None], axis=-1)[..., 0]
    return evidence.raters[int(jnp.argmax(right.mean(axis=0)))]
