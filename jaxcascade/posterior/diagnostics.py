"""Are the draws any good? What to look at, and when to warn or to refuse."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from jaxcascade.errors import InferenceError, PosteriorWarning
from jaxcascade.posterior.export import to_datatree
from jaxcascade.posterior.posterior import Posterior

GOOD, DOUBTFUL, BAD = "good", "doubtful", "bad"
LABELS, JOINT = "(labels)", "(joint model)"
_TOLD = 3
# What makes up the shape of a mixture. Its data determine the law of confidence, for which quite
# different components may do: chains that stay with different ones are doubtful, and still agree
# on all that a decision needs. So these are never the reason to refuse draws.
_OF_SHAPE = ("weight", "low_center", "gap", "concentration")


class Limits(NamedTuple):
    """Where doubt begins, and where the draws are of no use.

    Attributes:
        r_hat: 1.05 means chains whose means are a third of a standard deviation apart. At 1.5
            they have been to different places.
        effective: Effective draws, of bulk and tails. With 100, the end of a 90 % interval is off
            by two points of its five in a hundred; with 20, the standard deviation itself is off
            by a sixth.
        divergences: Share of draws at which NUTS met curvature too strong for its step.
        pareto_k: Tail of the importance weights of the normal law. Weights alone fail beyond 0.7;
            Metropolis steps follow. In two data sets of 30 labels with k up to 0.91, means were
            within 0.3 standard deviations of those by NUTS, and standard deviations of the mixture
            down to 0.6 of theirs. Beyond 1 nothing has been compared.
        gradient_norm: Length of the gradient where the search for a mode ended, in posterior
            standard deviations: 1e-6 and less where it has converged.
    """

    r_hat: tuple[float, float] = (1.05, 1.5)
    effective: tuple[float, float] = (100.0, 20.0)
    divergences: tuple[float, float] = (0.01, 0.5)
    pareto_k: tuple[float, float] = (1.0, np.inf)
    gradient_norm: tuple[float, float] = (0.1, 1.0)


LIMITS = Limits()


class Diagnosis(NamedTuple):
    """How good draws are.

    Attributes:
        severity: "good", "doubtful" or "bad".
        messages: What is doubtful or bad, a sentence each.
        r_hat: Largest of each site; empty where the method has no chains.
        ess_bulk: Smallest effective number of draws for means, of each site.
        ess_tail: The same for 5 % and 95 % quantiles.
        divergences: Share of divergent draws; NaN where the method has none.
        pareto_k: By block: each model's law of confidence, and "(labels)", the calibrators of all.
        gradient_norm: By block, at the mode.
    """

    severity: str
    messages: tuple[str, ...]
    r_hat: dict[str, float]
    ess_bulk: dict[str, float]
    ess_tail: dict[str, float]
    divergences: float
    pareto_k: dict[str, float]
    gradient_norm: dict[str, float]

    @property
    def text(self) -> str:
        """One line for people."""
        told = []
        if self.r_hat:
            told.append(f"largest R-hat {max(self.r_hat.values()):.3f}")
        if self.ess_bulk:
            told += [
                f"fewest effective draws {min(self.ess_bulk.values()):.0f} (bulk), "
                f"{min(self.ess_tail.values()):.0f} (tails)",
                f"divergent {100 * self.divergences:.1f} %",
            ]
        if self.pareto_k:
            told.append(f"largest Pareto k {max(self.pareto_k.values()):.2f}")
        if self.gradient_norm:
            told.append(f"gradient at the mode {max(self.gradient_norm.values()):.0e}")
        return ", ".join([f"Draws are {self.severity}", *told])


class _Found(NamedTuple):
    """One number that tells how good draws are, and where it belongs."""

    text: str
    value: float
    limits: tuple[float, float]


def diagnose(posterior: Posterior, limits: Limits = LIMITS) -> Diagnosis:
    """Judges draws by what their method tells of them.

    NUTS by R-hat, effective draws and divergences; Laplace by the tail of its importance weights
    and by whether a mode was found; variational inference by whether its loss still falls, which
    says little: compare with NUTS. All by whether every draw is a number.

    Args:
        posterior: See `infer`.
        limits: Where doubt begins and where use ends.
    """
    told = posterior.diagnostics
    r_hat, bulk, tail = _of_chains(posterior) if posterior.method == "Nuts" else ({}, {}, {})
    blocks = _blocks(posterior)
    pareto_k = _named(blocks, told.get("pareto_k"))
    gradient_norm = _named(blocks, told.get("gradient_norm"))
    diverging = float(np.mean(np.asarray(told["diverging"]))) if "diverging" in told else np.nan
    found = _findings(r_hat, (bulk, tail), diverging, pareto_k, gradient_norm, limits)
    ranks = [_rank(one) for one in found]
    messages = [
        f"{one.text.format(one.value)} (doubtful from {one.limits[0]:g}, bad from "
        f"{one.limits[1]:g})"
        for one, rank in sorted(zip(found, ranks, strict=True), key=lambda pair: -pair[1])
        if rank
    ]
    unknown = _not_numbers(posterior)
    if unknown:
        messages.insert(0, f"draws of {', '.join(f'`{name}`' for name in unknown)} are NaN")
        ranks.append(2)
    if "loss" in told and _still_falls(np.asarray(told["loss"])):
        messages.append("the variational loss was still falling: take more steps")
        ranks.append(1)
    return Diagnosis(
        (GOOD, DOUBTFUL, BAD)[max(ranks, default=0)],
        tuple(messages),
        r_hat,
        bulk,
        tail,
        diverging,
        pareto_k,
        gradient_norm,
    )


def _findings(
    r_hat: dict[str, float],
    effective: tuple[dict[str, float], dict[str, float]],
    diverging: float,
    pareto_k: dict[str, float],
    gradient_norm: dict[str, float],
    limits: Limits,
) -> list[_Found]:
    """Every number there is, with the sentence that tells it."""
    every = [
        *(
            _Found(f"R-hat of `{n}` is {{:.3f}}", v, _limits(n, limits.r_hat, np.inf))
            for n, v in r_hat.items()
        ),
        *(
            _Found(
                f"`{n}` has {{:.0f}} effective draws ({part})",
                v,
                _limits(n, limits.effective, -np.inf),
            )
            for part, numbers in zip(("bulk", "tails"), effective, strict=True)
            for n, v in numbers.items()
        ),
        *(
            _Found(f"Pareto k of `{n}` is {{:.2f}}", v, limits.pareto_k)
            for n, v in pareto_k.items()
        ),
        *(
            _Found(f"the gradient at the mode of `{n}` is {{:.2g}}", v, limits.gradient_norm)
            for n, v in gradient_norm.items()
        ),
    ]
    share = _Found("the share of divergent draws is {:.3f}", diverging, limits.divergences)
    return every if np.isnan(diverging) else [*every, share]


def _limits(name: str, limits: tuple[float, float], never: float) -> tuple[float, float]:
    return (limits[0], never) if name in _OF_SHAPE else limits


def require_good(posterior: Posterior) -> Diagnosis:
    """Warns of draws that are doubtful and refuses those that are bad.

    Args:
        posterior: See `infer`.

    Returns:
        The diagnosis.

    Raises:
        InferenceError: The draws are bad.
    """
    found = diagnose(posterior)
    if found.severity == BAD:
        raise InferenceError(refusal(found))
    if found.severity == DOUBTFUL:
        warnings.warn(
            f"The posterior's draws are doubtful: {_reasons(found)}. Compare with "
            "`Nuts(num_draws=2000)`.",
            PosteriorWarning,
            stacklevel=3,
        )
    return found


def refusal(found: Diagnosis) -> str:
    """Says why draws are of no use, and what to try."""
    return (
        f"The posterior's draws are of no use: {_reasons(found)}. Try `Nuts`, with more draws, "
        "fewer models or more labels; from Python, `check=False` returns the draws as they are."
    )


def _reasons(found: Diagnosis) -> str:
    more = len(found.messages) - _TOLD
    told = "; ".join(found.messages[:_TOLD])
    return f"{told}; and {more} more" if more > 0 else told


def _of_chains(posterior: Posterior) -> tuple[dict[str, float], ...]:
    """Largest R-hat and smallest effective numbers of draws of each site."""
    # Re-exported without an `__all__`, which pyright takes for private.
    from arviz_stats import ess, rhat  # pyright: ignore[reportPrivateImportUsage]

    group = to_datatree(posterior, log_likelihood=False)["posterior"].to_dataset()
    # Means of calls are drawn one by one, whatever the chains do; and what never varies, such as
    # tau of independent models, has no R-hat.
    constant = [name for name, values in group.items() if np.ptp(values.values) == 0]
    draws = group.drop_vars({"cost_usd", "latency_s", *constant})
    apart = posterior.num_chains > 1
    measures = (
        (rhat(draws, method="rank") if apart else {}, np.nanmax),
        (ess(draws, method="bulk"), np.nanmin),
        (ess(draws, method="tail"), np.nanmin),
    )
    return tuple(
        {
            str(name): float(worst(values.values))
            for name, values in measured.items()
            if not np.isnan(values.values).all()
        }
        for measured, worst in measures
    )


def _blocks(posterior: Posterior) -> tuple[str, ...]:
    """What Laplace draws on its own: each model's law of confidence, then all calibrators."""
    return (*posterior.frame.models, LABELS)


def _named(blocks: tuple[str, ...], values: Any) -> dict[str, float]:
    if values is None:
        return {}
    values = np.asarray(values, float)
    # The joint model is drawn in one block.
    names = blocks if len(values) == len(blocks) else (JOINT,)
    return dict(zip(names, values.tolist(), strict=True))


def _rank(found: _Found) -> int:
    """0 for good, 1 for doubtful, 2 for bad; what is not a number is bad."""
    doubtful, bad = found.limits
    falling = bad < doubtful
    beyond = [found.value < end if falling else found.value > end for end in found.limits]
    return 2 if np.isnan(found.value) else sum(beyond)


def _not_numbers(posterior: Posterior) -> list[str]:
    # Seconds and dollars need not have been recorded.
    return [
        name
        for name, values in posterior.sites.items()
        if name not in ("cost_usd", "latency_s") and not np.isfinite(np.asarray(values)).all()
    ]


def _still_falls(loss: np.ndarray) -> bool:
    """Whether the second half is lower than the first by more than noise and half a nat."""
    first, second = np.array_split(loss, 2)
    noise = np.sqrt(first.var() / first.size + second.var() / second.size)
    return not first.mean() - second.mean() <= max(3.0 * noise, 0.5)
