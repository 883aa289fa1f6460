"""Results on the terminal and as JSON."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from rich.markup import escape

from jaxcascade.calibration import Calibrator, auroc, ece
from jaxcascade.cascade import CascadeFit, observations, transforms
from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import error_given_answered
from jaxcascade.numerics.distance import cramer_von_mises
from jaxcascade.records import Records
from jaxcascade.reports import PolicyRow, policy_rows
from jaxcascade.tuning import (
    Bands,
    Evaluation,
    Frontier,
    Point,
    Prospects,
    Verdict,
    dollars,
    verdict,
)


def records(table: Records) -> None:
    """Prints how large the records are and what each model is like."""
    summary = table.summary()
    terminal.line(f"{summary.num_queries} queries, {summary.num_models} models")
    rows = terminal.table(
        "model", "right", "cost per 1,000", "seconds", "certain", "missing", "unlabelled"
    )
    for j, name in enumerate(table.models):
        rows.add_row(
            escape(name),
            terminal.percent(summary.accuracy[name]),
            dollars(1000 * summary.mean_cost_usd[name]),
            _seconds(table, j),
            terminal.percent(summary.certain[name]),
            str(summary.missing[name] or ""),
            str(summary.unlabelled[name] or ""),
        )
    terminal.console().print(rows)


def signal_remarks(frontier: Frontier) -> list[str]:
    """Names the models whose confidence carries no information about being right."""
    informative = _informative(frontier.calibrators)
    return [
        f'"{name}" is not more often right when it is more confident: its confidence is ignored.'
        for name, useful in zip(frontier.models, np.asarray(informative), strict=True)
        if not useful
    ]


@eqx.filter_jit
def _informative(calibrators: Calibrator) -> Bool[Array, " k"]:
    return jax.vmap(lambda one: one.informative)(calibrators)


def frontier(found: Frontier) -> None:
    """Prints the verdict and the recommended policies."""
    _policies(policy_rows(found), "held out", found.bands)
    terminal.line(verdict(found).text)


def evaluation(found: Frontier, seen: Evaluation) -> None:
    """Prints the verdict and what the policies did."""
    _policies(policy_rows(found, seen), "evaluated", found.bands)
    terminal.line(verdict(found, seen).text)


def _policies(rows: Sequence[PolicyRow], source: str, bands: Bands | None) -> None:
    sure = [] if bands is None else [f"{bands.level:.0%} of posterior", "better"]
    gives_up = any(row.abstention > 0 for row in rows)
    wrong = ["wrong, of all", "wrong, of answered"] if gives_up else ["wrong"]
    table = terminal.table(
        *("price of an error", "policy", *wrong, *sure),
        *("cost per 1,000", f"saved, {source}", "+-"),
    )
    for row in rows:
        low, high = dollars(row.lowest_price), dollars(row.highest_price)
        ends = f"{100 * row.error_low:.1f} to {100 * row.error_high:.1f} %"
        table.add_row(
            low if low == high else f"{low} to {high}",
            escape(row.policy),
            terminal.percent(row.error),
            *([terminal.percent(row.error_given_answered)] if gives_up else []),
            *([] if bands is None else [ends, terminal.percent(row.beats_single)]),
            dollars(1000 * row.cost_usd),
            terminal.percent(row.saving),
            terminal.percent(row.saving_standard_error),
        )
    terminal.console().print(table)


class FitRow(NamedTuple):
    """How well one model's confidence is calibrated and its law fitted."""

    model: str
    accuracy: float
    ece: float
    auroc: float
    distance: float
    low: float
    high: float
    atom_low: float
    atom_high: float
    informative: bool


def fit_rows(fit: CascadeFit, table: Records) -> list[FitRow]:
    """Measures calibration and goodness of fit on the records that the model was fitted to."""
    model = fit.model
    table = table.select(model.models)
    confidence = model.calibrate(observations(table).log_confidence)
    _, levels = transforms(model.marginal, confidence)
    confidence, levels = np.asarray(confidence), np.asarray(levels)
    informative = _informative(model.calibrator)
    return [
        _fit_row(fit, j, confidence[:, j], levels[:, j], table.correct[:, j], bool(informative[j]))
        for j in range(len(model.models))
    ]


def _fit_row(
    fit: CascadeFit,
    j: int,
    confidence: Float[np.ndarray, " n"],
    levels: Float[np.ndarray, " n"],
    correct: Float[np.ndarray, " n"],
    informative: bool,
) -> FitRow:
    asked = ~np.isnan(confidence)
    labelled = asked & ~np.isnan(correct)
    answers = jnp.asarray(confidence[labelled]), jnp.asarray(correct[labelled])
    law = jax.tree.map(lambda leaf: leaf[j], fit.model.marginal)
    return FitRow(
        fit.model.models[j],
        float(np.mean(correct[labelled])),
        float(ece(*answers)),
        float(auroc(*answers)),
        cramer_von_mises(confidence[asked], levels[asked]),
        float(law.low),
        float(law.high),
        float(law.atom_low),
        float(law.atom_high),
        informative,
    )


def fit(found: CascadeFit, rows: list[FitRow]) -> None:
    """Prints calibration and goodness of fit per model, and Kendall's tau per pair."""
    table = terminal.table(
        "model",
        "ECE",
        "AUROC",
        "distance of law",
        "confidence",
        "at lowest",
        "at highest",
        "signal",
    )
    for row in rows:
        table.add_row(
            escape(row.model),
            terminal.percent(row.ece),
            f"{row.auroc:.3f}",
            f"{row.distance:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            terminal.percent(row.atom_low),
            terminal.percent(row.atom_high),
            "yes" if row.informative else "none",
        )
    terminal.console().print(table)
    taus = np.asarray(found.model.copula.tau)
    pairs = terminal.table("Kendall's tau", *(str(j + 1) for j in range(len(rows))))
    for i, row in enumerate(rows):
        cells = ["" if i == j else f"{taus[i, j]:.2f}" for j in range(len(rows))]
        pairs.add_row(f"{i + 1} {escape(row.model)}", *cells)
    terminal.console().print(pairs)


def gains(found: Prospects, models: Sequence[str]) -> None:
    """Prints what any policy could save under the model."""
    table = terminal.table(
        "price of an error", "best single model", "loses", "no policy loses less than", "saved"
    )
    for p, price in enumerate(found.error_prices):
        lower = float(found.bounds.lower[p])
        table.add_row(
            dollars(float(price)),
            escape(models[int(found.best_single[p])]),
            dollars(1000 * float(found.single_loss[p])),
            dollars(1000 * lower) if np.isfinite(lower) else "unknown",
            f"at most {terminal.percent(found.most_saved[p])}" if np.isfinite(lower) else "unknown",
        )
    terminal.line("Were the fitted model true, per 1,000 queries:")
    terminal.console().print(table)
    gap = found.bounds.gap
    if np.isfinite(gap):
        terminal.line(
            f"Some policy comes within {gap:.1%} of these bounds. On unseen queries, see `tune`."
        )
    else:
        terminal.line("No bounds: a copula here is not known to be stochastically increasing.")


def check_json(
    found: CascadeFit, rows: list[FitRow], promised: Prospects, table: Records
) -> dict[str, Any]:
    """Returns the diagnostics as JSON can hold them."""
    names = [found.model.models[j] for j in promised.best_single]
    return {
        "num_queries": table.num_queries,
        "models": [
            {name: exchange.plain(value) for name, value in row._asdict().items()} for row in rows
        ],
        "kendall_tau": np.asarray(found.model.copula.tau).tolist(),
        "copula_log_likelihood": np.asarray(found.copula_log_likelihood).tolist(),
        "marginal_log_likelihood": np.asarray(found.marginal_log_likelihood).tolist(),
        "prospects": [
            {
                "error_price": float(promised.error_prices[p]),
                "best_single": name,
                "single_loss": float(promised.single_loss[p]),
                "loss_at_least": exchange.plain(promised.bounds.lower[p]),
                "loss_at_most": exchange.plain(promised.bounds.upper[p]),
            }
            for p, name in enumerate(names)
        ],
    }


def frontier_json(found: Frontier) -> dict[str, Any]:
    """Returns the recommendations and the verdict as JSON can hold them."""
    held_out = found.held_out
    points = _points_json(found)
    if held_out is not None:
        for p, point in enumerate(points):
            point |= {
                "held_out_loss": float(held_out.policy_loss[p]),
                "held_out_single_loss": float(held_out.single_loss[p]),
                "gain_standard_error": float(held_out.gain_standard_error[p]),
            }
    return {"verdict": _verdict_json(verdict(found)), "points": points}


def evaluation_json(found: Frontier, seen: Evaluation) -> dict[str, Any]:
    """Returns the evaluation as JSON can hold it."""
    of_answered = error_given_answered(seen.outcome)
    points = [
        point
        | {
            "error": exchange.plain(seen.outcome.error[p]),
            "error_given_answered": exchange.plain(of_answered[p]),
            "abstention": exchange.plain(seen.outcome.abstention[p]),
            "cost_usd": exchange.plain(seen.outcome.cost_usd[p]),
            "latency_s": exchange.plain(seen.outcome.latency_s[p]),
            "answered_by": _shares(found, seen.outcome.answered_by[p]),
            "loss": float(seen.loss[p]),
            "single_loss": float(seen.single_loss[p]),
            "gain_standard_error": float(seen.gain_standard_error[p]),
            "num_queries": int(seen.num_queries[p]),
        }
        for p, point in enumerate(_points_json(found))
    ]
    singles = {
        name: {
            "error": exchange.plain(seen.singles.error[j]),
            "accuracy": exchange.plain(1.0 - float(seen.singles.error[j])),
            "cost_usd": exchange.plain(seen.singles.cost_usd[j]),
            "latency_s": exchange.plain(seen.singles.latency_s[j]),
        }
        for j, name in enumerate(found.models)
    }
    return {
        "verdict": _verdict_json(verdict(found, seen)),
        "mean_loss_ratio": seen.mean_ratio,
        "singles": singles,
        "points": points,
    }


def _points_json(found: Frontier) -> list[dict[str, Any]]:
    """Each point, with its posterior intervals where there are some."""
    points, bands = [_point_json(point) for point in found.points], found.bands
    if bands is None:
        return points
    return [
        point
        | {
            "posterior": {
                "level": bands.level,
                "error": bands.error[p].tolist(),
                "cost_usd": bands.cost_usd[p].tolist(),
                "loss": bands.loss[p].tolist(),
                "beats_single": exchange.plain(bands.beats_single[p]),
            }
        }
        for p, point in enumerate(points)
    ]


def _point_json(point: Point) -> dict[str, Any]:
    return {
        "price_of_error": point.prices.error,
        "policy": point.policy.describe(),
        "kind": point.kind,
        "best_single": point.best_single,
        "expected_error": exchange.plain(point.expected.error),
        "expected_error_given_answered": exchange.plain(error_given_answered(point.expected)),
        "expected_cost_usd": exchange.plain(point.expected.cost_usd),
        "training_error": exchange.plain(point.training.error),
        "training_error_given_answered": exchange.plain(error_given_answered(point.training)),
        "training_cost_usd": exchange.plain(point.training.cost_usd),
    }


def _verdict_json(found: Verdict) -> dict[str, Any]:
    return {
        "text": found.text,
        "source": found.source,
        "saving": exchange.plain(found.saving),
        "saving_standard_error": exchange.plain(found.saving_standard_error),
        "pays": [price_range._asdict() for price_range in found.pays],
    }


def _shares(found: Frontier, shares: Any) -> dict[str, float]:
    return dict(zip(found.models, np.asarray(shares, float).tolist(), strict=True))


def _seconds(table: Records, j: int) -> str:
    if table.latency_s is None or np.isnan(table.latency_s[:, j]).all():
        return ""
    return f"{np.nanmean(table.latency_s[:, j]):.2f}"
