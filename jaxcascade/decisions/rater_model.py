"""What all models of raters share: they are fitted to evidence and say what to believe of more.

The truth of an item takes few values and is summed out where no label tells it, so that samplers
see parameters alone.
"""

import abc
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxcascade.decisions.evidence import Evidence
from jaxcascade.errors import InferenceError, InvalidInputError, PosteriorWarning
from jaxcascade.posterior import LIMITS, Drawn, Laplace, Method

UNKNOWN = -1
Sites = dict[str, Any]


class RaterModel(eqx.Module):
    """How ratings and truth go together, given parameters."""

    @abc.abstractmethod
    def coded(
        self,
        log_likelihood: Float[Array, "n m s"],
        known: Bool[Array, "n m"],
        group: Int[Array, " n"],
        num_groups: int,
    ) -> tuple:
        """Returns the evidence as the model takes it."""

    @abc.abstractmethod
    def parameters(self, coded: tuple, log_prior: Float[Array, "*n s"]) -> Sites:
        """Draws parameters from their prior, as NumPyro sites."""

    @abc.abstractmethod
    def start(self, coded: tuple, log_prior: Float[Array, "*n s"]) -> Sites:
        """Returns values of the parameters that are possible whatever the data."""

    @abc.abstractmethod
    def log_belief(
        self, sites: Sites, coded: tuple, log_prior: Float[Array, "*n s"]
    ) -> Float[Array, "n s"]:
        """Returns log-probabilities of truth and ratings together, each item's up to a constant.

        A model of the ratings themselves must leave out nothing that depends on parameters.
        """

    @abc.abstractmethod
    def observe(self, log_belief: Float[Array, "n s"], truth: Int[Array, " n"]) -> None:
        """Conditions on the evidence, and on the truth where it is known."""

    def numpyro_model(
        self, coded: tuple, log_prior: Float[Array, "*n s"], truth: Int[Array, " n"]
    ) -> None:
        """The whole of it for NumPyro."""
        sites = self.parameters(coded, log_prior)
        self.observe(self.log_belief(sites, coded, _learnt(sites, log_prior)), truth)

    def fit(
        self,
        key: PRNGKeyArray,
        evidence: Evidence,
        truth: Int[Array | np.ndarray, " n"] | None = None,
        *,
        prior: Float[Array | np.ndarray, "*n s"] | None = None,
        group: Int[Array | np.ndarray, " n"] | None = None,
        method: Method | None = None,
    ) -> "RaterPosterior":
        """Draws from the posterior of the parameters.

        Args:
            key: Draws.
            evidence: Of `n` items.
            truth: Position of each item's state; `UNKNOWN` (-1) where there is no label. By
                default there is none.
            prior: Probability of each state before any rating; by default all alike.
            group: Number of the group, or domain, of each item; by default one.
            method: `Laplace()` by default; `Nuts()` to check it.

        Raises:
            InvalidInputError: A label is no state, or shapes differ.
            InferenceError: Draws are not numbers.

        Warns:
            PosteriorWarning: No mode was found, or NUTS diverged often.
        """
        n, s = evidence.log_likelihood.shape[0], len(evidence.states)
        truth = jnp.asarray(checked_truth(truth, n, evidence.states))
        log_prior = log_of_prior(prior, n, s)
        method = Laplace() if method is None else method
        group = checked_group(group, n)
        num_groups = int(jnp.max(group, initial=0)) + 1
        coded = self.coded(evidence.log_likelihood, evidence.known, group, num_groups)
        drawn = draw_parameters(key, self, coded, log_prior, truth, method)
        _require_good(drawn)
        return RaterPosterior(
            self,
            evidence.raters,
            evidence.states,
            num_groups,
            log_prior,
            drawn.sites,
            drawn.diagnostics,
        )


def draw_parameters(
    key: PRNGKeyArray,
    model: RaterModel,
    coded: tuple,
    log_prior: Float[Array, "*n s"],
    truth: Int[Array, " n"],
    method: Method,
) -> Drawn:
    """The same as `RaterModel.fit`, from arrays and unchecked: with `Laplace()`, `vmap` works."""
    start = model.start(coded, log_prior)
    return method.draw(key, _as_model, (model, coded, log_prior, truth), start)


def _require_good(drawn: Drawn) -> None:
    """Refuses draws that are not numbers, and warns of those that are doubtful."""
    unknown = [name for name, values in drawn.sites.items() if not jnp.isfinite(values).all()]
    if unknown:
        raise InferenceError(
            f"Draws of {', '.join(f'`{name}`' for name in unknown)} are not numbers. Try `Nuts()`, "
            "or a model with fewer levels."
        )
    for name, limit, told in (
        ("gradient_norm", LIMITS.gradient_norm[0], "the search for a mode had not ended"),
        ("diverging", LIMITS.divergences[0], "NUTS met curvature too strong for its step"),
    ):
        found = float(jnp.mean(drawn.diagnostics.get(name, jnp.zeros(1))))
        if not found <= limit:
            warnings.warn(
                f"The posterior's draws are doubtful: {told} (`{name}` is {found:.2g}, doubtful "
                f"from {limit:g}). Compare with `Nuts(num_draws=2000, target_accept=0.95)`.",
                PosteriorWarning,
                stacklevel=3,
            )


def _learnt(sites: Sites, log_prior: Float[Array, "*n s"]) -> Float[Array, "*n s"]:
    """The prior over states: as given, or as learnt with the other parameters."""
    return jnp.log(sites["prevalence"]) if "prevalence" in sites else log_prior


def _as_model(model: RaterModel, coded: tuple, log_prior: Array, truth: Array) -> None:
    model.numpyro_model(coded, log_prior, truth)


class RaterPosterior(eqx.Module):
    """Draws of what is not known of raters.

    Attributes:
        model: That they are parameters of.
        raters: Names.
        states: Names.
        num_groups: Groups that there were.
        log_prior: Of the states, as given to the fit.
        sites: Parameters by name, one row per draw.
        diagnostics: What the method tells of its draws.
    """

    model: RaterModel
    raters: tuple[str, ...] = eqx.field(static=True)
    states: tuple[str, ...] = eqx.field(static=True)
    num_groups: int = eqx.field(static=True)
    log_prior: Float[Array, "*n s"]
    sites: Sites
    diagnostics: dict[str, Array]

    def belief_draws(
        self,
        evidence: Evidence,
        *,
        prior: Float[Array | np.ndarray, "*n s"] | None = None,
        group: Int[Array | np.ndarray, " n"] | None = None,
    ) -> Float[Array, "d n s"]:
        """Returns the probability of each item's states under every draw.

        Args:
            evidence: Of the same raters and states as that of the fit; where no rater of an item
                is known, its belief is the prior.
            prior: Before any rating, where it is not that of the fit or what the fit learnt.
            group: As in `RaterModel.fit`.

        Raises:
            InvalidInputError: Raters, states or groups are not those of the fit.
        """
        coded, log_prior = self._looked_at(evidence, prior, group)
        return _belief_draws(self.model, self.sites, coded, log_prior, evidence.known)

    def belief(
        self,
        evidence: Evidence,
        *,
        prior: Float[Array | np.ndarray, "*n s"] | None = None,
        group: Int[Array | np.ndarray, " n"] | None = None,
    ) -> Float[Array, "n s"]:
        """Returns the probability of each item's states, the mean over draws.

        Arguments and errors are those of `belief_draws`.
        """
        coded, log_prior = self._looked_at(evidence, prior, group)
        return mean_belief(self.model, self.sites, coded, log_prior, evidence.known)

    def _looked_at(self, evidence: Evidence, prior: Any, group: Any) -> tuple[tuple, Array]:
        for name, got, expected in (
            ("raters", evidence.raters, self.raters),
            ("states", evidence.states, self.states),
        ):
            if got != expected:
                raise InvalidInputError(
                    f"`evidence` must have the {name} of the fit, {', '.join(expected)}, in that "
                    f"order; it has {', '.join(got)}."
                )
        n = evidence.log_likelihood.shape[0]
        group = checked_group(group, n)
        if int(jnp.max(group, initial=0)) >= self.num_groups:
            raise InvalidInputError(
                f"`group` must be below {self.num_groups}, the number of groups of the fit; the "
                f"largest is {int(jnp.max(group))}. Fit again with items of that group."
            )
        coded = self.model.coded(evidence.log_likelihood, evidence.known, group, self.num_groups)
        return coded, self.log_priors(prior, n)

    def log_priors(self, prior: Any, n: int) -> Float[Array, "d *n s"]:
        """Returns the logarithm of the prior for each draw: given, learnt, or that of the fit.

        Args:
            prior: See `belief_draws`.
            n: How many items it is for.

        Raises:
            InvalidInputError: It is no prior, or is not given where each item of the fit had one.
        """
        count = len(jax.tree.leaves(self.sites)[0])
        if prior is None and "prevalence" in self.sites:
            return jnp.log(self.sites["prevalence"])
        if prior is None and self.log_prior.ndim > 1:
            raise InvalidInputError(
                "`prior` is needed: the fit had one for each of its items, which others have not."
            )
        log_prior = self.log_prior if prior is None else log_of_prior(prior, n, len(self.states))
        return jnp.broadcast_to(log_prior, (count, *log_prior.shape))


def known_truth(log_belief: Float[Array, "n s"], truth: Int[Array, " n"]) -> Float[Array, " n"]:
    """Picks each item's entry at its truth, 0 where that is unknown."""
    picked = jnp.take_along_axis(log_belief, jnp.maximum(truth, 0)[:, None], axis=-1)[:, 0]
    return jnp.where(truth >= 0, picked, 0.0)


def observe_truth(log_belief: Float[Array, "n s"], truth: Int[Array, " n"]) -> None:
    """Conditions on labels given ratings: what has no label tells nothing."""
    law: Any = dist.Categorical(logits=log_belief)
    numpyro.sample("truth", law.mask(truth >= 0), obs=jnp.maximum(truth, 0))


def observe_ratings(log_belief: Float[Array, "n s"], truth: Int[Array, " n"]) -> None:
    """Conditions on ratings and labels together; the truth is summed out where it is unknown."""
    total = jax.nn.logsumexp(log_belief, axis=-1)
    terms = jnp.where(truth >= 0, known_truth(log_belief, truth), total)
    numpyro.factor("ratings", jnp.sum(terms))


def checked_truth(
    truth: Int[Array | np.ndarray, " n"] | None, n: int, states: tuple[str, ...]
) -> Int[np.ndarray, " n"]:
    """Returns labels as positions of states.

    Raises:
        InvalidInputError: Their number is not that of the items, or one is no position.
    """
    if truth is None:
        return np.full(n, UNKNOWN)
    found = np.asarray(truth)
    if found.shape != (n,):
        raise InvalidInputError(
            f"`truth` must hold one label for each of the {n} items, {UNKNOWN} where there is "
            f"none; its shape is {found.shape}."
        )
    wrong = (found < UNKNOWN) | (found >= len(states))
    if wrong.any():
        raise InvalidInputError(
            f"`truth` must hold positions of the states {', '.join(states)}, from 0 to "
            f"{len(states) - 1}, or {UNKNOWN} for no label; {wrong.sum()} are others, the first "
            f"{found[wrong][0]} of item {np.flatnonzero(wrong)[0]}."
        )
    return found


def checked_group(group: Int[Array | np.ndarray, " n"] | None, n: int) -> Int[Array, " n"]:
    """Returns numbers of groups, 0 everywhere by default.

    Raises:
        InvalidInputError: There is not one for each item, or one is below 0.
    """
    if group is None:
        return jnp.zeros(n, int)
    found = np.asarray(group)
    if found.shape != (n,) or (found < 0).any():
        raise InvalidInputError(
            f"`group` must hold a number from 0 on for each of the {n} items; its shape is "
            f"{found.shape}, its smallest value {found.min(initial=0)}."
        )
    return jnp.asarray(found)


def log_of_prior(
    prior: Float[Array | np.ndarray, "*n s"] | None, n: int, s: int
) -> Float[Array, "*n s"]:
    """Returns the logarithm of a prior, one for all items or one each.

    Raises:
        InvalidInputError: It has another shape, an entry not above 0, or does not sum to 1.
    """
    if prior is None:
        return jnp.full(s, -jnp.log(s))
    found = np.asarray(prior, float)
    if found.shape not in ((s,), (n, s)):
        raise InvalidInputError(
            f"`prior` must have shape ({s},), or ({n}, {s}) for one per item; got {found.shape}."
        )
    total = found.sum(axis=-1)
    if not ((found > 0).all() and np.allclose(total, 1.0, atol=1e-6)):
        raise InvalidInputError(
            "`prior` must be above 0 in each state and sum to 1; its smallest entry is "
            f"{found.min():g}, sums go from {total.min():g} to {total.max():g}."
        )
    return jnp.log(jnp.asarray(found))


@eqx.filter_jit
def _belief_draws(
    model: RaterModel, sites: Sites, coded: tuple, log_prior: Array, known: Array
) -> Array:
    def one(draw: tuple[Sites, Array]) -> Array:
        return _belief(model, *draw, coded, known)

    return jax.lax.map(one, (sites, log_prior))


@eqx.filter_jit
def mean_belief(
    model: RaterModel,
    sites: Sites,
    coded: tuple,
    log_prior: Float[Array, "d *n s"],
    known: Bool[Array, "n m"],
) -> Float[Array, "n s"]:
    """Returns the probability of each item's states, the mean over draws.

    Args:
        model: That the draws are parameters of.
        sites: Parameters, one row per draw.
        coded: Evidence as the model takes it.
        log_prior: Of the states, one for each draw.
        known: Which raters have spoken of each item.
    """

    def add(total: Array, draw: tuple[Sites, Array]) -> tuple[Array, None]:
        return total + _belief(model, *draw, coded, known), None

    blank = jnp.zeros((known.shape[0], log_prior.shape[-1]))
    total, _ = jax.lax.scan(add, blank, (sites, log_prior))
    return total / len(log_prior)


def _belief(
    model: RaterModel, draw: Sites, log_prior: Array, coded: tuple, known: Array
) -> Float[Array, "n s"]:
    told = model.log_belief(draw, coded, log_prior)
    # Without a rating there is nothing but the prior, whatever a fit says of all other items.
    return jax.nn.softmax(jnp.where(known.any(axis=-1)[:, None], told, log_prior), axis=-1)
