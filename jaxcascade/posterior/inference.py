"""From records to draws: Laplace, NUTS and variational inference behind one call."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoMultivariateNormal

from jaxcascade.calibration import LogisticCalibration
from jaxcascade.cascade import Observations, in_cost_order, observations
from jaxcascade.copulas import Copula, Gumbel
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior.density import density_of
from jaxcascade.posterior.diagnostics import require_good
from jaxcascade.posterior.drawing import (
    Drawn,
    draw_calls,
    draw_pairs,
    laplace_draws,
    laplace_joint,
    laplace_margins,
    pair_start,
    starting_sites,
)
from jaxcascade.posterior.evidence import Evidence, Frame, evidence_of, frame_of, pairs_of
from jaxcascade.posterior.model import (
    Sites,
    joint_model,
    margins_model,
    pair_residuals,
)
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.posterior.priors import Priors
from jaxcascade.records import Records

Progress = Callable[[str], None]


def _quiet(step: str) -> None:
    """Says nothing."""


class Method(eqx.Module):
    """A way to draw from the posterior of a NumPyro model, and of the cascade's above all."""

    num_chains: int = eqx.field(static=True, default=1)

    @abc.abstractmethod
    def draw(
        self,
        key: PRNGKeyArray,
        model: Callable,
        arguments: tuple,
        start: Sites,
        progress: Progress = _quiet,
    ) -> Drawn:
        """Draws from the posterior of any model whose supports depend on no parameter.

        Args:
            key: Draws.
            model: In NumPyro.
            arguments: Of the model.
            start: Values of its sites to begin from.
            progress: Called with a word on each step.
        """

    @abc.abstractmethod
    def draw_margins(
        self, key: PRNGKeyArray, evidence: Evidence, priors: Priors, progress: Progress
    ) -> Drawn:
        """Draws what each model's own runs tell."""

    @abc.abstractmethod
    def draw_joint(self, key: PRNGKeyArray, arguments: tuple, progress: Progress) -> Drawn:
        """Draws from the whole joint model at once."""


class Laplace(Method):
    """The normal law around the mode, made right by Metropolis and Hastings.

    One compiled program without a loop that waits for data: `vmap` runs many data sets at once.

    Attributes:
        num_draws: Draws to make.
    """

    num_draws: int = eqx.field(static=True, default=1000)

    def draw(
        self,
        key: PRNGKeyArray,
        model: Callable,
        arguments: tuple,
        start: Sites,
        progress: Progress = _quiet,
    ) -> Drawn:
        progress("drawing from the posterior")
        return laplace_draws(key, model, arguments, start, self.num_draws)

    def draw_margins(
        self, key: PRNGKeyArray, evidence: Evidence, priors: Priors, progress: Progress
    ) -> Drawn:
        progress("drawing from the posterior")
        return laplace_margins(key, evidence, priors, self.num_draws)

    def draw_joint(self, key: PRNGKeyArray, arguments: tuple, progress: Progress) -> Drawn:
        progress("drawing from the posterior")
        return laplace_joint(key, arguments, self.num_draws)


class Nuts(Method):
    """The no-U-turn sampler, started from Laplace draws and with their covariance as its mass.

    Attributes:
        num_chains: Chains, run side by side.
        num_warmup: Steps of each to adapt its step size.
        num_draws: Draws of each.
        target_accept: Mean acceptance that step sizes aim at.
    """

    num_chains: int = eqx.field(static=True, default=4)
    num_warmup: int = eqx.field(static=True, default=300)
    num_draws: int = eqx.field(static=True, default=500)
    target_accept: float = 0.85

    def draw(
        self,
        key: PRNGKeyArray,
        model: Callable,
        arguments: tuple,
        start: Sites,
        progress: Progress = _quiet,
    ) -> Drawn:
        begin, run = jax.random.split(key)
        progress("finding where to start")
        first = laplace_draws(begin, model, arguments, start, 1000)
        return self._sample(run, model, arguments, first.sites, progress)

    def draw_margins(
        self, key: PRNGKeyArray, evidence: Evidence, priors: Priors, progress: Progress
    ) -> Drawn:
        start, run = jax.random.split(key)
        progress("finding where to start")
        first = laplace_margins(start, evidence, priors, 1000)
        return self._sample(run, margins_model, (evidence, priors), first.sites, progress)

    def draw_joint(self, key: PRNGKeyArray, arguments: tuple, progress: Progress) -> Drawn:
        start, run = jax.random.split(key)
        progress("finding where to start")
        first = laplace_joint(start, arguments, 1000)
        return self._sample(run, joint_model, arguments, first.sites, progress)

    def _sample(
        self,
        key: PRNGKeyArray,
        model: Callable,
        arguments: tuple,
        first: Sites,
        progress: Progress,
    ) -> Drawn:
        density = density_of(model, arguments)
        free = jax.vmap(lambda sites: density.unpack(density.pack(sites)))(first)
        vectors = jax.vmap(lambda sites: ravel_pytree(sites)[0])(free)
        mass = jnp.cov(vectors.T)
        rows = jnp.linspace(0, len(vectors) - 1, self.num_chains).astype(int)
        starts = jax.tree.map(lambda leaf: leaf[rows] if self.num_chains > 1 else leaf[0], free)
        kernel = NUTS(
            model,
            inverse_mass_matrix=mass,
            dense_mass=True,
            adapt_mass_matrix=False,
            target_accept_prob=self.target_accept,
            max_tree_depth=8,
        )
        side_by_side = jax.local_device_count() >= self.num_chains
        sampler = MCMC(
            kernel,
            num_warmup=self.num_warmup,
            num_samples=self.num_draws,
            num_chains=self.num_chains,
            chain_method="parallel" if side_by_side else "vectorized",
            progress_bar=False,
        )
        progress(f"sampling {self.num_chains} chains of {self.num_draws} draws")
        told = ("diverging", "num_steps", "accept_prob", "energy")
        sampler.run(key, *arguments, init_params=starts, extra_fields=told)
        extra = {name: jnp.asarray(value) for name, value in sampler.get_extra_fields().items()}
        return Drawn(dict(sampler.get_samples()), extra)


class Variational(Method):
    """Stochastic variational inference with a full-rank normal guide.

    Attributes:
        num_draws: Draws from the guide.
        num_steps: Steps of Adam.
        step_size: Its largest step.
    """

    num_draws: int = eqx.field(static=True, default=1000)
    num_steps: int = eqx.field(static=True, default=3000)
    step_size: float = 0.02

    def draw_margins(
        self, key: PRNGKeyArray, evidence: Evidence, priors: Priors, progress: Progress
    ) -> Drawn:
        start = starting_sites(evidence, priors)
        return self.draw(key, margins_model, (evidence, priors), start, progress)

    def draw_joint(self, key: PRNGKeyArray, arguments: tuple, progress: Progress) -> Drawn:
        evidence, priors, *_ = arguments
        start = starting_sites(evidence, priors) | pair_start(arguments)
        return self.draw(key, joint_model, arguments, start, progress)

    def draw(
        self,
        key: PRNGKeyArray,
        model: Callable,
        arguments: tuple,
        start: Sites,
        progress: Progress = _quiet,
    ) -> Drawn:
        fit, draw = jax.random.split(key)
        guide = AutoMultivariateNormal(
            model,
            init_loc_fn=numpyro.infer.init_to_value(values=start),
            init_scale=0.1,
        )
        schedule = optax.cosine_decay_schedule(self.step_size, self.num_steps, alpha=0.01)
        svi = SVI(model, guide, optax.adam(schedule), Trace_ELBO(num_particles=4))
        progress(f"fitting a normal law in {self.num_steps} steps")
        found = svi.run(fit, self.num_steps, *arguments, progress_bar=False)
        sites = guide.sample_posterior(
            draw, found.params, *arguments, sample_shape=(self.num_draws,)
        )
        return Drawn(dict(sites), {"loss": found.losses[-self.num_steps // 10 :]})


def infer(
    key: PRNGKeyArray,
    records: Records,
    *,
    method: Method | None = None,
    calibration: LogisticCalibration | None = None,
    priors: Priors | None = None,
    copula: type[Copula] = Gumbel,
    neighbours: bool = False,
    coupled: bool = False,
    check: bool = True,
    progress: Progress = _quiet,
) -> Posterior:
    """Draws from the posterior of the joint model.

    Models are put in the order of their mean cost, the cheapest first.

    Args:
        key: Draws.
        records: Labelled runs of `k` models on `n` queries; cells may be missing.
        method: `Laplace()` by default, which is fast; `Nuts()` to check it; `Variational()`.
        calibration: Whose signal the log-odds are linear in; its own prior only sets the scale
            that laws of confidence are learnt on.
        priors: What is believed before.
        copula: Family of the dependence between two models.
        neighbours: Fit only pairs of models that are next to each other in cost; the others then
            follow from the chain between them. By default all pairs.
        coupled: One likelihood for everything, in which the dependence of neighbours also tells
            of each model's own law. By default each model's law is learnt from its own runs, and
            dependence given that law.
        check: Whether to warn of draws that are doubtful and to refuse those that are bad.
        progress: Called with a word on each step.

    Returns:
        The draws.

    Raises:
        PrecisionError: JAX runs in single precision.
        RecordsError: A model has no labelled answer, or a name that a policy reserves.
        InferenceError: The draws are of no use; see `diagnose`.
        InvalidInputError: There are no pairs of models, the calibration is not of one signal, or
            `coupled` is asked for all pairs.
    """
    records = in_cost_order(records)
    if records.num_models < 2:
        raise InvalidInputError(
            "`records` must hold at least two models for a posterior of a cascade; they hold only "
            f'"{records.models[0]}". Record another model.'
        )
    if coupled and not neighbours:
        raise InvalidInputError(
            "`coupled` needs `neighbours`: only they make a joint likelihood. Say "
            "`neighbours=True`, or leave `coupled` out."
        )
    data = observations(records)
    progress("calibrating")
    frame, evidence = look(
        data,
        jnp.ones(records.num_queries),
        records.models,
        LogisticCalibration() if calibration is None else calibration,
    )
    posterior = infer_evidence(
        key,
        frame,
        evidence,
        method=method,
        priors=priors,
        copula=copula,
        neighbours=neighbours,
        coupled=coupled,
        progress=progress,
    )
    if check:
        require_good(posterior)
    return posterior


def infer_evidence(
    key: PRNGKeyArray,
    frame: Frame,
    evidence: Evidence,
    *,
    method: Method | None = None,
    priors: Priors | None = None,
    copula: type[Copula] = Gumbel,
    neighbours: bool = False,
    coupled: bool = False,
    progress: Progress = _quiet,
) -> Posterior:
    """The same, from arrays: with `Laplace()`, `vmap` over frames and evidence of one shape."""
    method = Laplace() if method is None else method
    priors = Priors() if priors is None else priors
    pairs = pairs_of(len(frame.models), neighbours)
    margins, dependence, calls = jax.random.split(key, 3)
    if coupled:
        drawn = method.draw_joint(margins, (evidence, priors, copula, pairs), progress)
        sites = drawn.sites
    else:
        drawn = method.draw_margins(margins, evidence, priors, progress)
        progress("drawing dependence")
        sites = drawn.sites | draw_pairs(dependence, evidence, drawn.sites, priors, copula, pairs)
    sites = sites | draw_calls(calls, evidence, sites["slope"].shape[0])
    return Posterior(
        frame,
        priors,
        copula,
        pairs,
        pair_residuals(evidence, pairs),
        sites,
        evidence,
        method.num_chains,
        type(method).__name__,
        drawn.diagnostics,
    )


@eqx.filter_jit
def look(
    data: Observations,
    weight: Float[Array, " n"],
    models: tuple[str, ...],
    calibration: LogisticCalibration,
) -> tuple[Frame, Evidence]:
    """Calibrates and puts records on the scale that the posterior is learnt on."""
    known = ~jnp.isnan(data.log_confidence)
    labelled = weight[:, None] * (known & ~jnp.isnan(data.correct))
    log_confidence = jnp.where(known, data.log_confidence, 0.0)
    columns = (log_confidence.T, jnp.nan_to_num(data.correct).T, labelled.T)
    frame = frame_of(models, jax.vmap(calibration.fit)(*columns), data, weight)
    return frame, evidence_of(frame, data, weight)
