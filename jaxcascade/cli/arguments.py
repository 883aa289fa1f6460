"""What can be said on the command line."""

import argparse
import csv

from jaxcascade._version import __version__

SCENARIOS = {
    "models": "a pool of nine models, multiple choice",
    "human": "a fast model, a reasoning model and a person behind them, simulated",
    "screening": "candidates rated by five models, a phone screen, costly mistakes, simulated",
}
METHODS = {
    "best": "single models, pairs and threshold cascades, by training loss and prediction",
    "pool": "optimal stopping over the pool, as the fitted model sees it",
    "thresholds": "the best threshold cascade of all subcascades, as the fitted model sees it",
    "rational-tuning": "thresholds of the full chain of models, as published",
    "pairs": "pairs of models with thresholds by training loss alone",
    "single": "single models by training loss alone",
}
CALIBRATIONS = {
    "one-sided": "logistic in -log(1 - confidence), for multiple choice",
    "two-sided": "logistic in a signal symmetric around one half, for free text",
    "temperature": "one temperature on the log-odds",
    "beta": "beta calibration",
    "isotonic": "isotonic regression",
}
INFERENCES = {
    "laplace": "normal law around the mode, reweighted; seconds",
    "nuts": "the no-U-turn sampler; a minute or more, to check the others",
    "svi": "a full-rank normal law by stochastic variational inference",
}
# A posterior's calibrators are linear in one signal, with an intercept.
POSTERIOR_CALIBRATIONS = {
    "one-sided": CALIBRATIONS["one-sided"],
    "two-sided": CALIBRATIONS["two-sided"],
    "temperature": "logistic in the log-odds of the confidence",
}
MARGINALS = {"betas": "mixture of two betas", "histogram": "smoothed histogram"}
COPULAS = {
    "gumbel": "dependence strongest where both models are sure",
    "clayton": "strongest where both doubt",
    "survival-gumbel": "the same, less sharply",
    "joe": "as gumbel, more sharply",
    "frank": "alike at both ends",
    "gaussian": "that of a normal law",
    "independence": "none",
}


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="jaxcascade",
        description="Which language model to ask first, when to accept its answer, when to pass "
        "on and to whom: tuned from recorded runs.",
    )
    parser.add_argument("--version", action="version", version=f"jaxcascade {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_demo(verbs)
    _add_tune(verbs)
    _add_evaluate(verbs)
    _add_replay(verbs)
    _add_posterior(verbs)
    _add_check(verbs)
    _add_monitor(verbs)
    _add_segments(verbs)
    _add_worth(verbs)
    _add_budget(verbs)
    return parser


def _add_demo(verbs) -> None:
    verb = verbs.add_parser(
        "demo",
        help="tune and evaluate on the built-in example, report included",
        description="Runs the main job on the built-in example of nine models: tunes on 300 "
        "queries, evaluates on 1,500 others, and writes a report.",
    )
    verb.add_argument(
        "--scenario",
        choices=SCENARIOS,
        default="models",
        help=_described(SCENARIOS, "models"),
    )
    verb.add_argument(
        "--report",
        default="jaxcascade-demo.html",
        metavar="FILE",
        help="report to write (default: %(default)s)",
    )
    _add_json(verb)


def _add_tune(verbs) -> None:
    verb = verbs.add_parser(
        "tune",
        help="recommend a policy at every price of an error",
        description="Learns from recorded runs, recommends a policy at every price of an error, "
        "and says where a cascade beats the best single model on held-out queries.",
    )
    _add_table(verb, "TRAIN", "labelled runs")
    verb.add_argument("--out", metavar="FILE", help="frontier to write, as JSON")
    _add_models(verb)
    verb.add_argument("--method", choices=METHODS, default="best", help=_described(METHODS, "best"))
    verb.add_argument(
        "--prices",
        nargs=3,
        metavar=("LOW", "HIGH", "N"),
        help="N prices of an error from LOW to HIGH dollars, geometric (default: 60 around the "
        "break-even prices between single models)",
    )
    verb.add_argument(
        "--price-latency", type=float, default=0.0, metavar="USD", help="dollars per second"
    )
    verb.add_argument(
        "--price-abstention",
        type=float,
        default=float("inf"),
        metavar="USD",
        help="dollars per query handed to a person (default: never)",
    )
    _add_fit(verb)
    verb.add_argument(
        "--seed", type=int, default=0, help="of the split into held-out parts (default: 0)"
    )
    verb.add_argument(
        "--draws",
        type=int,
        default=400,
        metavar="N",
        help="draws of the posterior behind the intervals; 0 for none (default: %(default)s)",
    )
    _add_report(verb)
    _add_json(verb)


def _add_evaluate(verbs) -> None:
    verb = verbs.add_parser(
        "evaluate",
        help="what a frontier does on records it has not seen",
        description="Replays every policy of a frontier on labelled runs and compares it with "
        "the best single model.",
    )
    _add_frontier(verb)
    _add_table(verb, "TEST", "labelled runs that were not used for tuning")
    _add_report(verb)
    _add_json(verb)


def _add_replay(verbs) -> None:
    verb = verbs.add_parser(
        "replay",
        help="each query's way through the models, point by point",
        description="Writes one row per point of the frontier and query: who answered, which "
        "models were asked, what it cost. Labels are not needed. Cost is empty where a model that "
        "the policy asks was not recorded for the query.",
    )
    _add_frontier(verb)
    _add_table(verb, "TEST", "recorded runs")
    verb.add_argument(
        "--out", required=True, metavar="FILE", help="decisions: .parquet, .csv or .jsonl"
    )


def _add_posterior(verbs) -> None:
    verb = verbs.add_parser(
        "posterior",
        help="how sure the records make us, of every parameter and of what pays",
        description="Draws from the posterior of the joint model: calibrators, laws of confidence, "
        "dependence and costs. Prints intervals of 90 %, how good the draws are, and at some "
        "prices of an error the probability that a cascade beats the best single model.",
    )
    _add_table(verb, "TRAIN", "labelled runs")
    verb.add_argument("--out", metavar="FILE", help="draws to write, as netCDF (.nc), for ArviZ")
    verb.add_argument(
        "--predictive",
        action="store_true",
        help="write what prior and posterior predict and the pointwise log-likelihood, too",
    )
    _add_models(verb)
    verb.add_argument(
        "--method", choices=INFERENCES, default="laplace", help=_described(INFERENCES, "laplace")
    )
    verb.add_argument(
        "--draws",
        type=int,
        metavar="N",
        help="draws, of each chain where there are several (default: 1000; 500 with nuts)",
    )
    verb.add_argument("--chains", type=int, metavar="N", help="chains of nuts (default: 4)")
    verb.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    verb.add_argument(
        "--calibration",
        choices=POSTERIOR_CALIBRATIONS,
        default="one-sided",
        help=_described(POSTERIOR_CALIBRATIONS, "one-sided"),
    )
    verb.add_argument(
        "--copula", choices=COPULAS, default="gumbel", help=_described(COPULAS, "gumbel")
    )
    verb.add_argument(
        "--neighbours",
        action="store_true",
        help="fit the dependence only of models next to each other in cost",
    )
    verb.add_argument(
        "--prices",
        nargs=3,
        metavar=("LOW", "HIGH", "N"),
        help="N prices of an error from LOW to HIGH dollars, geometric (default: 6 around the "
        "break-even prices between single models)",
    )
    _add_json(verb)


def _add_check(verbs) -> None:
    verb = verbs.add_parser(
        "check",
        help="data quality and fit diagnostics",
        description="Describes a table of recorded runs and how well the model fits it.",
    )
    _add_table(verb, "TRAIN", "labelled runs")
    _add_models(verb)
    _add_fit(verb)
    _add_json(verb)


def _add_monitor(verbs) -> None:
    verb = verbs.add_parser(
        "monitor",
        help="whether new runs are still like those that a frontier was tuned on",
        description="Tests whether confidence is still distributed as in training, and with labels "
        "whether it is still calibrated. The exit status is 0 whether or not drift is found; read "
        "`drift` in the JSON.",
    )
    _add_frontier(verb)
    _add_table(verb, "NEW", "new runs, labels optional")
    verb.add_argument(
        "--alpha",
        type=float,
        default=0.05,
        metavar="A",
        help="chance of a false alarm about any model (default: %(default)s)",
    )
    verb.add_argument(
        "--margin",
        type=float,
        default=0.05,
        metavar="M",
        help="how far calibrated confidence may be off before it counts (default: %(default)s)",
    )
    verb.add_argument(
        "--in-order",
        action="store_true",
        help="look at the queries in the order of the file, to catch a change on the way; whatever "
        "is sorted then counts as drift (default: shuffled)",
    )
    verb.add_argument("--seed", type=int, default=0, help="of the order and of ties (default: 0)")
    _add_report(verb)
    _add_json(verb)


def _add_segments(verbs) -> None:
    verb = verbs.add_parser(
        "segments",
        help="whether a group of queries deserves a policy of its own",
        description="By `group` of the table: what the frontier's policy does, which policy is "
        "best there, and what one policy per group saves on held-out queries.",
    )
    _add_frontier(verb)
    _add_table(verb, "TABLE", "labelled runs with groups, not used for tuning")
    verb.add_argument(
        "--price-error",
        type=float,
        metavar="USD",
        help="dollars per wrong answer, to see it group by group (default: all prices of the "
        "frontier)",
    )
    verb.add_argument(
        "--seed", type=int, default=0, help="of the split into held-out parts (default: 0)"
    )
    _add_report(verb)
    _add_json(verb)


def _add_worth(verbs) -> None:
    verb = verbs.add_parser(
        "worth",
        help="which model is the best at given prices, how surely, and who knows it errs",
        description="Prices errors, seconds and abstentions in dollars, and compares single models "
        "and the policy that a frontier recommends: losses with intervals of 90 %, who is the best "
        "and how surely, from which price of an error on the next is better, and whose confidence "
        "tells right answers from wrong ones.",
    )
    _add_table(verb, "TABLE", "labelled runs, not used for tuning")
    _add_models(verb)
    verb.add_argument("--price-error", type=float, metavar="USD", help="dollars per wrong answer")
    verb.add_argument(
        "--price-latency", type=float, default=0.0, metavar="USD", help="dollars per second"
    )
    verb.add_argument(
        "--price-abstention",
        type=float,
        default=float("inf"),
        metavar="USD",
        help="dollars per query handed to a person (default: never)",
    )
    verb.add_argument(
        "--elicit-error",
        nargs=3,
        type=float,
        metavar=("LOW", "MIDDLE", "HIGH"),
        help="dollars that an error costs less than with 5, 50 and 95 %% probability: says what is "
        "best then, and what it is worth to know the price; without --price-error, the mean counts",
    )
    verb.add_argument(
        "--metric",
        action="append",
        metavar="NAME=USD",
        help="a further column and its dollars per unit, added up over all calls of a query; may "
        "be given again",
    )
    verb.add_argument(
        "--frontier",
        action="append",
        metavar="FRONTIER",
        help="file written by `jaxcascade tune`, whose recommendation is compared; may be given "
        "again for other --price-latency: then the nearest is compared, and the report maps where "
        "recommendations beat the dearest model",
    )
    verb.add_argument(
        "--draws", type=int, default=1000, metavar="N", help="bootstrap draws (default: 1000)"
    )
    verb.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    _add_report(verb)
    _add_json(verb)


def _add_budget(verbs) -> None:
    verb = verbs.add_parser(
        "budget",
        help="the best policy, or mixture of policies, within limits",
        description="Chooses among a frontier's policies and single models: the one, or the "
        "mixture, that minimises one quantity while others stay within limits on the table's "
        "queries; and what one unit more of each limit would save. Exit status 2 where nothing "
        "is within the limits, with what could be had.",
    )
    _add_frontier(verb)
    _add_table(verb, "TABLE", "labelled runs, best those that were not used for tuning")
    limits = {
        "error": ("E", "most wrong answers, as a share of all queries"),
        "error-given-answered": ("E", "most wrong answers, as a share of the answered queries"),
        "cost": ("USD", "most dollars per query"),
        "latency": ("S", "most seconds per query, on average"),
        "abstention": ("A", "most queries given up, as a share"),
    }
    for name, (unit, what) in limits.items():
        verb.add_argument(f"--{name}", type=float, metavar=unit, help=what)
    verb.add_argument(
        "--latency-quantile",
        nargs=2,
        type=float,
        metavar=("LEVEL", "S"),
        help="at least a share LEVEL of the queries takes at most S seconds",
    )
    verb.add_argument(
        "--minimise",
        choices=("cost", "error", "latency", "abstention", "loss"),
        help="what to minimise (default: error where the cost is limited and the error is not, "
        "else cost)",
    )
    for name, what in (("error", "wrong answer"), ("latency", "second"), ("abstention", "query")):
        verb.add_argument(
            f"--price-{name}",
            type=float,
            metavar="USD",
            help=f"dollars per {what}{' given up' if name == 'abstention' else ''}, "
            "with --minimise loss",
        )
    verb.add_argument(
        "--chance",
        type=float,
        metavar="P",
        help="tighten the limits until they are kept with this probability (default: on average)",
    )
    verb.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    _add_report(verb)
    _add_json(verb)


def _add_frontier(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("frontier", metavar="FRONTIER", help="file written by `jaxcascade tune`")


def _add_table(verb: argparse.ArgumentParser, name: str, what: str) -> None:
    verb.add_argument(
        "table", metavar=name, help=f"{what}: .parquet, .csv or .jsonl, one row per query and model"
    )
    verb.add_argument(
        "--token-prices",
        metavar="FILE",
        help="JSON or CSV of dollars per million tokens, for a table with tokens but no cost_usd",
    )


def _add_models(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--models",
        type=model_names,
        metavar="A,B,C",
        help="models to use (default: all); quote a name that has a comma: '\"a,b\",c'",
    )


def _add_fit(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--calibration",
        choices=CALIBRATIONS,
        default="one-sided",
        help=_described(CALIBRATIONS, "one-sided"),
    )
    verb.add_argument(
        "--marginal", choices=MARGINALS, default="betas", help=_described(MARGINALS, "betas")
    )
    verb.add_argument(
        "--copula", choices=COPULAS, default="gumbel", help=_described(COPULAS, "gumbel")
    )


def _add_report(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--report", metavar="FILE", help="HTML report to write")


def _add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the result as JSON: to FILE, or to standard output instead of the tables",
    )


def _described(choices: dict[str, str], default: str) -> str:
    return "; ".join(f"{name}: {what}" for name, what in choices.items()) + f" (default: {default})"


def model_names(text: str) -> list[str]:
    """Splits names at commas, as in one line of CSV.

    Example:
        >>> model_names('small,"large, new"')
        ['small', 'large, new']
    """
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
