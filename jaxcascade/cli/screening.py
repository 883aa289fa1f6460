"""The scenario `demo --scenario screening`: candidates, five raters, a phone screen to buy."""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cli import exchange, terminal
from jaxcascade.decisions import (
    PARTS,
    ScreeningResults,
    ScreeningWorld,
    compare_screening,
    leave_one_out,
    shapley,
    value_of_asking,
)
from jaxcascade.economics import bootstrap_weights
from jaxcascade.reports.screening_page import (
    ComparisonRow,
    Estimate,
    MethodRow,
    Notes,
    PartRow,
    SavingRow,
    ScreeningMaterial,
    sections,
    write_screening_report,
)
from jaxcascade.tuning import dollars

NUM_SIMULATIONS, NUM_LABELLED, NUM_CANDIDATES = 200, 200, 1000
# Amin (2026), arXiv:2601.01522, summary of results on 1,000 synthetic candidates: dollars saved
# against the best single model, the same as a share, largest gap between groups in percentage
# points before and after, and shares of the parts in percent.
PAPER = {
    "saved_usd": 294_000,
    "saved_share": 0.34,
    "gap_before": 22,
    "gap_after": 5,
    "aggregation": 51,
    "sequential updating": 43,
    "disagreement trigger": 20,
}
_NAIVE, _BY_COST = "best rater, likelier state", "best rater, by cost"
_FITTED = "best rater fitted, by cost"
# One rater can be fitted and screened, too: no claim for several may leave it out.
_BASELINE = "best rater fitted, screen"
_POOL, _BEST_POSSIBLE = "tempered pool, screen", "best possible, screen"
_NUM_SAVINGS = 6
_NUM_BOOTSTRAP = 2000
_NORMAL_95 = 1.96


def demo(arguments: argparse.Namespace) -> None:
    """Simulates hiring, and compares what methods cost."""
    exchange.check_writable(arguments.report, arguments.json)
    world = ScreeningWorld()
    of_results, of_bootstrap = jax.random.split(jax.random.key(0))
    with exchange.progress_shown() as progress:
        results = compare_screening(
            of_results,
            NUM_SIMULATIONS,
            num_labelled=NUM_LABELLED,
            num_candidates=NUM_CANDIDATES,
            world=world,
            progress=progress,
        )
        progress("weighing the parts")
        material = _material(of_bootstrap, results, world)
        progress("drawing the report")
        write_screening_report(arguments.report, material)
    if not exchange.write_json(arguments.json, content(material, results, world)):
        _show(material)
        terminal.line(f"Report written to {arguments.report}")


def content(
    material: ScreeningMaterial, results: ScreeningResults, world: ScreeningWorld
) -> dict[str, Any]:
    """Returns the results as JSON can hold them."""
    return {
        "verdict": material.verdict,
        "num_simulations": len(results.error_correlation),
        "missed_usd": world.missed_usd,
        "interview_usd": world.interview_usd,
        "screen_usd": world.screen_usd,
        "interview_threshold": world.costs.threshold("reject", "interview"),
        "screen_worthwhile": list(screen_range(world)),
        "error_correlation": float(results.error_correlation.mean()),
        "baseline": material.baseline,
        "methods": [_plain(row) for row in material.methods],
        "savings": [_plain(row) for row in material.savings],
        "parts": [_plain(row) for row in material.parts],
        "paper": PAPER,
    }


def screen_range(world: ScreeningWorld) -> tuple[float, float]:
    """Returns the least and the greatest belief at which a screen is worth its price, to 1e-5."""
    fit = np.linspace(0.0, 1.0, 100_001)
    belief = np.stack([1.0 - fit, fit], axis=-1)
    worth = np.asarray(value_of_asking(jnp.asarray(belief), world.costs, world.screen))
    paid = fit[worth[:, 0] > world.screen_usd]
    return (float(paid[0]), float(paid[-1])) if paid.size else (float("nan"), float("nan"))


def _plain(row: MethodRow | SavingRow | PartRow) -> dict[str, Any]:
    return {
        name: value._asdict() if isinstance(value, Estimate) else value
        for name, value in row._asdict().items()
    }


def _material(key: Array, results: ScreeningResults, world: ScreeningWorld) -> ScreeningMaterial:
    weights = bootstrap_weights(key, len(results.error_correlation), _NUM_BOOTSTRAP)
    methods, parts = _method_rows(results), _part_rows(results, weights)
    savings = {name: _saving_row(results, name) for name in results.methods}
    return ScreeningMaterial(
        _verdict(results, savings),
        _facts(results, world),
        methods,
        _BASELINE,
        _best(results, savings),
        parts,
        _comparison(results, parts),
        _notes(results, parts),
    )


def _method_rows(results: ScreeningResults) -> list[MethodRow]:
    mean = jax.tree.map(
        lambda column: np.asarray(column).mean(axis=0), results._replace(methods=())
    )
    rows = []
    for at, name in enumerate(results.methods):
        low, high = np.quantile(results.cost_usd[:, at], [0.05, 0.95])
        rows.append(
            MethodRow(
                name,
                cost_usd=_estimate(results.cost_usd[:, at]),
                missed_usd=float(mean.missed_usd[at]),
                interviews_usd=float(mean.interviews_usd[at]),
                screens_usd=float(mean.screens_usd[at]),
                spread_usd=(float(low), float(high)),
                screened=float(mean.screened[at]),
                interviewed=float(mean.interviewed[at]),
                missed=float(mean.missed[at]),
                rate_gap=_estimate(results.rate_gap[:, at]),
                missed_gap=_estimate(results.missed_gap[:, at]),
            )
        )
    return rows


def _saving_row(results: ScreeningResults, name: str, baseline: str = _BASELINE) -> SavingRow:
    """By differences within each simulation, which leave out its luck with candidates."""
    usual, cost = _cost(results, baseline), _cost(results, name)
    saved = _estimate(usual - cost)
    share = Estimate(*(end / float(usual.mean()) for end in saved))
    return SavingRow(name, saved, share, float((cost < usual).mean()))


def _best(results: ScreeningResults, savings: dict[str, SavingRow]) -> list[SavingRow]:
    """The cheapest methods but the baseline."""
    ranked = np.argsort(np.asarray(results.cost_usd).mean(axis=0), kind="stable")
    names = [results.methods[at] for at in ranked if results.methods[at] != _BASELINE]
    return [savings[name] for name in names[:_NUM_SAVINGS]]


def _part_rows(results: ScreeningResults, weights: Float[np.ndarray, "b d"]) -> list[PartRow]:
    """Shares of mean dollars, and of their means under weights of a bootstrap; last the sums."""
    saved = np.asarray(results.saved_usd)
    found = []
    for contributions in (leave_one_out, shapley):
        share = _with_sum(contributions(saved.mean(axis=0), PARTS).share_percent)
        draws = _with_sum(contributions(weights @ saved, PARTS).share_percent)
        ends = np.quantile(draws, [0.025, 0.975], axis=0)
        found.append([Estimate(*map(float, one)) for one in zip(share, *ends, strict=True)])
    return [PartRow(*row) for row in zip((*PARTS, "sum"), *found, strict=True)]


def _with_sum(share: Float[Array, "*b k"]) -> Float[np.ndarray, "*b k+1"]:
    return np.concatenate([share, share.sum(axis=-1, keepdims=True)], axis=-1)


def _cost(results: ScreeningResults, name: str) -> Float[np.ndarray, " d"]:
    return np.asarray(results.cost_usd[:, results.methods.index(name)])


def _estimate(values: Float[Array | np.ndarray, " d"]) -> Estimate:
    values = np.asarray(values)
    mean = float(values.mean())
    half = _NORMAL_95 * float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half)


def _verdict(results: ScreeningResults, savings: dict[str, SavingRow]) -> str:
    pool, possible = savings[_POOL], savings[_BEST_POSSIBLE]
    return (
        f"The tempered pool of all raters {_saves(pool)} the best rater alone, fitted and screened "
        f"alike: {dollars(_cost(results, _POOL).mean())} against "
        f"{dollars(_cost(results, _BASELINE).mean())} per 1,000 candidates. Whoever knew how "
        f"ratings come about {_saves(possible, 'would save', 'would cost')} it."
    )


def _saves(row: SavingRow, less: str = "saves", more: str = "costs") -> str:
    """In words that are true whichever way it falls."""
    share = row.saved_share
    sign = 1 if share.value >= 0 else -1
    low, high = sorted(sign * end for end in share[1:])
    interval = f"{sign * share.value:.1%} (95 % interval {low:.1%} to {high:.1%})"
    chance = "" if low > 0 else ", which may be chance,"
    return (
        f"{less if sign > 0 else more} {interval}{chance} {'against' if sign > 0 else 'more than'}"
    )


def _facts(results: ScreeningResults, world: ScreeningWorld) -> str:
    low, high = screen_range(world)
    return (
        f"Simulated {len(results.error_correlation)} times: {NUM_CANDIDATES:,} candidates, "
        f"{world.prevalence:.0%} of them fit, and {NUM_LABELLED} earlier ones with known fitness "
        f"to learn from; {len(world.accuracy)} raters, whose errors correlate at "
        f"{float(results.error_correlation.mean()):.2f}. To miss a fit candidate costs "
        f"${world.missed_usd:,.0f}, to interview an unfit one ${world.interview_usd:,.0f}, a phone "
        f"screen ${world.screen_usd:,.0f}. An interview pays where the belief in fitness is above "
        f"{world.costs.threshold('reject', 'interview'):.6f}; a screen is worth its price from "
        f"{low:.4f} to {high:.4f}."
    )


def _comparison(results: ScreeningResults, parts: Sequence[PartRow]) -> list[ComparisonRow]:
    paper = f"${PAPER['saved_usd']:,}, {PAPER['saved_share']:.0%}"
    saved = [
        ComparisonRow(f"saved against the {name}", told, _saved(results, name))
        for name, told in ((_NAIVE, paper), (_BY_COST, ""), (_FITTED, ""), (_BASELINE, ""))
    ]
    told = f"{PAPER['gap_before']} to {PAPER['gap_after']} points"
    gaps = [
        ComparisonRow(f"gap, {what}: {name}, to pool", known, _gaps(results, kind, name))
        for name, told_here in ((_NAIVE, told), (_BY_COST, ""))
        for what, kind, known in (
            ("interviewed", "rate_gap", told_here),
            ("missed", "missed_gap", ""),
        )
    ]
    here = {row.name: _shares(row) for row in parts}
    words = [
        ("aggregation", f"{PAPER['aggregation']}%", here["aggregation"]),
        ("sequential updating; screen", f"{PAPER['sequential updating']}%", here["screen"]),
        ("disagreement trigger", f"{PAPER['disagreement trigger']}%", "no part"),
        ("acting on costs", "no part", here["costs"]),
        ("calibration", "no part", here["calibration"]),
        ("sum of parts", f"{_paper_sum()}%", here["sum"]),
    ]
    return [*saved, *gaps, *(ComparisonRow(*row) for row in words)]


def _saved(results: ScreeningResults, baseline: str) -> str:
    row = _saving_row(results, _POOL, baseline)
    sign = "-" if row.saved_usd.value < 0 else ""
    return f"{sign}{dollars(abs(row.saved_usd.value))}, {row.saved_share.value:.1%}"


def _gaps(results: ScreeningResults, name: str, baseline: str) -> str:
    before, after = (100 * _mean(results, name, method) for method in (baseline, _POOL))
    return f"{before:.1f} to {after:.1f} points"


def _mean(results: ScreeningResults, name: str, method: str) -> float:
    return float(getattr(results, name)[:, results.methods.index(method)].mean())


def _shares(row: PartRow) -> str:
    return f"left out {row.left_out.value:.1f}%, Shapley {row.shapley.value:.1f}%"


def _paper_sum() -> int:
    names = ("aggregation", "sequential updating", "disagreement trigger")
    return sum(PAPER[name] for name in names)


def _notes(results: ScreeningResults, parts: Sequence[PartRow]) -> Notes:
    sums = parts[-1]
    few = _mean(results, "interviewed", _NAIVE)
    return Notes(
        "Costs are means per 1,000 candidates; ± is half a 95 % interval of a mean, the middle "
        "90 % is of simulations. Gaps, in percentage points: how much less often the second group "
        "is interviewed, and how much more often its fit are missed; both groups are equally fit, "
        "but raters lean against the second. The best rater is picked by log loss on the earlier "
        'candidates. Tempered pool and what is "fitted" learn from the same; the best possible '
        "knows how ratings come about.",
        "The pool learns from the same labels as the baseline and buys the same screen, so that "
        "what it saves or costs is due to the other raters. Intervals are of differences within "
        "each simulation, on the same candidates. Here all raters share their luck, so that a weak "
        "one held against a strong one cancels what both get wrong: the pool does it as far as its "
        "labels tell, the best possible belief all the way.",
        f'The whole is "{_POOL}"; without any part it is "{_NAIVE}". Aggregation: all raters, not '
        "the best. Calibration: learnt from earlier candidates, not taken at their word. Costs: "
        "the cheapest action, not the likelier state. Screen: bought where it is worth its price "
        "(without costs, where belief is unsure). Leaving one part out charges what several do "
        f"together to each of them, or to none: the shares sum to {sums.left_out.value:.0f}%, and "
        "need not sum to 100%. Shapley's value averages over all orders of adding parts; its "
        f"shares sum to {sums.shapley.value:.0f}%. Intervals by a bootstrap of the simulations.",
        "The paper (arXiv:2601.01522) reports on synthetic candidates of its own; as far as its "
        "summary tells, its best single model decides without costs, and is not fitted or "
        "screened. Here acting on costs is a part of its own, which one rater can have without any "
        "other. The raters' errors correlate, so that they tell less than five independent ones. "
        f'"{_NAIVE.capitalize()}" interviews {few:.1%} of the candidates, where '
        f"{ScreeningWorld().prevalence:.0%} are fit: a gap of interview rates is bounded by the "
        "rates, and says little beside that of missed fit.",
    )


def _show(material: ScreeningMaterial) -> None:
    terminal.line(material.facts)
    for section in sections(material):
        terminal.line(f"\n{section.title}")
        terminal.columns(section.columns)
        terminal.line(section.note)
    terminal.line(f"\n{material.verdict}")
