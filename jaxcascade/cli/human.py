"""The scenario `demo --scenario human`: a fast model, a reasoning model, a person behind them."""

import argparse
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxcascade.calibration import LogisticCalibration, log_odds
from jaxcascade.cascade import Prices
from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import (
    DEEPSEEK_R1,
    LLAMA_405B,
    Human,
    RuleComparison,
    accuracy_drag,
    ask_policy,
    compare_rules,
    confidence_from_tokens,
    drag_table,
    fail_fast_policy,
    loop_curves,
    mean_doubt,
    policy_ledger,
    reviewers_needed,
    savings_table,
    simulated_records,
    with_human,
)
from jaxcascade.records import Records
from jaxcascade.reports.human_page import (
    HumanMaterial,
    SystemRow,
    drag_columns,
    savings_columns,
    system_columns,
    write_human_report,
)

NUM_TRAIN, NUM_TEST = 1000, 4000
PRICES = Prices(error=4.0, latency=0.005)
REJECTION = 0.1
MINUTES_EACH, ARRIVALS_PER_DAY = 1.0, 10_000
# People err more often where the fast model doubts: from 0.2 % to 3.2 %.
HUMAN = Human(
    error_rate=lambda doubt: 0.002 + 0.03 * doubt, cost_usd=0.6, latency_s=60.0 * MINUTES_EACH
)
_NAMES = {"ask 0": "Ask", "rule 0": "Best rule", "tuned 0": "Tuned"}


class _Example(NamedTuple):
    """Simulated runs; the reasoning model's confidence is the length of its answer."""

    train: Records
    test: Records
    train_doubt: Float[np.ndarray, " n"]
    test_doubt: Float[np.ndarray, " m"]


def demo(arguments: argparse.Namespace) -> None:
    """Tunes with a person in the loop, and compares with the published rules."""
    exchange.check_writable(arguments.report, arguments.json)
    keys = jax.random.split(jax.random.key(0), 5)
    with exchange.progress_shown() as progress:
        progress("simulating models and a person")
        example = _example(keys[0], keys[1])
        price = _price_of_abstention(example)
        progress("tuning, and learning the rules")
        compared = compare_rules(
            keys[2],
            example.train,
            example.test,
            error_prices=np.array([PRICES.error]),
            latency_price=float(PRICES.latency),
            abstention_price=price,
            calibration=LogisticCalibration(transform=log_odds),
        )
        progress("measuring drags")
        train, test = example.train, example.test
        savings = savings_table(keys[3], train, test)
        drags = drag_table(keys[4], train, test, rejection=REJECTION)
        rows = _rows(compared, example)
        rule = fail_fast_policy(train, train.confidence, utilisation=0.5, rejection=REJECTION)
        material = HumanMaterial(
            _verdict(rows),
            _facts(price),
            rows,
            savings,
            drags,
            _notes(compared.utilisation[0], compared.rejection[0]),
            test,
            rule,
            loop_curves(train, test),
        )
        progress("drawing the report")
        write_human_report(arguments.report, material)
    if not exchange.write_json(arguments.json, content(material, price)):
        _show(material)
        terminal.line(f"Report written to {arguments.report}")


def content(material: HumanMaterial, price_of_abstention: float) -> dict[str, Any]:
    """Returns the results as JSON can hold them."""
    return {
        "verdict": material.verdict,
        "price_of_error": float(PRICES.error),
        "price_of_latency": float(PRICES.latency),
        "price_of_abstention": price_of_abstention,
        "systems": [row._asdict() for row in material.systems],
        "savings": material.savings.to_pylist(),
        "drags": material.drags.to_pylist(),
    }


def _example(train_key: jax.Array, test_key: jax.Array) -> _Example:
    models = (LLAMA_405B, DEEPSEEK_R1)
    train, test = (
        simulated_records(key, size, models)
        for key, size in ((train_key, NUM_TRAIN), (test_key, NUM_TEST))
    )
    typical = float(np.median(train.extra["output_tokens"][:, 1]))
    by_length = [confidence_from_tokens(half, DEEPSEEK_R1.name, typical) for half in (train, test)]
    train_doubt, test_doubt = (mean_doubt(half.confidence[:, :1]) for half in (train, test))
    return _Example(by_length[0], by_length[1], train_doubt, test_doubt)


def _price_of_abstention(example: _Example) -> float:
    """Of the person, whose mistakes count as often as they happen on what Ask would defer."""
    train = example.train
    ask = ask_policy(train, train.confidence, rejection=REJECTION)
    ledger = policy_ledger(train, train.confidence, {"ask": ask})
    deferred = accuracy_drag(ledger, HUMAN, doubt=example.train_doubt).deferred
    return HUMAN.price_of_abstention(PRICES, float(deferred[0]))


def _rows(compared: RuleComparison, example: _Example) -> list[SystemRow]:
    """What each system does on the test queries with the person, against the best rule."""
    ledger = compared.ledger
    doubt = example.test_doubt
    together = with_human(ledger, HUMAN, doubt=doubt)
    losses = together.losses(PRICES)
    means = together.outcomes()
    share = ledger.abstained.mean(axis=1)
    mistakes = accuracy_drag(ledger, HUMAN, doubt=doubt).deferred
    rule = losses[ledger.position("rule 0")]
    rows = []
    for at, system in enumerate(ledger.systems):
        gain = rule - losses[at]
        staff = reviewers_needed(ARRIVALS_PER_DAY, float(share[at]), MINUTES_EACH)
        rows.append(
            SystemRow(
                _NAMES[system],
                compared.policies[system].describe(),
                float(means.error[at]),
                float(share[at]),
                float(mistakes[at]) if share[at] > 0 else 0.0,
                float(ledger.cost_usd[at].mean()),
                float(share[at] * HUMAN.cost_usd),
                float(means.latency_s[at]),
                float(losses[at].mean()),
                float(gain.mean() / rule.mean()),
                float(gain.std(ddof=1) / np.sqrt(gain.size) / rule.mean()),
                staff.reviewers,
            )
        )
    return rows


def _verdict(rows: list[SystemRow]) -> str:
    tuned = rows[-1]
    doubtful = abs(tuned.saving) < 1.96 * tuned.saving_standard_error
    more = "saves" if tuned.saving >= 0 else "loses"
    clear = ", which may be chance" if doubtful else ""
    return (
        f"The tuned policy {more} {abs(tuned.saving):.1%} of the best rule's loss "
        f"(standard error {tuned.saving_standard_error:.1%}){clear}: "
        f"${tuned.loss_usd:.3f} per query, {tuned.human_share:.1%} of the queries to a person, "
        f"{tuned.error:.1%} wrong."
    )


def _facts(price: float) -> str:
    return (
        f"Simulated: {NUM_TRAIN:,} training and {NUM_TEST:,} test queries on {LLAMA_405B.name} and "
        f"{DEEPSEEK_R1.name}, whose doubt is the length of its answer. An error costs "
        f"${PRICES.error:.0f}, a second ${PRICES.latency}, the person ${HUMAN.cost_usd} and "
        f"{HUMAN.latency_s:.0f} s; with mistakes, a query given up costs ${price:.2f}."
    )


def _notes(utilisation: float, rejection: float) -> list[str]:
    rule = "Ask" if utilisation == 0 else f"Fail fast or ask that spares {utilisation:.0%}"
    staff = reviewers_needed(ARRIVALS_PER_DAY, REJECTION, MINUTES_EACH)
    return [
        f"The best rule in training is {rule}, with {rejection:.0%} for the person. Errors count "
        "the person's mistakes by their probability.",
        "Savings are shares of Ask's value, averaged over rejections of 0 to 20 %; drags are per "
        f"query at a rejection of {REJECTION:.0%}; intervals of 95 % from a Bayesian bootstrap of "
        "the test queries.",
        f"Reviewers for {ARRIVALS_PER_DAY:,} queries a day, {60 * MINUTES_EACH:.0f} seconds each. "
        f"If {REJECTION:.0%} were deferred: {staff.text}",
    ]


def _show(material: HumanMaterial) -> None:
    terminal.line(material.facts)
    for columns in (
        system_columns(material.systems),
        savings_columns(material.savings),
        drag_columns(material.drags),
    ):
        terminal.columns(columns)
    for note in material.notes:
        terminal.line(note)
    terminal.line(material.verdict)
