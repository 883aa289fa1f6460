"""What rules with a person save and lose, with intervals: table 4.2 of the thesis, and drags."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Array, Float

from jaxcascade.economics.bootstrap import bootstrap_weights
from jaxcascade.economics.drags import cost_drag, latency_drag
from jaxcascade.economics.human import fail_fast_policy, two_models
from jaxcascade.economics.human_curves import REJECTIONS, loop_curves
from jaxcascade.records import Records

_FAIL_FAST = (0.5, 0.6, 0.75)


def savings_table(
    key: Array,
    train: Records,
    test: Records,
    *,
    models: tuple[str, str] | None = None,
    utilisations: Sequence[float] = _FAIL_FAST,
    rejections: Sequence[float] = REJECTIONS,
    num_draws: int = 1000,
    level: float = 0.95,
) -> pa.Table:
    """Compares "Fail fast, or ask" with "Ask", as table 4.2 of the thesis does.

    Args:
        key: Of the bootstrap.
        train: Where the thresholds are learnt.
        test: Where the rules are judged: labelled runs of both models.
        models: The fast and the reasoning model; by default the two of the records.
        utilisations: Above 0, to 1; each is compared with 0, which is Ask.
        rejections: Over which accuracy, seconds and dollars are averaged.
        num_draws: Of the Bayesian bootstrap of the test queries; thresholds stay.
        level: Probability of each interval.

    Returns:
        One row per utilisation: `auarc`, and as shares of Ask's value `auarc_change`,
        `latency_change` and `cost_change` (NaN where no seconds were recorded), each with `_low`
        and `_high`; `num_undefined` rejections did not count.
    """
    settings = {"models": models, "utilisations": (0.0, *utilisations), "rejections": rejections}
    once = loop_curves(train, test, **settings)
    draws = loop_curves(
        train,
        test,
        weight=bootstrap_weights(key, test.num_queries, num_draws),
        **settings,
    )

    def measures(curves) -> dict[str, Float[np.ndarray, "*draws u"]]:
        area = curves.auarc
        seconds, dollars = (
            np.mean(np.asarray(part), axis=-1)
            for part in (curves.outcome.latency_s, curves.outcome.cost_usd)
        )
        return {"auarc": area[..., 1:]} | {
            f"{name}_change": values[..., 1:] / values[..., :1] - 1.0
            for name, values in (("auarc", area), ("latency", seconds), ("cost", dollars))
        }

    columns: dict[str, np.ndarray] = {"utilisation": np.array(utilisations, float)}
    spread = measures(draws)
    for name, value in measures(once).items():
        columns |= _with_ends(name, value, spread[name], level)
    return pa.table(columns | {"num_undefined": once.num_undefined[1:]})


def drag_table(
    key: Array,
    train: Records,
    test: Records,
    *,
    models: tuple[str, str] | None = None,
    utilisations: Sequence[float] = _FAIL_FAST,
    rejection: float = 0.1,
    num_draws: int = 1000,
    level: float = 0.95,
) -> pa.Table:
    """Measures latency drag and cost drag of "Fail fast, or ask", with their parts.

    Args:
        key: Of the bootstrap.
        train: Where the thresholds are learnt.
        test: Where the drags are measured; labels are not needed.
        models: See `savings_table`.
        utilisations: One row each, for seconds (where they were recorded) and dollars.
        rejection: Share of the queries that the person takes.
        num_draws: See `savings_table`.
        level: Probability of each interval.

    Returns:
        `amount` ("latency_s" or "cost_usd"), `utilisation`, the share `passed` on, and per query
        `naive`, `actual`, and with ends the `drag` and its parts `no_easy` and `no_hardest`.
    """
    names = two_models(train, models)
    train, test = train.select(names), test.select(names)
    weight = bootstrap_weights(key, test.num_queries, num_draws)
    measured = {"cost_usd": cost_drag}
    if test.latency_s is not None:
        measured = {"latency_s": latency_drag, **measured}
    rows = []
    for name, measure in measured.items():
        for share in utilisations:
            policy = fail_fast_policy(
                train, train.log_confidence, utilisation=share, rejection=rejection
            )
            once, draws = (
                measure(test, test.log_confidence, policy, each) for each in (None, weight)
            )
            row = {
                "amount": name,
                "utilisation": float(share),
                "passed": once.share,
                "naive": once.naive,
                "actual": once.actual,
            }
            for part, value, spread in (
                ("drag", once.total, draws.total),
                ("no_easy", once.no_easy, draws.no_easy),
                ("no_hardest", once.no_hardest, draws.no_hardest),
            ):
                row |= _with_ends(part, value, spread, level)
            rows.append(row)
    amounts = pa.array([row.pop("amount") for row in rows])
    columns = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
    return pa.table({"amount": amounts, **columns})


def _with_ends(name: str, value, draws, level: float) -> dict[str, np.ndarray]:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: np.asarray(value), f"{name}_low": low, f"{name}_high": high}
