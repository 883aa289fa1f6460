"""Does monitoring find a real shift, and how often does it cry wolf?

    python -m benchmarks.drift [--rounds N]

Nine models. The test questions of MedMCQA are harder than its training questions; those of MMLU are
like them. "Halves as given": the training half against the test half, in new random orders each
time. "Mixed": both halves thrown together and dealt out anew, as many to train on as before, so
that there is no drift at all and every alarm is false. An alarm is one about any model, at a
stated rate of at most 5 % in the whole run.

For comparison, what looking at a plain test again and again does: Kolmogorov and Smirnov's, at
5 % shared among the models, after every 100 queries.
"""

import argparse
from typing import Any

import jax
import numpy as np
from scipy.stats import ks_2samp

from benchmarks.common import load, prepare_jax, table, versions, write
from jaxcascade.cascade import fit_cascade
from jaxcascade.economics import monitor
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier, confidence_reference, tune

_ALPHA, _LOOKS = 0.05, 100
_COUNTS = (50, 100, 200, 400, 700, 1000)
_MARGINS = (0.03, 0.05, 0.08)


def mixed(rng: np.random.Generator, both: Records, num_train: int) -> tuple[Records, Records]:
    """Deals both halves out anew."""
    order = rng.permutation(both.num_queries)
    return both.take(order[:num_train]), both.take(order[num_train:])


def joined(one: Records, other: Records) -> Records:
    """Throws two tables of the same models together."""
    log_confidence, correct, cost_usd = (
        np.concatenate([getattr(part, name) for part in (one, other)])
        for name in ("log_confidence", "correct", "cost_usd")
    )
    queries = np.arange(len(correct))
    return Records(queries, one.models, log_confidence, correct, cost_usd)


def fitted(frontier: Frontier, train: Records, number: int) -> Frontier:
    """The same frontier with calibrators and reference of other training records."""
    calibrators = fit_cascade(train).model.calibrator
    reference = confidence_reference(jax.random.key(number), train)
    return frontier._replace(calibrators=calibrators, reference=reference)


def peeking(train: Records, new: Records) -> bool:
    """Whether a plain test, looked at again and again, raises an alarm at some time."""
    level = _ALPHA / train.num_models
    return any(
        np.array(ks_2samp(train.log_confidence[:, j], new.log_confidence[:count, j]))[1] < level
        for count in range(_LOOKS, new.num_queries + 1, _LOOKS)
        for j in range(train.num_models)
    )


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Rates of alarms on one data set, as given and mixed."""
    rng = np.random.default_rng(0)
    train = load(f"{name}_train")
    frontier = tune(jax.random.key(0), train, error_prices=np.array([1e-3])).frontier
    train = train.select(frontier.models)
    test = load(f"{name}_test", frontier.models)
    both = joined(train, test)
    content: dict[str, Any] = {"models": frontier.models}
    for kind in ("halves as given", "mixed"):
        first, by_model, peeked = [], [], []
        failing: dict[float, list[bool]] = {margin: [] for margin in _MARGINS}
        for number in range(rounds):
            if kind == "mixed":
                known, new = mixed(rng, both, train.num_queries)
                used = fitted(frontier, known, number)
            else:
                known, new, used = train, test.take(rng.permutation(test.num_queries)), frontier
            key = jax.random.key(number)
            peeked.append(peeking(known, new))
            for margin in _MARGINS:
                seen = monitor(key, used, new, alpha=_ALPHA, margin=margin)
                assert seen.calibration is not None
                failing[margin].append(seen.calibration.alarm)
            alarms = seen.drift.first_alarm
            first.append(alarms[alarms > 0].min() if np.any(alarms > 0) else np.inf)
            by_model.append(alarms > 0)
        content[kind] = {
            "queries": new.num_queries,
            "drift": float(np.mean(np.isfinite(first))),
            "drift_by": {n: float(np.mean(np.array(first) <= n)) for n in _COUNTS},
            "drift_per_model": np.mean(by_model, axis=0).tolist(),
            "calibration": {margin: float(np.mean(failing[margin])) for margin in _MARGINS},
            "peeking": float(np.mean(peeked)),
        }
    ordered = monitor(jax.random.key(0), frontier, test, in_order=True)
    content["in_order"] = ordered.drift.alarm
    return content


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f}"


def page(found: dict[str, Any], rounds: int) -> str:
    """The figures for readers."""
    cases = [(name, kind) for name in found for kind in ("halves as given", "mixed")]
    alarms = [
        (
            f"{name}, {kind}",
            found[name][kind]["queries"],
            percent(found[name][kind]["drift"]),
            percent(found[name][kind]["peeking"]),
            *(percent(found[name][kind]["calibration"][margin]) for margin in _MARGINS),
        )
        for name, kind in cases
    ]
    power = [
        (f"{name}, {kind}", *(percent(found[name][kind]["drift_by"][n]) for n in _COUNTS))
        for name, kind in cases
    ]
    models = found["medmcqa"]["models"]
    each = [
        (model, *(percent(found[n][k]["drift_per_model"][list(found[n]["models"]).index(model)])
                  for n, k in cases))
        for model in models
    ]  # fmt: skip
    flagged = [name for name in found if found[name]["in_order"]]
    return "\n".join(
        [
            "# Monitoring: power and false alarms",
            *(__doc__ or "").splitlines()[1:],
            "",
            f"{rounds} rounds each; in percent of the rounds.",
            "",
            table(
                ("data", "new queries", "**drift**", "plain test, peeking",
                 *(f"calibration, margin {margin:g}" for margin in _MARGINS)),
                alarms,
            ),
            "",
            "Alarms of drift after at most so many new queries:",
            "",
            table(("data", *map(str, _COUNTS)), power),
            "",
            "Alarms of drift by model:",
            "",
            table(("model", *(f"{name}, {kind}" for name, kind in cases)), each),
            "",
            "An alarm of calibration in mixed halves need not be false: calibrators that were "
            "fitted to 300 labels can be off by more than the margin at some confidences.",
            "",
            "In the order of the file, drift is flagged on "
            + (" and ".join(flagged) or "none")
            + ". Questions of MMLU stand there by topic; hence queries are shuffled by default.",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Power and false alarms of monitoring.")
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    prepare_jax()
    found = {name: measured(name, rounds) for name in ("mmlu", "medmcqa")}
    content = {"versions": versions(), "rounds": rounds, "alpha": _ALPHA, "results": found}
    write("drift", content, page(found, rounds))


if __name__ == "__main__":
    main()
