"""Are the gains that `tune` announces honest? Predicted and realised, on queries not seen.

    python -m benchmarks.honesty [--draws N]

For every pool and training part of `benchmarks.quality`, `tune` gives at each price its
cross-validated gain over the best single model with a standard error, from the training queries
alone; the same policies are then counted on the test queries. A gain is a share of the best single
model's loss. Beside it stand two other predictors: the fitted model's expectation, and the count
on the training queries themselves.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.common import RESULTS, prepare_jax, table, versions, write
from benchmarks.quality import REGIMES, Task, tasks
from jaxcascade.cascade import Policy, expected_outcome, loss
from jaxcascade.records import Records
from jaxcascade.reports.style import COLOURS, INK, MARKERS, SHADE, drawing, panels
from jaxcascade.tuning import Frontier, Point, Tuned, Verdict, evaluate, tune, verdict

_SHOWN = 5  # prices of each frontier in the plot and in the first table, in the middle of fifths
_CLEAR = 2.0  # standard errors, as in the verdict
# The questions of its two halves differ: llama3.1-8b is right on 68 % and on 52 %.
_SHIFTED = "medmcqa"
_MIXED = ", mixed"
_GROUPS = (
    *("mmlu", "plaut_hellaswag", "plaut_mmlu", f"mmlu{_MIXED}", f"{_SHIFTED}{_MIXED}"),
    _SHIFTED,
)
_PREDICTORS = ("predicted", "expected", "training", "realised")


class Whole(NamedTuple):
    """One frontier's saving over all its prices, as the verdict from training and the test say."""

    said: float
    said_error: float
    realised: float
    realised_error: float


class Gains(NamedTuple):
    """One frontier's gains over the best single model, as shares of its loss, per price.

    Attributes:
        pool: Name.
        regime: "all" or "30" labels.
        predicted: Cross-validated in training.
        predicted_error: Its standard error as announced.
        realised: Of the same policies on the test queries.
        realised_error: Its standard error over the test queries.
        expected: By the fitted model.
        training: Counted on the queries that the policies were chosen on.
        is_cascade: Whether more than one model is recommended.
        pays: Whether the verdict from training says that a cascade pays at this price.
        whole: Over all prices.
    """

    pool: str
    regime: str
    predicted: Float[np.ndarray, " p"]
    predicted_error: Float[np.ndarray, " p"]
    realised: Float[np.ndarray, " p"]
    realised_error: Float[np.ndarray, " p"]
    expected: Float[np.ndarray, " p"]
    training: Float[np.ndarray, " p"]
    is_cascade: Bool[np.ndarray, " p"]
    pays: Bool[np.ndarray, " p"]
    whole: Whole


def gains_of(task: Task, train: Records, seed: int) -> Gains:
    """Tunes on one training part and counts on the test queries."""
    tuned = tune(jax.random.key(seed), train)
    frontier, held_out = tuned.frontier, tuned.frontier.held_out
    assert held_out is not None
    counted, told = evaluate(frontier, task.test), verdict(frontier)
    expected, training = in_sample(tuned, train)
    return Gains(
        task.pool,
        task.regime,
        held_out.gain / held_out.single_loss,
        held_out.gain_standard_error / held_out.single_loss,
        1.0 - counted.loss / counted.single_loss,
        counted.gain_standard_error / counted.single_loss,
        expected,
        training,
        np.array([len(point.policy.rules) > 1 for point in frontier.points]),
        announced(frontier, told),
        Whole(
            told.saving,
            told.saving_standard_error,
            1.0 - counted.mean_ratio,
            counted.mean_ratio * counted.log_ratio_standard_error,
        ),
    )


def in_sample(
    tuned: Tuned, train: Records
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Gains that the fitted model expects, and those counted where the policies were chosen."""
    model, points = tuned.fit.model, tuned.frontier.points
    train = train.select(model.models)
    cost, error = np.nanmean(train.cost_usd, axis=0), 1.0 - np.nanmean(train.correct, axis=0)
    alone = {name: expected_outcome(model, Policy.single(name)) for name in model.models}

    def expected(point: Point) -> Array:
        return loss(point.expected, point.prices) / loss(alone[point.best_single], point.prices)

    def training(point: Point) -> Array:
        j = model.index(point.best_single)
        return loss(point.training, point.prices) / (cost[j] + point.prices.error * error[j])

    ratios = [[1.0 - float(ratio(point)) for point in points] for ratio in (expected, training)]
    return np.array(ratios[0]), np.array(ratios[1])


def announced(frontier: Frontier, told: Verdict) -> Bool[np.ndarray, " p"]:
    """Whether a verdict says that a cascade pays, per price."""
    prices = frontier.error_prices
    inside = [(prices >= span.low) & (prices <= span.high) for span in told.pays]
    return np.any([np.zeros(prices.size, bool), *inside], axis=0)


def mixed_tasks(num_draws: int) -> Iterator[Task]:
    """Pools whose published halves are thrown together and dealt out anew: none is shifted."""
    for task in tasks(0):
        if task.regime == "all":
            whole = stacked(task.train, task.test)
            for regime, count in (("all", 300), ("30", 30)):
                for seed in range(num_draws):
                    order = np.random.default_rng(seed).permutation(whole.num_queries)
                    train, test = whole.take(order[:count]), whole.take(order[300:])
                    yield Task(f"{task.pool}{_MIXED}", regime, train, [np.ones(count)], test)


def stacked(first: Records, second: Records) -> Records:
    """The queries of both, numbered anew, of the same models."""
    log_confidence, correct, cost_usd = (
        np.vstack([getattr(part, name) for part in (first, second)])
        for name in ("log_confidence", "correct", "cost_usd")
    )
    queries = np.arange(first.num_queries + second.num_queries)
    return Records(queries, first.models, log_confidence, correct, cost_usd)


def every_gain(num_draws: int) -> Iterator[Gains]:
    """The gains of every pool and training part."""
    for task in itertools.chain(tasks(num_draws), mixed_tasks(num_draws)):
        for seed, weight in enumerate(task.weights):
            yield gains_of(task, task.train.take(np.flatnonzero(weight > 0)), seed)


def group_of(gains: Gains) -> str:
    """The data a pool is of, and whether its halves were mixed."""
    table_name = gains.pool.split(",")[0].split()[0]
    return table_name + (_MIXED if gains.pool.endswith(_MIXED) else "")


class Case(NamedTuple):
    """One frontier at one price, as shares of the best single model's loss: see `Gains`."""

    predicted: float
    predicted_error: float
    realised: float
    realised_error: float
    expected: float
    training: float

    @property
    def error(self) -> float:
        """Standard error of the difference between predicted and realised."""
        return float(np.hypot(self.predicted_error, self.realised_error))


def cases_of(found: Sequence[Gains]) -> list[Case]:
    """A few prices of every frontier, spread evenly."""
    cases = []
    for gains in found:
        count = gains.predicted.size
        at = range(count // (2 * _SHOWN), count, count // _SHOWN)
        columns = ([float(x) for x in getattr(gains, name)[at]] for name in Case._fields)
        cases += map(Case, *columns)
    return cases


def estimate_row(label: str, found: Sequence[Gains]) -> tuple:
    """Are predictions right on average, and their standard errors as large as their errors?"""
    cases = cases_of(found)
    means = [np.mean([getattr(c, name) for c in cases]) for name in _PREDICTORS]
    # Where a single model is recommended and was chosen in every fold, nothing is claimed.
    claims = [c for c in cases if c.error > 0]
    z = np.array([(c.realised - c.predicted) / c.error for c in claims])
    silent = sum(c.predicted_error == 0 for c in claims)
    return (
        label,
        len(found),
        *(f"{100 * mean:.1f}" for mean in means),
        len(claims),
        f"{np.sqrt(np.mean(z**2)):.2f}",
        f"{np.mean(np.abs(z) < _CLEAR):.0%}",
        silent,
    )


def verdict_row(label: str, found: Sequence[Gains]) -> tuple:
    """Were the verdicts right? Averages over the prices that each is about."""
    paying = [(g, g.pays) for g in found if g.pays.any()]
    others = [(g, np.ones(g.pays.size, bool)) for g in found if not g.pays.any()]

    def means(chosen: list[tuple[Gains, Bool[np.ndarray, " p"]]], name: str) -> np.ndarray:
        return np.array([getattr(g, name)[at].mean() for g, at in chosen])

    cells: list[str] = []
    for chosen, is_right in ((paying, True), (others, False)):
        gain, noise = means(chosen, "realised"), _CLEAR * means(chosen, "realised_error")
        right = gain > 0 if is_right else gain <= noise
        shares = (right, gain > noise, gain < -noise)
        figures = [f"{100 * means(chosen, name).mean():.1f}" for name in ("predicted", "realised")]
        filled = [*figures, *(f"{share.mean():.0%}" for share in shares)] if chosen else [""] * 5
        cells += [str(len(chosen)), *filled]
    return (label, *cells)


def by_group(found: Sequence[Gains], regime: str) -> Iterator[tuple[str, list[Gains]]]:
    """The groups, and all of them that are not shifted."""
    found = [g for g in found if g.regime == regime]
    for label in _GROUPS:
        yield label, [g for g in found if group_of(g) == label]
    yield "all but the last", [g for g in found if group_of(g) != _SHIFTED]


def whole_row(label: str, found: Sequence[Gains]) -> tuple:
    """Is the saving over all prices right, and those that are announced as clear?"""
    said, said_error, realised, realised_error = np.array([g.whole for g in found]).T
    claims = np.hypot(said_error, realised_error) > 0
    z = (realised - said)[claims] / np.hypot(said_error, realised_error)[claims]
    clear = said > _CLEAR * said_error
    noise = _CLEAR * realised_error
    shares = (realised > 0, realised > noise, realised < -noise)
    return (
        label,
        *(f"{100 * part.mean():.1f}" for part in (said, realised)),
        f"{np.sqrt(np.mean(z**2)):.2f}",
        f"{np.mean(np.abs(z) < _CLEAR):.0%}",
        int(clear.sum()),
        *(f"{100 * part[clear].mean():.1f}" if clear.any() else "" for part in (said, realised)),
        *(f"{share[clear].mean():.0%}" if clear.any() else "" for share in shares),
        f"{(realised > noise)[~clear].mean():.0%}" if (~clear).any() else "",
    )


def draw(found: Sequence[Gains]) -> Figure:
    """Realised against predicted gains, a panel for each number of labels."""
    with drawing():
        figure, axes = panels(len(REGIMES), 4.6, most=2, fewest=2, share=False)
        for ax, (regime, label) in zip(axes, REGIMES.items(), strict=True):
            shown = [g for g in found if g.regime == regime]
            ax.axline((0.0, 0.0), slope=1.0, color=INK, lw=0.8, zorder=1)
            ax.axhline(0.0, color=SHADE, lw=0.6, zorder=1)
            ax.axvline(0.0, color=SHADE, lw=0.6, zorder=1)
            for name, colour, marker in zip(_GROUPS, COLOURS, MARKERS, strict=False):
                part = cases_of([g for g in shown if group_of(g) == name])
                ax.errorbar(
                    [c.predicted for c in part],
                    [c.realised for c in part],
                    xerr=[c.predicted_error for c in part],
                    yerr=[c.realised_error for c in part],
                    fmt=marker, ms=3.5, color=colour, elinewidth=0.4, alpha=0.8, label=name,
                )  # fmt: skip
            cases = np.array([(c.predicted, c.realised) for c in cases_of(shown)])
            (left, low), (right, high) = 1.1 * cases.min(axis=0), 1.1 * cases.max(axis=0)
            ax.set(xlim=(left, right), ylim=(low, high), title=label)
            ax.set_xlabel("gain predicted in training, share of the best single model's loss")
            ax.set_ylabel("gain realised on other queries")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            ax.legend(fontsize=8, loc="upper left")
        return figure


ESTIMATES = (
    *("data", "frontiers", "cross-validated %", "model expects %", "counted in training %"),
    *("**realised %**", "cases", "rms z", "within 2 s.e.", "s.e. of zero"),
)
VERDICTS = (
    *("data", "pays", "said %", "realised %", "above 0", "clearly above", "clearly below"),
    *("does not", "said %", "realised %", "not clearly above", "clearly above", "clearly below"),
)
WHOLE = (
    *("data", "said %", "**realised %**", "rms z", "within 2 s.e.", "said to be clear"),
    *("said %", "realised %", "above 0", "clearly above", "clearly below", "not clear: above"),
)
EXPLAINED = f"""
Gains are in percent of the best single model's loss. In the first table they are means over
{_SHOWN} prices of every frontier. There z is the realised less the cross-validated gain, in
standard errors of both together; honest standard errors have an rms z of 1 and 95 % within two.
Cases in which a single model is recommended and was chosen in every fold claim nothing and are left
out of these. The last column counts claims that were announced with a standard error of zero.

The second table is about the saving over all prices, one minus the geometric mean of the ratios of
losses, and those of them that are announced as more than two standard errors. Its last column says
how many of the others were clearly above 0 on the test queries after all.

The third table is about verdicts, over the prices at which one says that a cascade pays, and over
all prices where it says that none clearly does. "Clearly" is beyond two standard errors of the
test queries. What is said to be saved where a cascade pays was picked for being large.

The halves of MedMCQA differ: the test questions are harder. In the pools called mixed the halves
were thrown together and dealt out anew, 300 queries to tune on.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=10, help="random training parts per pool")
    given = parser.parse_args()
    prepare_jax()
    began = time.perf_counter()
    found = list(every_gain(given.draws))
    pages = ["# Are the announced gains honest?", *(__doc__ or "").splitlines()[1:]]
    pages += EXPLAINED.splitlines()
    for regime, label in REGIMES.items():
        groups = list(by_group(found, regime))
        pages += ["", f"## {label[0].upper()}{label[1:]}", ""]
        pages += [table(ESTIMATES, [estimate_row(*group) for group in groups]), ""]
        pages += [table(WHOLE, [whole_row(*group) for group in groups]), ""]
        pages += [table(VERDICTS, [verdict_row(*group) for group in groups])]
    pages += ["", "![Realised against predicted gains](honesty.png)", ""]
    pages += [f"{given.draws} draws per pool; {time.perf_counter() - began:.0f} s."]
    # Not a drawing of lines: a thousand crosses take less room as pixels.
    with drawing():
        draw(found).savefig(RESULTS / "honesty.png", dpi=110, metadata={"Software": None})
    content = {
        "versions": versions(),
        "frontiers": [
            {"pool": g.pool, "regime": g.regime, "prices_that_pay": int(g.pays.sum())}
            | {"whole": np.round(g.whole, 5).tolist()}
            | {
                name: np.round([getattr(case, name) for case in cases_of([g])], 5).tolist()
                for name in Case._fields
            }
            for g in found
        ],
    }
    write("honesty", content, "\n".join(pages))


if __name__ == "__main__":
    main()
