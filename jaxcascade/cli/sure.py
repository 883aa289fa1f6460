"""How sure the posterior is, on the terminal and as JSON."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from rich.markup import escape

from jaxcascade.cascade import Policy, Prices
from jaxcascade.cli import terminal
from jaxcascade.posterior import (
    Band,
    Posterior,
    bayes_frontier,
    frontier_draws,
    pointwise_band,
)
from jaxcascade.posterior.diagnostics import Diagnosis
from jaxcascade.tuning import dollars, price_grid

LEVEL, MARGIN = 0.9, 0.02
_SHOWN = 0.05


class PriceAnswer(NamedTuple):
    """What the draws say at one price of an error.

    Attributes:
        price: Dollars per wrong answer.
        policy: The threshold cascade with the least expected loss, in words; thresholds are on
            the fitted calibrators' confidence.
        loss: Its dollars per query, over the draws.
        single: The single model with the least expected loss.
        beats: Probability that the policy loses less than that model.
        beats_by: Probability that it loses less by more than 2 %.
        used: Probability that a model has a part in the policy that is best under a draw.
    """

    price: float
    policy: str
    loss: Band
    single: str
    beats: float
    beats_by: float
    used: dict[str, float]


def default_prices(posterior: Posterior, num_prices: int = 6) -> Float[np.ndarray, " p"]:
    """Prices at which the choice of a single model matters."""
    error = 1.0 - np.asarray(posterior.evidence.correct).sum(axis=0) / np.maximum(
        np.asarray(posterior.evidence.labelled).sum(axis=0), 1.0
    )
    return price_grid(np.asarray(posterior.sites["cost_usd"].mean(axis=0)), error, num_prices)


def answers(posterior: Posterior, error_prices: Float[np.ndarray, " p"]) -> list[PriceAnswer]:
    """Asks the draws at each price."""
    prices = Prices(error_prices, 0.0, np.inf)
    chosen = bayes_frontier(posterior, prices)
    each = frontier_draws(posterior, prices)
    models = posterior.frame.models
    loss, singles = np.asarray(chosen.loss), np.asarray(each.single_loss)
    used = np.asarray(each.outcome.answered_by) > 0
    found = []
    for p, price in enumerate(error_prices):
        best = int(singles[:, p].mean(axis=0).argmin())
        single = singles[:, p, best]
        arrays = type(chosen.policies)(*(np.asarray(part)[p] for part in chosen.policies))
        policy = Policy.from_arrays(arrays, models)
        several = len(policy.order()) > 1
        found.append(
            PriceAnswer(
                float(price),
                policy.describe(),
                pointwise_band(loss[:, p], LEVEL),
                models[best],
                float(np.mean(loss[:, p] < single)) if several else 0.0,
                float(np.mean(loss[:, p] < (1.0 - MARGIN) * single)) if several else 0.0,
                dict(zip(models, used[:, p].mean(axis=0).tolist(), strict=True)),
            )
        )
    return found


def tables(posterior: Posterior, diagnosis: Diagnosis, found: list[PriceAnswer]) -> None:
    """Prints parameters, dependence, what the draws say at each price, and how good they are."""
    _parameters(posterior)
    _pairs(posterior)
    _prices(found)
    terminal.line(f"{diagnosis.text}.")
    terminal.remarks([f"{message}." for message in diagnosis.messages])


def _parameters(posterior: Posterior) -> None:
    names = {
        "right at mean signal": lambda s: _share(s["intercept"]),
        "slope": lambda s: s["slope"],
        "at lowest": lambda s: s["atoms"][..., 0],
        "at highest": lambda s: s["atoms"][..., 2],
    }
    bands = {name: pointwise_band(of(posterior.sites), LEVEL) for name, of in names.items()}
    table = terminal.table("model", *names)
    for j, model in enumerate(posterior.frame.models):
        cells = (_interval(band, j, percent=name != "slope") for name, band in bands.items())
        table.add_row(escape(model), *cells)
    terminal.console().print(table)


def _pairs(posterior: Posterior) -> None:
    models = posterior.frame.models
    bands = [pointwise_band(posterior.sites[name], LEVEL) for name in ("tau", "history")]
    table = terminal.table("pair", "Kendall's tau", "what the first adds")
    for number, (i, j) in enumerate(posterior.pairs):
        cells = (_interval(band, number, percent=False) for band in bands)
        table.add_row(escape(f"{models[i]} > {models[j]}"), *cells)
    terminal.console().print(table)


def _prices(found: list[PriceAnswer]) -> None:
    table = terminal.table(
        *("price of an error", "policy", "loss per 1,000", "beats single", f"by {MARGIN:.0%}"),
        "has a part",
    )
    for row in found:
        low, middle, high = (dollars(1000.0 * float(end)) for end in row.loss)
        likely = {name: share for name, share in row.used.items() if share >= _SHOWN}
        table.add_row(
            dollars(row.price),
            escape(row.policy),
            f"{middle} ({low} to {high})",
            f"{row.beats:.0%}",
            f"{row.beats_by:.0%}",
            escape(", ".join(f"{name} {share:.0%}" for name, share in likely.items())),
        )
    terminal.console().print(table)


def _interval(band: Band, at: int, percent: bool) -> str:
    low, middle, high = (float(part[at]) for part in band)
    if percent:
        return f"{100 * middle:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _share(log_odds: Any) -> Float[np.ndarray, "..."]:
    return 1.0 / (1.0 + np.exp(-np.asarray(log_odds)))


def content(posterior: Posterior, diagnosis: Diagnosis, found: list[PriceAnswer]) -> dict[str, Any]:
    """Returns the same as JSON can hold it."""
    models = posterior.frame.models
    per_model, per_pair = (
        {name: _summary(posterior, name) for name in names}
        for names in (_PER_MODEL, ("tau", "history"))
    )
    return {
        "method": posterior.method,
        "draws": posterior.num_draws,
        "diagnosis": diagnosis._asdict() | {"divergences": _number(diagnosis.divergences)},
        "models": {
            model: {name: _at(summary, j) for name, summary in per_model.items()}
            for j, model in enumerate(models)
        },
        "pairs": [
            {"first": models[i], "second": models[j]}
            | {name: _at(summary, number) for name, summary in per_pair.items()}
            for number, (i, j) in enumerate(posterior.pairs)
        ],
        "prices": [row._asdict() | {"loss": _band(row.loss)} for row in found],
        "level": LEVEL,
        "margin": MARGIN,
    }


_PER_MODEL = ("intercept", "slope", "atoms", "weight", "low_center", "gap", "concentration",
              "cost_usd", "latency_s")  # fmt: skip


def _summary(posterior: Posterior, name: str) -> tuple[np.ndarray, Band]:
    draws = np.asarray(posterior.sites[name])
    # Seconds need not have been recorded.
    known = np.where(np.isnan(draws), 0.0, draws)
    blank = np.where(np.isnan(draws).any(axis=0), np.nan, 0.0)
    band = pointwise_band(known, LEVEL)
    return known.mean(axis=0) + blank, Band(*(part + blank for part in band))


def _at(summary: tuple[np.ndarray, Band], at: int) -> dict[str, Any]:
    mean, band = summary
    return {"mean": _number(mean[at])} | _band(Band(*(part[at] for part in band)))


def _band(band: Band) -> dict[str, Any]:
    return {name: _number(value) for name, value in band._asdict().items()}


def _number(value: Any) -> Any:
    """A number or a list of them; null where there is none."""
    if np.ndim(value):
        return [_number(one) for one in value]
    return float(value) if np.isfinite(value) else None
