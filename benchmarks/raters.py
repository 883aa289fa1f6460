"""Are beliefs from eleven language models any good on questions not seen, and how many need asking?

    python -m benchmarks.raters [--splits N]

Stated probabilities of eleven models on yes/no and multiple-choice questions. Labels of some
questions are learnt from, others are judged by. Every method is compared with the best single
model with Platt scaling, which no claim may leave out.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import log_softmax

from benchmarks.common import DATA, prepare_jax, table, versions, write
from jaxcascade.decisions import (
    DawidSkene,
    EchoModel,
    Evidence,
    FactorCopula,
    RaterModel,
    TemperedPool,
    belief,
    best_rater,
    cost_matrix,
    evidence_of_probabilities,
    expectimax,
    linear_pool,
    outcome_number,
    pooled,
    rater_sources,
    sequential_plan,
)
from jaxcascade.posterior import Laplace

YES_NO = ("boolq_valid", "halu_eval_qa")
CHOICES = ("sciq_test", "sat_en", "lsat_ar_test")
SIZES = (20, 50, 200, 1000)
MISS, NEEDLESS = 16.0, 1.0
_POOL_SIZE = 1200
_UNLABELLED = 300
_FEW_SPLITS = 5
_CUTS = np.array([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
_PLATT = "best single + Platt"
_METHOD = Laplace(num_draws=500)


class Questions(NamedTuple):
    """One data set: what every model says of every question, the truth, and mean prices."""

    evidence: Evidence
    truth: Int[np.ndarray, " n"]
    price_usd: Float[np.ndarray, " m"]


def load(name: str, *, complete: bool = True) -> Questions:
    """Reads one data set; complete: only questions that all models answered."""
    frame: Any = pd.read_parquet(DATA / "stated_probabilities.parquet")
    frame = frame[frame.dataset == name]
    letters = (
        ["True"]
        if name in YES_NO
        else [letter for letter in "ABCDE" if frame[f"p_{letter}"].notna().any()]
    )
    wide = {
        letter: frame.pivot_table(
            index="query_id", columns="model", values=f"p_{letter}", observed=True
        )
        for letter in letters
    }
    items, raters = wide[letters[0]].index, wide[letters[0]].columns
    said = np.stack(
        [wide[letter].reindex(index=items, columns=raters).to_numpy(float) for letter in letters],
        axis=-1,
    )
    if name in YES_NO:
        said, letters = np.concatenate([1.0 - said, said], axis=-1), ["no", "yes"]
    # Some replies give 0 to every option.
    said = np.where((np.nansum(said, axis=-1) > 0)[..., None], said, np.nan)
    label = frame.drop_duplicates("query_id").set_index("query_id").label.loc[items].astype(str)
    truth = (
        (label == "True").to_numpy(int)
        if name in YES_NO
        else np.array([letters.index(one) for one in label])
    )
    rows = ~np.isnan(said).any(axis=(1, 2)) if complete else np.ones(len(said), bool)
    evidence = evidence_of_probabilities(
        said[rows],
        [str(rater) for rater in raters],
        letters,
        [str(item) for item in np.asarray(items)[rows]],
    )
    price = frame.groupby("model", observed=True).cost.mean().loc[raters].to_numpy(float)
    return Questions(evidence, truth[rows], price)


class Split(NamedTuple):
    """Questions to learn from, the first of them labelled, and questions to judge by."""

    learnt: Evidence
    truth: Int[np.ndarray, " t"]
    unlabelled: Evidence
    held: Evidence
    seed: int

    @property
    def semi(self) -> tuple[Evidence, Int[np.ndarray, " u"]]:
        """Labelled and unlabelled questions together."""
        both = Evidence(
            jnp.concatenate([self.learnt.log_likelihood, self.unlabelled.log_likelihood]),
            jnp.concatenate([self.learnt.known, self.unlabelled.known]),
            self.learnt.raters,
            self.learnt.states,
            self.learnt.items + self.unlabelled.items,
        )
        return both, np.append(self.truth, np.full(len(self.unlabelled.items), -1))


def _of_rule(rule: str) -> Callable[[Split], np.ndarray]:
    def predict(split: Split) -> np.ndarray:
        flat = jnp.zeros(len(split.held.states))
        return np.asarray(belief(flat, pooled(split.held.log_likelihood, rule=rule)))

    return predict


def _mean_probability(split: Split) -> np.ndarray:
    each = jax.nn.softmax(split.held.log_likelihood, axis=-1)
    return np.asarray(linear_pool(each, split.held.known.astype(float)))


def _median_probability(split: Split) -> np.ndarray:
    each = np.median(np.asarray(jax.nn.softmax(split.held.log_likelihood, axis=-1)), axis=1)
    return each / each.sum(axis=-1, keepdims=True)


def _best(split: Split) -> str:
    return best_rater(split.learnt, split.truth, jnp.zeros(len(split.learnt.states)))


def _single(split: Split) -> np.ndarray:
    one = split.held.of_raters((_best(split),))
    return np.asarray(jax.nn.softmax(one.log_likelihood[:, 0], axis=-1))


def _single_fitted(split: Split) -> np.ndarray:
    best = (_best(split),)
    fitted = TemperedPool().fit(
        jax.random.key(split.seed), split.learnt.of_raters(best), split.truth, method=_METHOD
    )
    return np.asarray(fitted.belief(split.held.of_raters(best)))


def _platt(learnt: np.ndarray, truth: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Platt scaling by maximum likelihood of log ratios (n, s) to the first state."""

    def told(parameters: np.ndarray, ratio: np.ndarray) -> np.ndarray:
        shifted = parameters[0] * ratio + np.append(0.0, parameters[1:])
        return np.asarray(jax.nn.log_softmax(jnp.asarray(shifted), axis=-1))

    def loss(parameters: np.ndarray) -> float:
        # A penalty of a thousandth keeps labels that a slope can separate from sending it away.
        right = told(parameters, learnt)[np.arange(len(truth)), truth]
        return -right.mean() + 1e-3 * np.square(parameters).sum() / len(truth)

    start = np.append(1.0, np.zeros(learnt.shape[1] - 1))
    return np.exp(told(minimize(loss, start, method="BFGS").x, held))


def _single_platt(split: Split) -> np.ndarray:
    best = (_best(split),)
    learnt, held = (
        np.asarray(part.of_raters(best).ratios[:, 0]) for part in (split.learnt, split.held)
    )
    return _platt(learnt, split.truth, held)


def _median_platt(split: Split) -> np.ndarray:
    learnt, held = (
        np.asarray(pooled(part.log_likelihood, rule="median_ratio"))
        for part in (split.learnt, split.held)
    )
    return _platt(learnt, split.truth, held)


def _stacked(split: Split) -> np.ndarray:
    """Logistic regression on all raters' log-odds, weights of either sign, ridge of 10."""
    learnt, held = (np.asarray(part.ratios) for part in (split.learnt, split.held))
    m, s = learnt.shape[1:]

    def told(parameters: np.ndarray, ratio: np.ndarray) -> np.ndarray:
        shifted = np.einsum("m,nms->ns", parameters[:m], ratio) + np.append(0.0, parameters[m:])
        return log_softmax(shifted, axis=-1)

    def loss(parameters: np.ndarray) -> float:
        right = told(parameters, learnt)[np.arange(len(split.truth)), split.truth]
        return 5.0 * np.square(parameters[:m]).sum() - right.sum()

    start = np.append(np.full(m, 1.0 / m), np.zeros(s - 1))
    return np.exp(told(minimize(loss, start, method="BFGS").x, held))


def _fitted(model: RaterModel, which: str) -> Callable[[Split], np.ndarray]:
    """which: learn from labelled questions, from unlabelled ones, or from both."""

    def predict(split: Split) -> np.ndarray:
        evidence, truth = {
            "labels": (split.learnt, split.truth),
            "no labels": (split.unlabelled, None),
            "both": split.semi,
        }[which]
        fitted = model.fit(jax.random.key(split.seed), evidence, truth, method=_METHOD)
        return np.asarray(fitted.belief(split.held))

    return predict


_FAST: dict[str, Callable[[Split], np.ndarray]] = {
    "best single, raw": _single,
    "median probability (as the paper)": _median_probability,
    "mean probability": _mean_probability,
    "sum of log-odds (naive Bayes)": _of_rule("sum"),
    _PLATT: _single_platt,
    "best single, fitted (Bayes)": _single_fitted,
    "median log-odds + Platt": _median_platt,
    "stacking (ridge)": _stacked,
    "tempered pool": _fitted(TemperedPool(), "labels"),
}
_NO_LABELS = {
    "Dawid and Skene (1979), no labels": _fitted(DawidSkene(misled_prior=None), "no labels"),
    "Dawid and Skene, items may mislead, no labels": _fitted(DawidSkene(), "no labels"),
    "echo, no labels": _fitted(EchoModel(), "no labels"),
    "factor copula, no labels": _fitted(FactorCopula(), "no labels"),
}
_BOTH = {
    "Dawid and Skene, items may mislead, 300 more without labels": _fitted(DawidSkene(), "both"),
    "echo, 300 more without labels": _fitted(EchoModel(), "both"),
    "factor copula, 300 more without labels": _fitted(FactorCopula(), "both"),
    "factor copula, labels only": _fitted(FactorCopula(), "labels"),
}


class Score(NamedTuple):
    """Means over the questions judged by."""

    log_loss: float
    ece: float
    error: float
    cost: float


def score(probability: np.ndarray, truth: np.ndarray) -> Score:
    """Calibration error over 15 bins of equal width, of yes or of the likeliest option."""
    two = probability.shape[1] == 2
    chance = probability[:, 1] if two else probability.max(axis=1)
    right = probability.argmax(axis=1) == truth
    came = truth if two else right
    bins = np.minimum((chance * 15).astype(int), 14)
    gap = np.abs(np.bincount(bins, chance, 15) - np.bincount(bins, came, 15)).sum()
    picked = probability[np.arange(len(truth)), truth]
    act = probability[:, -1] > NEEDLESS / (MISS + NEEDLESS)
    cost = np.where(act, NEEDLESS * (truth == 0), MISS * (truth == 1)) if two else 1.0 - right
    return Score(
        float(-np.log(np.maximum(picked, 1e-300)).mean()),
        float(gap / len(truth)),
        float(1.0 - right.mean()),
        float(cost.mean()),
    )


def scores(name: str, sizes: tuple[int, ...], num_splits: int, methods: dict) -> pd.DataFrame:
    """One row per method, size and split."""
    questions = load(name)
    n = len(questions.truth)
    pool = min(_POOL_SIZE, n // 2)
    rows = []
    for size in sizes:
        for seed in range(num_splits):
            order = np.random.default_rng(seed).permutation(n)
            labelled, held = order[:size], order[pool:]
            more = order[size : min(size + _UNLABELLED, pool)]
            if not len(more):
                more = order[:_UNLABELLED]
            split = Split(
                questions.evidence.take(labelled),
                questions.truth[labelled],
                questions.evidence.take(more),
                questions.evidence.take(held),
                seed,
            )
            for method, predict in methods.items():
                found = score(predict(split), questions.truth[held])
                rows.append(
                    {"data": name, "n": size, "split": seed, "method": method} | found._asdict()
                )
        print(f"{name}: {size} labels done", flush=True)
    return pd.DataFrame(rows)


def paired(frame: Any, against: str = _PLATT, what: str = "log_loss") -> Any:
    """Mean difference to the peer within splits, and twice its standard error over splits.

    Splits share questions, so that the standard error is a lower bound.
    """
    wide = frame.pivot_table(index=["data", "n", "split"], columns="method", values=what)
    apart = wide.sub(wide[against], axis=0)
    grouped = apart.groupby(level=["data", "n"])
    return pd.concat({"mean": grouped.mean(), "twice_error": 2.0 * grouped.sem()}, axis=1)


def _text(frame: Any, data: str, what: str, sizes: tuple[int, ...]) -> str:
    one = frame[frame.data == data]
    mean = one.pivot_table(index="method", columns="n", values=what, sort=False)
    rows = [[method, *(_cell(mean.loc[method], size) for size in sizes)] for method in mean.index]
    return table(["method", *map(str, sizes)], rows)


def _cell(row: Any, size: int) -> str:
    value = row.get(size, np.nan)
    return "" if np.isnan(value) else f"{value:.3f}"


class Way(NamedTuple):
    """What one way of asking costs on the questions judged by."""

    way: str
    asked: float
    calls_usd: float
    decision_usd: float
    error: float

    @property
    def total_usd(self) -> float:
        return self.calls_usd + self.decision_usd


def asking(num_splits: int, miss_usd: float, needless_usd: float) -> list[Way]:
    """All models always, the best single one, and models one after the other, at their prices."""
    questions = load(YES_NO[0])
    found: dict[str, list[Way]] = {}
    for seed in range(num_splits):
        for way in _ways(questions, seed, miss_usd, needless_usd):
            found.setdefault(way.way, []).append(way)
    return [
        Way(name, *np.mean([list(way[1:]) for way in ways], axis=0)) for name, ways in found.items()
    ]


def _ways(questions: Questions, seed: int, miss_usd: float, needless_usd: float) -> list[Way]:
    costs = cost_matrix(
        {
            "leave": {"no": 0.0, "yes": miss_usd},
            "act": {"no": needless_usd, "yes": 0.0},
        }
    )
    order = np.random.default_rng(seed).permutation(len(questions.truth))
    learn, held = order[:_POOL_SIZE], order[_POOL_SIZE:]
    learnt, judged = questions.evidence.take(learn), questions.evidence.take(held)
    truth, price = questions.truth[held], questions.price_usd
    key = jax.random.key(seed)

    def way(name: str, probability: np.ndarray, asked: np.ndarray) -> Way:
        act = np.asarray(costs.best(jnp.asarray(probability)))
        usd = np.asarray(costs.usd)[act, truth]
        wrong = (probability[:, 1] > 0.5) != (truth == 1)
        return Way(name, asked.sum(axis=1).mean(), (asked @ price).mean(), usd.mean(), wrong.mean())

    share = np.bincount(questions.truth[learn], minlength=2) / len(learn)
    graded = TemperedPool().fit(key, learnt, questions.truth[learn], prior=share, method=_METHOD)
    best = best_rater(learnt, questions.truth[learn], jnp.zeros(2))
    split = Split(learnt, questions.truth[learn], learnt, judged, seed)
    alone = np.zeros_like(judged.known, bool)
    alone[:, learnt.raters.index(best)] = True
    every = np.ones_like(alone)
    prior = np.tile(share, (len(held), 1))
    ways = [
        way("nobody", prior, ~every),
        way("best single + Platt", _single_platt(split), alone),
        way("all eleven, tempered pool", np.asarray(graded.belief(judged)), every),
    ]
    votes, sources, prevalence = _voters(key, learnt, questions.truth[learn], price, costs)
    said = np.asarray(judged.ratios[..., 1]) > votes
    for name, asked, probability in _walked(said, sources, prevalence, costs):
        ways.append(way(f"{name}, by votes", probability, asked))
        seen = Evidence(
            judged.log_likelihood, jnp.asarray(asked), judged.raters, judged.states, judged.items
        )
        ways.append(way(f"{name}, then tempered pool", np.asarray(graded.belief(seen)), asked))
    return ways


def _voters(key, learnt: Evidence, truth: np.ndarray, price: np.ndarray, costs):
    """Each model's cut, at which its vote alone is worth most, and all as sources."""
    ratio = np.asarray(learnt.ratios[..., 1])
    cuts = np.log(_CUTS / (1.0 - _CUTS))
    usd = np.asarray(costs.usd)
    share = np.array([np.mean(truth == 0), np.mean(truth == 1)])

    def least(yes: np.ndarray) -> float:
        by_state = np.array([yes[truth == s].mean() for s in (0, 1)])
        joint = np.stack([share * by_state, share * (1.0 - by_state)])
        return (joint @ usd.T).min(axis=1).sum()

    cut = np.array([cuts[np.argmin([least(column > one) for one in cuts])] for column in ratio.T])
    shifted = jnp.stack([jnp.zeros(ratio.shape), jnp.asarray(ratio - cut)], axis=-1)
    evidence = Evidence(shifted, learnt.known, learnt.raters, learnt.states, learnt.items)
    fitted = EchoModel(num_levels=2).fit(key, evidence, truth, method=_METHOD)
    prevalence = np.asarray(fitted.sites["prevalence"]).mean(axis=0)
    return cut, rater_sources(fitted, price, num_draws=4), prevalence


def _walked(said: np.ndarray, sources, prevalence: np.ndarray, costs):
    """Asks the held-out questions one model after the other; yields who was asked and beliefs."""
    n, m = said.shape
    worth = np.asarray(
        [_alone(sources, costs, prevalence, j) - float(sources.price_usd[j]) for j in range(m)]
    )
    eight = np.sort(np.argsort(-worth)[:8])
    few = type(sources)(sources.p_yes[eight], sources.weight, sources.price_usd[eight])
    plan = sequential_plan(jnp.asarray(prevalence), costs, few)
    ask = np.asarray(plan.ask)
    asked = np.zeros((n, m), bool)
    for i in range(n):
        answers: dict[int, bool] = {}
        while (source := int(ask[outcome_number(answers, 8)])) >= 0:
            answers[source] = bool(said[i, eight[source]])
            asked[i, eight[source]] = True
    yield "eight of eleven, exact plan", asked, _belief(said, asked, sources, prevalence)
    answered = np.zeros((n, m), int)
    for _ in range(m):
        question = expectimax(
            jnp.tile(jnp.asarray(prevalence), (n, 1)), costs, sources, jnp.asarray(answered)
        )
        source = np.asarray(question.source)
        go = np.flatnonzero(source >= 0)
        if not go.size:
            break
        answered[go, source[go]] = 1 + said[go, source[go]]
    yield "eleven, two ahead", answered > 0, _belief(said, answered > 0, sources, prevalence)


def _alone(sources, costs, prevalence: np.ndarray, j: int) -> float:
    p_yes = np.asarray(sources.p_yes[j] @ sources.weight)
    joint = np.stack([prevalence * p_yes, prevalence * (1.0 - p_yes)])
    usd = np.asarray(costs.usd)
    return float((prevalence @ usd.T).min() - (joint @ usd.T).min(axis=1).sum())


def _belief(said: np.ndarray, asked: np.ndarray, sources, prevalence: np.ndarray) -> np.ndarray:
    # One answer may be all but impossible: what was not asked must still count for nothing.
    p_yes, weight = np.clip(sources.p_yes, 1e-12, 1.0 - 1e-12), np.asarray(sources.weight)
    log_yes, log_no = np.log(p_yes), np.log1p(-p_yes)
    yes, no = (asked & said).astype(float), (asked & ~said).astype(float)
    told = np.einsum("nm,msu->nsu", yes, log_yes) + np.einsum("nm,msu->nsu", no, log_no)
    joint = prevalence * (np.exp(told) @ weight)
    return joint / joint.sum(axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--splits", type=int, default=20)
    splits = parser.parse_args().splits
    prepare_jax()
    start = time.perf_counter()
    few = min(splits, _FEW_SPLITS)
    frames = [
        scores("boolq_valid", SIZES, splits, _FAST),
        scores("boolq_valid", SIZES[:1], few, _NO_LABELS),
        scores("boolq_valid", SIZES[:3], few, _BOTH),
        scores("halu_eval_qa", SIZES[:3], splits, _FAST),
        scores("sciq_test", SIZES[:3], splits, _FAST),
        scores("sat_en", SIZES[:2], splits, _FAST),
        scores("lsat_ar_test", SIZES[:1], splits, _FAST),
    ]
    frame: Any = pd.concat(frames)
    prices = ((0.01, 0.01), (0.1, 0.1), (1.0, 1.0), (10.0, 10.0), (16.0, 1.0))
    asked = {price: asking(few, *price) for price in prices}
    apart = {
        what: paired(pd.concat([frames[0], *frames[3:]]), what=what)
        for what in ("log_loss", "cost")
    }
    page = _page(frame, apart, asked, splits, few)
    content = {
        "versions": versions(),
        "splits": splits,
        "seconds": time.perf_counter() - start,
        "means": frame.groupby(["data", "n", "method"])
        .mean(numeric_only=True)
        .drop(columns="split")
        .reset_index()
        .to_dict("records"),
        "paired": {
            what: {
                f"{data} {n}": {
                    m: [row["mean"][m], row["twice_error"][m]] for m in row["mean"].index
                }
                for (data, n), row in one.iterrows()
            }
            for what, one in apart.items()
        },
        "asking": {
            f"{price[0]:g} : {price[1]:g}": [way._asdict() for way in ways]
            for price, ways in asked.items()
        },
    }
    write("raters", content, page)


def _page(frame: Any, apart: dict, asked: dict, splits: int, few: int) -> str:
    parts = [
        "# Beliefs from eleven language models\n",
        f"Means over {splits} splits ({few} for models that also learn without labels). Stated "
        "probabilities, held within .01 and .99, of questions that all models answered.\n",
        "## BoolQ: log loss by number of labels\n",
        _text(frame, "boolq_valid", "log_loss", SIZES),
        "\n## BoolQ: expected calibration error (15 bins of equal width)\n",
        _text(frame, "boolq_valid", "ece", SIZES),
        "\n## BoolQ: cost, a miss 16, a needless action 1\n",
        _text(frame, "boolq_valid", "cost", SIZES),
    ]
    for name in ("halu_eval_qa", *CHOICES):
        sizes = tuple(sorted(frame[frame.data == name].n.unique()))
        parts += [f"\n## {name}: log loss\n", _text(frame, name, "log_loss", sizes)]
        parts += [f"\n## {name}: share of wrong answers\n", _text(frame, name, "error", sizes)]
    parts.append(f"\n## Tempered pool less {_PLATT}, within splits (± twice the standard error)\n")
    rows = []
    for (data, n), row in apart["log_loss"].iterrows():
        cost = apart["cost"].loc[(data, n)]
        told = [
            f"{one['mean']['tempered pool']:+.4f} ± {one['twice_error']['tempered pool']:.4f}"
            for one in (row, cost)
        ]
        rows.append([data, n, *told])
    parts.append(table(["data", "labels", "log loss", "cost (multiple choice: error)"], rows))
    parts.append("\nSplits share questions, so that these errors are lower bounds.\n")
    parts.append("## How many of the eleven need to be asked? BoolQ, learnt from 1,200\n")
    for (miss, needless), ways in asked.items():
        parts.append(f"\nA miss costs ${miss:g}, a needless action ${needless:g}:\n")
        parts.append(
            table(
                ["way", "models asked", "calls", "decisions", "total", "wrong at one half"],
                [
                    [
                        w.way,
                        f"{w.asked:.2f}",
                        f"${w.calls_usd:.6f}",
                        f"${w.decision_usd:.6f}",
                        f"${w.total_usd:.6f}",
                        f"{w.error:.1%}",
                    ]
                    for w in ways
                ],
            )
        )
    return "\n".join(parts)


if __name__ == "__main__":
    main()
