"""What each verb of the command line does: read, call, show."""

import argparse
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from jaxcascade.calibration import (
    Calibration,
    IsotonicCalibration,
    LogisticCalibration,
    TemperatureCalibration,
    beta_calibration,
    log_odds,
    one_sided,
    two_sided,
)
from jaxcascade.cascade import ACCEPT, CascadeModel, Prices, fit_cascade
from jaxcascade.cli import exchange, human, screening, show, sure, terminal
from jaxcascade.copulas import (
    Clayton,
    Copula,
    Frank,
    Gaussian,
    Gumbel,
    Independence,
    Joe,
    SurvivalGumbel,
)
from jaxcascade.errors import InferenceError, InvalidInputError
from jaxcascade.marginals import BetaMixtureMethod, HistogramMethod, MarginalMethod
from jaxcascade.posterior import Laplace, Nuts, Variational, has_one_signal, infer, with_bands
from jaxcascade.posterior.diagnostics import BAD, GOOD, diagnose, refusal
from jaxcascade.posterior.storage import check_name, save_posterior
from jaxcascade.records import (
    Records,
    example_records,
    remarks,
    write_table,
)
from jaxcascade.reports import write_report
from jaxcascade.tuning import (
    BEST_SINGLE,
    COUNTED_PAIRS,
    POOL,
    RATIONAL_TUNING,
    THRESHOLDS,
    Frontier,
    Method,
    Prospects,
    Tuned,
    load_frontier,
    price_grid,
    prospects,
    replay_policies,
    save_frontier,
)
from jaxcascade.tuning import evaluate as evaluate_frontier
from jaxcascade.tuning import tune as tune_frontier
from jaxcascade.tuning.tune import FEWEST_QUERIES

_NUM_PROSPECTS = 6
_NUM_DRAWS = 400
_FEWEST_DRAWS = 50
_METHODS: dict[str, Method | None] = {
    "best": None,  # depends on whether queries may be given up
    "pool": POOL,
    "thresholds": THRESHOLDS,
    "rational-tuning": RATIONAL_TUNING,
    "pairs": COUNTED_PAIRS,
    "single": BEST_SINGLE,
}
_CALIBRATIONS: dict[str, Callable[[], Calibration]] = {
    "one-sided": lambda: LogisticCalibration(transform=one_sided),
    "two-sided": lambda: LogisticCalibration(transform=two_sided),
    "temperature": TemperatureCalibration,
    "beta": beta_calibration,
    "isotonic": IsotonicCalibration,
}
_SIGNALS = {"one-sided": one_sided, "two-sided": two_sided, "temperature": log_odds}
_MARGINALS: dict[str, Callable[[], MarginalMethod]] = {
    "betas": BetaMixtureMethod,
    "histogram": HistogramMethod,
}
_COPULAS: dict[str, type[Copula]] = {
    "gumbel": Gumbel,
    "clayton": Clayton,
    "survival-gumbel": SurvivalGumbel,
    "joe": Joe,
    "frank": Frank,
    "gaussian": Gaussian,
    "independence": Independence,
}
# The other one, `models`, is the main job itself.
_SCENARIOS: dict[str, Callable[[argparse.Namespace], None]] = {
    "human": human.demo,
    "screening": screening.demo,
}


def demo(arguments: argparse.Namespace) -> None:
    """Runs the main job on the built-in example, or another scenario."""
    if arguments.scenario in _SCENARIOS:
        _SCENARIOS[arguments.scenario](arguments)
        return
    exchange.check_writable(arguments.report, arguments.json)
    train, test = example_records("train"), example_records("test")
    with exchange.progress_shown() as progress:
        tuned = tune_frontier(jax.random.key(0), train, progress=progress)
        tuned, _ = _with_bands(tuned, train, 0, _NUM_DRAWS, progress)
        progress("evaluating on queries that were held back")
        evaluation = evaluate_frontier(tuned.frontier, test)
        progress("drawing the report")
        write_report(
            arguments.report, tuned.frontier, test, model=tuned.fit.model, evaluation=evaluation
        )
    content = show.evaluation_json(tuned.frontier, evaluation)
    if not exchange.write_json(arguments.json, content):
        show.records(train)
        show.evaluation(tuned.frontier, evaluation)
        terminal.line(f"Report written to {arguments.report}")


def tune(arguments: argparse.Namespace) -> None:
    """Recommends policies and says whether a cascade pays."""
    exchange.check_writable(arguments.out, arguments.report, arguments.json)
    if arguments.draws < 0 or 0 < arguments.draws < _FEWEST_DRAWS:
        raise InvalidInputError(
            f"`--draws` must be 0, for no intervals, or at least {_FEWEST_DRAWS}; got "
            f"{arguments.draws}."
        )
    error_prices = _error_prices(arguments.prices)
    records = exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        tuned = tune_frontier(
            jax.random.key(arguments.seed),
            records,
            error_prices=error_prices,
            latency_price=arguments.price_latency,
            abstention_price=arguments.price_abstention,
            method=_METHODS[arguments.method],
            progress=progress,
            **_fit_settings(arguments),
        )
        tuned, doubts = _with_bands(tuned, records, arguments.seed, arguments.draws, progress)
        if arguments.report:
            progress("drawing the report")
            write_report(arguments.report, tuned.frontier, records, model=tuned.fit.model)
    if arguments.out:
        save_frontier(tuned.frontier, arguments.out)
    if not exchange.write_json(arguments.json, show.frontier_json(tuned.frontier)):
        _show_tuned(records, tuned, doubts, arguments)


def _with_bands(
    tuned: Tuned, records: Records, seed: int, num_draws: int, progress: Callable[[str], None]
) -> tuple[Tuned, list[str]]:
    """Adds posterior intervals, where there is a posterior; and says what is wrong with them."""
    calibrator = tuned.fit.model.calibrator
    several = len(tuned.frontier.models) > 1
    if num_draws == 0 or not several or not has_one_signal(calibrator):
        return tuned, []
    posterior = infer(
        jax.random.fold_in(jax.random.key(seed), 1),
        records,
        method=Laplace(num_draws=num_draws),
        calibration=LogisticCalibration(transform=calibrator.transform),
        copula=type(tuned.fit.model.copula),
        check=False,
        progress=progress,
    )
    diagnosis = diagnose(posterior)
    if diagnosis.severity == BAD:
        return tuned, [f"No posterior intervals. {refusal(diagnosis)}"]
    progress("predicting policies under every draw")
    doubts = [] if diagnosis.severity == GOOD else [f"Posterior intervals: {diagnosis.text}."]
    return tuned._replace(frontier=with_bands(tuned.frontier, posterior)), doubts


def _show_tuned(
    records: Records, tuned: Tuned, doubts: list[str], arguments: argparse.Namespace
) -> None:
    show.records(records)
    terminal.remarks([*remarks(records), *show.signal_remarks(tuned.frontier), *doubts])
    show.frontier(tuned.frontier)
    for name, path in (("Frontier", arguments.out), ("Report", arguments.report)):
        if path:
            terminal.line(f"{name} written to {path}")


def evaluate(arguments: argparse.Namespace) -> None:
    """Replays a frontier on records that it has not seen."""
    exchange.check_writable(arguments.report, arguments.json)
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("replaying policies")
        evaluation = evaluate_frontier(frontier, records)
        if arguments.report:
            progress("drawing the report")
            write_report(arguments.report, frontier, records, evaluation=evaluation)
    if not exchange.write_json(arguments.json, show.evaluation_json(frontier, evaluation)):
        terminal.remarks(remarks(records))
        show.evaluation(frontier, evaluation)
        if arguments.report:
            terminal.line(f"Report written to {arguments.report}")


def replay(arguments: argparse.Namespace) -> None:
    """Writes each query's way through the models."""
    exchange.check_writable(arguments.out)
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("replaying policies")
        write_table(_decisions(frontier, records), arguments.out)
    num_points, num_queries = len(frontier.points), records.num_queries
    terminal.line(
        f"{num_points * num_queries} decisions ({num_points} points, {num_queries} queries) "
        f"written to {arguments.out}"
    )


def posterior(arguments: argparse.Namespace) -> None:
    """Says how sure the records make us."""
    exchange.check_writable(arguments.out, arguments.json)
    if arguments.out:
        check_name(arguments.out)
    elif arguments.predictive:
        raise InvalidInputError("`--predictive` needs a file to write into: add `--out FILE`.")
    error_prices, method = _error_prices(arguments.prices), _inference(arguments)
    records = exchange.read_table(arguments)
    _require_queries(records)
    of_draws, of_predictions = jax.random.split(jax.random.key(arguments.seed))
    with exchange.progress_shown() as progress:
        draws = infer(
            of_draws,
            records,
            method=method,
            calibration=LogisticCalibration(transform=_SIGNALS[arguments.calibration]),
            copula=_COPULAS[arguments.copula],
            neighbours=arguments.neighbours,
            progress=progress,
            check=False,
        )
        progress("judging the draws")
        diagnosis = diagnose(draws)
        if diagnosis.severity == BAD:
            raise InferenceError(refusal(diagnosis))
        progress("asking every draw what pays")
        if error_prices is None:
            error_prices = sure.default_prices(draws)
        answers = sure.answers(draws, error_prices)
        if arguments.out:
            progress("writing the draws")
            save_posterior(
                draws,
                arguments.out,
                key=of_predictions if arguments.predictive else None,
                log_likelihood=arguments.predictive,
            )
    if not exchange.write_json(arguments.json, sure.content(draws, diagnosis, answers)):
        show.records(records)
        terminal.remarks(remarks(records))
        sure.tables(draws, diagnosis, answers)
        if arguments.out:
            terminal.line(f"Posterior written to {arguments.out}")


def _inference(arguments: argparse.Namespace) -> Laplace | Nuts | Variational:
    """The method asked for, and chains on processors of their own where there are several."""
    draws, chains = arguments.draws, arguments.chains
    if draws is not None and draws < _FEWEST_DRAWS:
        raise InvalidInputError(f"`--draws` must be at least {_FEWEST_DRAWS}; got {draws}.")
    if arguments.method != "nuts":
        if chains is not None:
            raise InvalidInputError("`--chains` needs `--method nuts`; other methods have none.")
        kind = Laplace if arguments.method == "laplace" else Variational
        return kind(num_draws=1000 if draws is None else draws)
    chains = 4 if chains is None else chains
    if chains < 2:
        raise InvalidInputError(
            f"`--chains` must be at least 2, or nothing tells whether they agree; got {chains}."
        )
    # Unless JAX runs already, the processor can pass for as many devices as there are chains.
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", chains)
    return Nuts(num_chains=chains, num_draws=500 if draws is None else draws)


def _require_queries(records: Records) -> None:
    usable = int((records.asked & records.labelled).any(axis=1).sum())
    if usable < FEWEST_QUERIES:
        raise InvalidInputError(
            f"A posterior needs at least {FEWEST_QUERIES} labelled queries; the records have "
            f"{usable}. With a few dozen it says something; label more."
        )


def check(arguments: argparse.Namespace) -> None:
    """Describes the records and how well the model fits them."""
    exchange.check_writable(arguments.json)
    records = exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("fitting the joint model")
        fit = fit_cascade(records, **_fit_settings(arguments))
        rows = show.fit_rows(fit, records)
        progress("bounding what policies can save")
        promised = _prospects(fit.model)
    if not exchange.write_json(arguments.json, show.check_json(fit, rows, promised, records)):
        show.records(records)
        terminal.remarks(remarks(records))
        show.fit(fit, rows)
        if records.num_models > 1:
            show.gains(promised, fit.model.models)


def _prospects(model: CascadeModel) -> Prospects:
    """What any policy can save under the model, at a handful of the prices that matter."""
    accuracy = np.asarray(jax.vmap(lambda law: law.mean())(model.marginal))
    error = price_grid(np.asarray(model.cost_usd), 1.0 - accuracy, _NUM_PROSPECTS)
    return prospects(model, Prices(error, 0.0, np.inf))


def _decisions(frontier: Frontier, records: Records) -> pa.Table:
    """One row per point and query, in the columns of the design."""
    result = replay_policies(frontier, records)
    count = len(frontier.points)
    names = np.array([*frontier.models], object)
    accepted = np.asarray(result.route.ended_by) == ACCEPT
    answered_by = names[np.asarray(result.route.last)]
    answered_by[~accepted] = None
    paths = np.asarray(result.route.path)
    # Few distinct ways are taken by many queries: join the names once per way.
    ways, which = np.unique(paths.reshape(-1, paths.shape[-1]), axis=0, return_inverse=True)
    written = np.array([">".join(names[way[way >= 0]]) for way in ways], object)
    queries = pa.array(records.queries.tolist())
    columns = {
        "point": np.repeat(np.arange(count), records.num_queries),
        "query": pa.chunked_array([queries] * count),
        "answered_by": pa.array(answered_by.reshape(-1).tolist(), pa.string()),
        "path": pa.array(written[which.reshape(-1)].tolist(), pa.string()),
        "cost_usd": pa.array(np.asarray(result.cost_usd).reshape(-1), from_pandas=True),
        "latency_s": pa.array(np.asarray(result.latency_s).reshape(-1), from_pandas=True),
        "correct": pa.array(np.asarray(result.correct).reshape(-1), from_pandas=True).cast(
            pa.int8()
        ),
    }
    return pa.table(columns)


def _fit_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "calibration": _CALIBRATIONS[arguments.calibration](),
        "marginal": _MARGINALS[arguments.marginal](),
        "copula": _COPULAS[arguments.copula],
    }


def _error_prices(words: list[str] | None) -> np.ndarray | None:
    if words is None:
        return None
    try:
        low, high, count = float(words[0]), float(words[1]), int(words[2])
        usable = 0 < low <= high < np.inf and count >= 1
    except ValueError:
        usable, low, high, count = False, 0.0, 0.0, 0
    if not usable:
        raise InvalidInputError(
            "`--prices LOW HIGH N` needs two prices above 0 dollars, the lower first, and a whole "
            f"number of points; got {' '.join(words)}."
        )
    return np.geomspace(low, high, count)
