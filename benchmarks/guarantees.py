"""Do the stated levels hold, and what do they cost? Bounds and certificates on random splits.

    python -m benchmarks.guarantees [--splits N]

For every pool a frontier is tuned once, on 300 queries (100 of GSM8K). The rest is split at random
again and again. Queries are drawn in two ways, half as many as there are in the rest: with
replacement, so that the draws are independent and their true mean is that of the whole rest; and
as one of two halves, which can be held against the whole rest or against the other half.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, versions, write
from benchmarks.honesty import stacked
from jaxcascade.cascade import Policy, Prices, in_cost_order
from jaxcascade.records import Records
from jaxcascade.tuning import (
    Betting,
    Bonferroni,
    Correction,
    ExactBinomial,
    FixedSequence,
    Frontier,
    HoeffdingBentkus,
    Holm,
    JointError,
    MeanBound,
    MeanLoss,
    Risk,
    dearest_paths,
    guarantees,
    mean_bounds,
    mean_p_values,
    replay_policies,
    tune,
)

_PLAUT = ("Mistral", "Solar", "Yi-34b", "Mixtral", "gpt-3.5-turbo", "gpt-4-turbo")
_LEVELS = (0.1, 0.05)
_HALVES = ("train", "test")
_NUM_PRICES = 30
_BLOCK = 100  # splits at a time: the samples of all policies take memory
_SWEPT = ("plaut_mmlu", "plaut_hellaswag")
_SIZES = (30, 100, 300, 1000, 3000)
_FEW_SPLITS = 200
_SLACK = 0.05  # above half of the policies: 200 queries certify nothing nearer to the truth
_NORMAL = "normal approximation"
BOUNDS: Mapping[str, MeanBound] = {
    "exact binomial": ExactBinomial(),
    "betting": Betting(),
    "Hoeffding-Bentkus": HoeffdingBentkus(),
}
_NONE, _COUNTED = "each at the full level", "counted at most the limit"
CORRECTIONS: Mapping[str, Correction] = {
    "Bonferroni": Bonferroni(),
    "Holm": Holm(),
    "fixed sequence": FixedSequence(),
}


class Pool(NamedTuple):
    """A frontier and queries that it has not seen.

    Attributes:
        name: Of the data and the models.
        frontier: Its points have policies that differ.
        tuning: What it was tuned on.
        rest: The population.
        prices: At the middle of the frontier.
    """

    name: str
    frontier: Frontier
    tuning: Records
    rest: Records
    prices: Prices


class Sampled(NamedTuple):
    """A risk of every policy and single model, on every query of the rest.

    Attributes:
        values: Of each.
        upper: What none can exceed.
        predicted: Before the rest was seen.
        cost_usd: True mean of each.
        num_policies: How many there are; the others are single models.
    """

    values: Float[np.ndarray, "h m"]
    upper: Float[np.ndarray, " h"]
    predicted: Float[np.ndarray, " h"]
    cost_usd: Float[np.ndarray, " h"]
    num_policies: int

    @property
    def truth(self) -> Float[np.ndarray, " h"]:
        """True means."""
        return self.values.mean(axis=1)

    @property
    def middle(self) -> int:
        """The policy that is named before: the middle one of the frontier."""
        return self.num_policies // 2


def pools() -> Iterator[Pool]:
    """Every pool, tuned."""
    nine = LLAMA + OTHERS
    pairs = {name: [load(f"{name}_{half}", nine) for half in _HALVES]
             for name in ("mmlu", "medmcqa")}  # fmt: skip
    tables = {f"{name}, nine": stacked(*halves) for name, halves in pairs.items()}
    tables["gsm8k, nine"] = load("gsm8k_train", nine)
    tables |= {name: load(name, _PLAUT) for name in ("plaut_mmlu", "plaut_hellaswag")}
    for name, records in tables.items():
        yield tuned(name, in_cost_order(records), min(300, records.num_queries // 3))


def tuned(name: str, records: Records, count: int) -> Pool:
    """Tunes on queries drawn at random; the others are the population."""
    order = np.random.default_rng(0).permutation(records.num_queries)
    tuning, rest = records.take(order[:count]), records.take(order[count:])
    frontier = tune(jax.random.key(0), tuning, num_prices=_NUM_PRICES).frontier
    prices = frontier.points[_NUM_PRICES // 2].prices
    return Pool(name, _without_repetition(frontier), tuning, rest, prices)


def _without_repetition(frontier: Frontier) -> Frontier:
    policies = [point.policy for point in frontier.points]
    new = [p for p, policy in enumerate(policies) if policy not in policies[:p]]
    return frontier._replace(points=tuple(frontier.points[p] for p in new))


def singles_of(pool: Pool) -> Frontier:
    """The single models, safest in tuning first, with what they did there."""
    wrong, cost = (np.mean(x, axis=0) for x in (1 - pool.tuning.correct, pool.tuning.cost_usd))
    points = []
    for j, name in enumerate(pool.tuning.models):
        seen = pool.frontier.points[0].training
        seen = seen._replace(error=wrong[j], cost_usd=cost[j], abstention=np.zeros(()))
        point = pool.frontier.points[0]
        points.append(point._replace(policy=Policy.single(name), expected=seen, training=seen))
    return pool.frontier._replace(points=tuple(points))


def sampled(pool: Pool, risk: Risk) -> Sampled:
    """Replays all policies and all single models on the rest."""
    parts = []
    for frontier in (pool.frontier, singles_of(pool)):
        result = replay_policies(frontier, pool.rest)
        predicted = [
            risk.predicted(p.expected) + risk.predicted(p.training) for p in frontier.points
        ]
        parts.append((risk.values(result), predicted, np.mean(result.cost_usd, axis=1)))
    values, predicted, cost = map(np.concatenate, zip(*parts, strict=True))
    upper = np.broadcast_to(np.max(risk.largest()), len(values))
    return Sampled(values, upper, predicted, cost, len(pool.frontier.points))


def risks(pool: Pool) -> dict[str, Risk]:
    """Errors, and dollars at the middle price; the table holds the dearest call there is."""
    everything = stacked(pool.tuning, pool.rest)
    dearest = max(np.max(dearest_paths(f, everything)) for f in (pool.frontier, singles_of(pool)))
    return {"error": JointError(), "loss": MeanLoss(pool.prices, dearest + pool.prices.error)}


def draws(pool: Pool, num_splits: int, replace: bool) -> Int[np.ndarray, "s n"]:
    """Positions in the rest; without replacement, all of them, the second half after the first."""
    rng, size = np.random.default_rng(1), pool.rest.num_queries
    if replace:
        return rng.integers(0, size, (num_splits, size // 2))
    return rng.permuted(np.tile(np.arange(size), (num_splits, 1)), axis=1)


def normal_bounds(values: Float[np.ndarray, "s n"], delta: float) -> Float[np.ndarray, " s"]:
    """Mean and 1.28 or 1.64 standard errors: without a guarantee."""
    error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return values.mean(axis=1) + NormalDist().inv_cdf(1 - delta) * error


def bounds_of(
    values: Float[np.ndarray, "s n"], upper: float, delta: float
) -> dict[str, Float[np.ndarray, " s"]]:
    """Every bound that applies."""
    is_binary = bool(np.all((values == 0) | (values == upper)))
    found = {
        name: mean_bounds(values, delta, bound, upper)
        for name, bound in BOUNDS.items()
        if is_binary or not isinstance(bound, ExactBinomial)
    }
    return found | {_NORMAL: normal_bounds(values, delta)}


class Alone(NamedTuple):
    """How a bound on one policy that was named before did.

    Attributes:
        pool: Name.
        risk: "error" or "loss".
        delta: Stated level.
        bound: Name.
        num: Queries of a sample.
        failed: Share of splits in which the truth was above, drawn with replacement.
        halves: Share of random halves in which the mean of the whole rest was above.
        other: Share of random halves in which the mean of the other half was above.
        width: Mean distance of the bound from the counted mean, as a share of the truth.
    """

    pool: str
    risk: str
    delta: float
    bound: str
    num: int
    failed: float
    halves: float
    other: float
    width: float


def alone(pool: Pool, name: str, sample: Sampled, num_splits: int) -> Iterator[Alone]:
    """One policy, by every bound at every level."""
    values, upper = sample.values[sample.middle], float(sample.upper[sample.middle])
    independent = values[draws(pool, num_splits, replace=True)]
    num, truth = independent.shape[1], values.mean()
    dealt = values[draws(pool, num_splits, replace=False)]
    for delta in _LEVELS:
        first = bounds_of(independent, upper, delta)
        second = bounds_of(dealt[:, :num], upper, delta)
        for bound, found in first.items():
            yield Alone(
                pool.name, name, delta, bound, num,
                float(np.mean(found < truth)),
                float(np.mean(second[bound] < truth)),
                float(np.mean(second[bound] < dealt[:, num:].mean(axis=1))),
                float(np.mean(found - independent.mean(axis=1)) / truth),
            )  # fmt: skip


class Chosen(NamedTuple):
    """How a choice by error among all policies of a frontier did.

    Attributes:
        pool: Name.
        delta: Stated level.
        rule: Name.
        num_policies: How many policies were looked at.
        limit: On the error.
        failed: Share of splits in which some certified policy was above the limit.
        halves: The same for random halves.
        picked: Share of splits in which the cheapest certified policy was above the limit.
        found: Share of splits in which some policy was certified.
        single: Share of splits in which some single model was certified, in the same way.
        cost: Mean true cost of the cheapest certified policy over that of the cheapest certified
            single model, where there are both.
        ideal: The same for the cheapest policy and single model that truly keep the limit.
    """

    pool: str
    delta: float
    rule: str
    num_policies: int
    limit: float
    failed: float
    halves: float
    picked: float
    found: float
    single: float
    cost: float
    ideal: float


class Evidence(NamedTuple):
    """P-values and counted means of every split, policies and then single models."""

    p_values: Float[np.ndarray, "s h"]
    means: Float[np.ndarray, "s h"]


def evidence(
    sample: Sampled,
    at: Int[np.ndarray, "s n"],
    limit: Float[np.ndarray, " h"] | float,
    bound: MeanBound,
    level: float,
) -> Evidence:
    """Counts and tests, a block of splits at a time."""
    blocks = []
    for start in range(0, len(at), _BLOCK):
        values = np.swapaxes(sample.values[:, at[start : start + _BLOCK]], 0, 1)
        p_values = mean_p_values(values, limit, bound, sample.upper, level)
        blocks.append((p_values, values.mean(axis=2)))
    return Evidence(*map(np.concatenate, zip(*blocks, strict=True)))


def kept(
    rule: str,
    sample: Sampled,
    seen: Evidence,
    rows: slice,
    limit: Float[np.ndarray, " c"] | float,
    delta: float,
) -> Bool[np.ndarray, "s c"]:
    """Which of the rows a rule takes to keep the limit, tested in the order predicted."""
    p_values = seen.p_values[:, rows]
    if rule == _COUNTED:
        return seen.means[:, rows] <= limit
    if rule == _NONE:
        return p_values <= delta
    order = np.argsort(sample.predicted[rows], kind="stable")
    rejected = np.zeros(p_values.shape, bool)
    rejected[:, order] = CORRECTIONS[rule].rejects(p_values[:, order], delta)
    return rejected


def chosen(pool: Pool, sample: Sampled, num_splits: int) -> Iterator[Chosen]:
    """All policies, by every rule at every level, at a limit that half of them keep."""
    h = sample.num_policies
    policies, singles = slice(h), slice(h, None)
    limit = float(np.median(sample.truth[policies]))
    above = sample.truth > limit
    independent = draws(pool, num_splits, replace=True)
    dealt = draws(pool, num_splits, replace=False)[:, : independent.shape[1]]

    def least(is_kept: Bool[np.ndarray, "s c"], rows: slice) -> Float[np.ndarray, " s"]:
        return np.where(is_kept, sample.cost_usd[rows], np.inf).min(axis=1)

    ideal = [least(~above[None, rows], rows)[0] for rows in (policies, singles)]
    first, second = (
        evidence(sample, at, limit, ExactBinomial(), _LEVELS[0]) for at in (independent, dealt)
    )
    for delta in _LEVELS:
        for rule in (_COUNTED, _NONE, *CORRECTIONS):
            found, of_halves = (
                kept(rule, sample, seen, policies, limit, delta) for seen in (first, second)
            )
            of_singles = kept(rule, sample, first, singles, limit, delta)
            cheapest = np.argmin(np.where(found, sample.cost_usd[policies], np.inf), axis=1)
            both = found.any(axis=1) & of_singles.any(axis=1)
            costs = least(found, policies)[both], least(of_singles, singles)[both]
            yield Chosen(
                pool.name, delta, rule, h, limit,
                float(np.mean((found & above[policies]).any(axis=1))),
                float(np.mean((of_halves & above[policies]).any(axis=1))),
                float(np.mean(found.any(axis=1) & above[policies][cheapest])),
                float(np.mean(found.any(axis=1))),
                float(np.mean(of_singles.any(axis=1))),
                float(np.mean(costs[0]) / np.mean(costs[1])) if both.any() else float("nan"),
                float(ideal[0] / ideal[1]),
            )  # fmt: skip


class Band(NamedTuple):
    """Bounds on all policies of a frontier at once, drawn with replacement.

    A bound below the truth is a certificate for a limit at the truth: every rule is judged where
    every hypothesis is true, at the boundary.

    Attributes:
        pool: Name.
        risk: "error" or "loss".
        delta: Stated level.
        num_policies: How many.
        failed: Share of splits in which some policy was certified for less than its truth, by rule;
            each at the full level, this is the share in which any of the bounds failed.
        widths: Mean distance of bounds from the counted mean, as a share of the truth: each at the
            full level, and all at once.
    """

    pool: str
    risk: str
    delta: float
    num_policies: int
    failed: dict[str, float]
    widths: tuple[float, float]


def bands(pool: Pool, name: str, risk: Risk, sample: Sampled, num_splits: int) -> Iterator[Band]:
    """At every level."""
    at, h = draws(pool, num_splits, replace=True), sample.num_policies
    policies, bound = slice(h), risk.usual_bound()
    only = sample._replace(values=sample.values[:h], upper=sample.upper[:h])
    for delta in _LEVELS:
        tested = {
            level: evidence(only, at, only.truth, bound, level) for level in (delta, delta / h)
        }
        failed = {}
        for rule in (_NONE, *CORRECTIONS):
            seen = tested[CORRECTIONS[rule].level(delta, h) if rule in CORRECTIONS else delta]
            certified = kept(rule, sample, seen, policies, only.truth, delta)
            failed[rule] = float(np.mean(certified.any(axis=1)))
        few = np.swapaxes(only.values[:, at[:_FEW_SPLITS]], 0, 1)
        widths = [
            float(np.mean((mean_bounds(few, level, bound, only.upper) - few.mean(2)) / only.truth))
            for level in (delta, delta / h)
        ]
        yield Band(pool.name, name, delta, h, failed, (widths[0], widths[1]))


def tightness(pool: Pool, name: str, sample: Sampled, num_splits: int) -> Iterator[tuple]:
    """Mean distance from the counted mean as a share of the truth, by number of queries."""
    ends = np.argsort(sample.truth[: sample.num_policies])[[0, -1]]
    for row in ends:
        values, upper = sample.values[row], float(sample.upper[row])
        for num in _SIZES:
            at = np.random.default_rng(2).integers(0, values.size, (num_splits, num))
            found = bounds_of(values[at], upper, _LEVELS[1])
            width = {
                key: float(np.mean(bound - values[at].mean(axis=1)) / values.mean())
                for key, bound in found.items()
            }
            yield pool.name, name, float(values.mean() / upper), num, width


def shifted(num_splits: int) -> list[tuple]:
    """Certificates from questions of one kind, held against harder ones."""
    train, test = (in_cost_order(load(f"medmcqa_{half}", LLAMA + OTHERS)) for half in _HALVES)
    pool = tuned("medmcqa, train half", train, 100)
    sample = sampled(pool, JointError())
    policies = slice(sample.num_policies)
    harder = sampled(pool._replace(rest=test.select(pool.rest.models)), JointError()).truth
    limit = float(np.median(sample.truth[policies])) + _SLACK
    size = pool.rest.num_queries
    at = np.random.default_rng(3).integers(0, size, (num_splits, size))
    seen = evidence(sample, at, limit, ExactBinomial(), _LEVELS[0])
    rows = []
    for delta in _LEVELS:
        found = kept("fixed sequence", sample, seen, policies, limit, delta)
        above = [
            (found & (truth[policies] > limit)).any(axis=1) for truth in (sample.truth, harder)
        ]
        means = [f"{100 * truth[policies].mean():.1f}" for truth in (sample.truth, harder)]
        cells = [with_error(float(np.mean(share)), num_splits) for share in above]
        rows.append(
            (f"{delta:.0%}", f"{100 * limit:.1f}", *means, f"{found.any(1).mean():.0%}", *cells)
        )
    return rows


def agrees(pool: Pool, sample: Sampled) -> None:
    """Checks that the call for users certifies what the arrays here do."""
    policies, delta = slice(sample.num_policies), _LEVELS[0]
    limit = float(np.median(sample.truth[policies]))
    for at in draws(pool, 3, replace=True):
        told = guarantees(jax.random.key(0), pool.frontier, pool.rest.take(at), limit, delta)
        seen = evidence(sample, at[None], limit, ExactBinomial(), delta)
        mine = kept("fixed sequence", sample, seen, policies, limit, delta)
        assert np.array_equal(told.is_certified, mine[0])


def with_error(share: float, num: int) -> str:
    """A share of splits with its binomial standard error, in percent."""
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / num):.1f}"


def alone_row(a: Alone, num_splits: int) -> tuple:
    """A row of the first table."""
    shares = (with_error(share, num_splits) for share in (a.failed, a.halves, a.other))
    return (a.pool, a.num, f"{a.delta:.0%}", a.bound, *shares, f"{100 * a.width:.1f}")


def chosen_row(c: Chosen, num_splits: int) -> tuple:
    """A row of the second table."""
    shares = (with_error(share, num_splits) for share in (c.failed, c.halves, c.picked))
    cost = "" if np.isnan(c.cost) else f"{c.cost:.2f}"
    return (
        c.pool, c.num_policies, f"{c.delta:.0%}", c.rule, *shares,
        f"{c.found:.0%}", f"{c.single:.0%}", cost, f"{c.ideal:.2f}",
    )  # fmt: skip


def band_row(b: Band, num_splits: int) -> tuple:
    """A row of the third table."""
    shares = (with_error(share, num_splits) for share in b.failed.values())
    return (
        b.pool,
        b.num_policies,
        f"{b.delta:.0%}",
        *shares,
        *(f"{100 * w:.1f}" for w in b.widths),
    )


ALONE = (
    *("data", "queries", "level", "bound", "**failed %**", "halves, all of the rest %"),
    *("halves, the other half %", "width %"),
)
CHOSEN = (
    *("data", "policies", "level", "rule", "**any above %**", "halves, any above %"),
    *("cheapest is above %", "some policy", "some single", "cost / single's", "ideal"),
)
BANDS = (
    *("data", "policies", "level", f"{_NONE} %", "**Bonferroni %**", "**Holm %**"),
    *("**fixed sequence %**", "width alone %", "width together %"),
)
_SHARES = [NormalDist().cdf(NormalDist().inv_cdf(delta) / 2**0.5) for delta in _LEVELS]
EXPLAINED = f"""
A level is the probability of failing that was stated: a bound fails where the true mean is above
it. "Failed" is the share of splits in which that happened, with its binomial standard error,
queries drawn with replacement: here the level has to hold. With halves and the truth of the whole
rest, bounds fail less often, since a half says more of its own rest than independent draws do.
Against the other half they fail more often than stated, and have to: that mean has noise of its
own, as large as that of the half that was counted. A bound with normal errors that fails in exactly
10 % (5 %) of all cases is below the other half's mean in {_SHARES[0]:.0%} ({_SHARES[1]:.0%}).

## One policy, named before

The middle policy of the frontier. Width is the mean distance of the bound from the counted mean, in
percent of the true mean. The normal approximation stands beside the bounds for comparison and
guarantees nothing.
"""
CHOICE = """
## A choice among many policies

All different policies of the frontier are held against a limit on the error that half of them keep,
by exact binomial tests. "Any above" is the share of splits in which a policy was certified that is
above the limit: this is what a correction keeps below the level. "Counted at most the limit" takes
every policy whose counted error is not above the limit, and "each at the full level" tests each as
if it were the only one; both are here for comparison and guarantee nothing. "Cheapest is above" is
the share in which the cheapest certified policy is above the limit. "Some policy" and "some single"
are the shares in which a policy, or a single model by the same rule, was certified at all. The cost
is the true cost of the cheapest certified policy over that of the cheapest certified single model,
mean over mean, where there are both; the ideal is the same for the cheapest that truly keep the
limit.
"""
BANDS_EXPLAINED = f"""
## All policies at once

Every policy of the frontier is held against its own true mean, where no certificate is right and
every level is used up; queries drawn with replacement. Shares of splits in which any policy was
certified: with each at the full level, this is also how often a look at all bounds finds one that
failed; under Bonferroni, how often the band for all at once failed. Widths are those of the bounds
for each alone and for all at once, in percent of the true mean, over {_FEW_SPLITS} splits.
"""


SHIFT = (
    *("level", "limit %", "mean error %", "of the harder %", "some policy"),
    *("any above %", "any above, harder %"),
)
SHIFT_EXPLAINED = """
## When the traffic changes

No bound knows of questions unlike those that it counted. Policies are tuned on 100 training
questions of MedMCQA and certified, in sequence by exact binomial tests, on 200 draws from the other
200; the test questions are harder. Errors are means over the policies.
"""


def tightness_pages(found: list[tuple], num_splits: int) -> list[str]:
    """Which bound is tighter where."""
    pages = [
        "", "## Which bound is tighter", "",
        f"Mean width at level {_LEVELS[1]:.0%} in percent of the true mean, {num_splits} samples "
        "drawn with replacement, of the policies with the least and the largest risk of a "
        "frontier. Share is the true mean as a share of what no query can exceed.", "",
    ]  # fmt: skip
    header = ("data", "risk", "share", "queries", *BOUNDS, _NORMAL)
    rows = [
        (pool, name, f"{share:.3f}", num,
         *(f"{100 * width[key]:.1f}" if key in width else "" for key in header[4:]))
        for pool, name, share, num, width in found
    ]  # fmt: skip
    return [*pages, table(header, rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--splits", type=int, default=1000, help="random splits of each pool")
    num = parser.parse_args().splits
    prepare_jax()
    began = time.perf_counter()
    singly: list[Alone] = []
    choices: list[Chosen] = []
    together: list[Band] = []
    tight: list[tuple] = []
    for pool in pools():
        for name, risk in risks(pool).items():
            sample = sampled(pool, risk)
            singly += alone(pool, name, sample, num)
            together += bands(pool, name, risk, sample, num)
            if name == "error":
                agrees(pool, sample)
                choices += chosen(pool, sample, num)
            if pool.name in _SWEPT:
                tight += tightness(pool, name, sample, min(num, _FEW_SPLITS))
    pages = ["# Do the stated levels hold?", *(__doc__ or "").splitlines()[1:]]
    pages += EXPLAINED.splitlines()
    for name, title in (("error", "Error"), ("loss", "Loss in dollars, at the middle price")):
        rows = [alone_row(a, num) for a in singly if a.risk == name]
        pages += ["", f"### {title}", "", table(ALONE, rows)]
    rows = [chosen_row(c, num) for c in choices]
    pages += [*CHOICE.splitlines(), "", table(CHOSEN, rows), *BANDS_EXPLAINED.splitlines()]
    for name, title in (("error", "Error, exact binomial"), ("loss", "Loss in dollars, betting")):
        rows = [band_row(b, num) for b in together if b.risk == name]
        pages += ["", f"### {title}", "", table(BANDS, rows)]
    pages += tightness_pages(tight, min(num, _FEW_SPLITS))
    shift = shifted(num)
    pages += [*SHIFT_EXPLAINED.splitlines(), "", table(SHIFT, shift)]
    pages += ["", f"{num} splits per pool; {time.perf_counter() - began:.0f} s."]
    content = {
        "versions": versions(),
        "splits": num,
        "alone": [a._asdict() for a in singly],
        "chosen": [c._asdict() | {"cost": None if np.isnan(c.cost) else c.cost} for c in choices],
        "bands": [b._asdict() for b in together],
        "tightness": tight,
        "shift": [dict(zip(SHIFT, row, strict=True)) for row in shift],
    }
    write("guarantees", content, "\n".join(pages))


if __name__ == "__main__":
    main()
