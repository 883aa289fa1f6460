"""Saving, loading, and every kind of hand-edited nonsense."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxcascade.errors import FileFormatError, InvalidInputError, UnknownModelError
from jaxcascade.records import Records
from jaxcascade.tuning import (
    confidence_reference,
    confidence_scores,
    load_frontier,
    save_frontier,
    tune,
)

MISSING = object()


def put(*path_and_value):
    *path, last, value = path_and_value

    def edit(content):
        at = content
        for step in path:
            at = at[step]
        if value is MISSING:
            del at[last]
        else:
            at[last] = value

    return edit


def cycle(content):
    names = [m["name"] for m in content["models"]]
    rules = {
        one: {"breakpoints": [0.5], "actions": [other, "accept"]}
        for one, other in (names[:2], names[1::-1])
    }
    content["points"][0]["policy"] = {"start": names[0], "rules": rules}


def rule(breakpoints, actions):
    def edit(content):
        policy = content["points"][0]["policy"]
        policy["rules"] = {policy["start"]: {"breakpoints": breakpoints, "actions": actions}}

    return edit


def twice_the_same_model(content):
    content["models"][1]["name"] = content["models"][0]["name"]


CAL = ("models", 0, "calibrator")
NAME = "llama3.1-70b"
NONSENSE = {
    "wrong-format": (put("format", "jaxcascade.model"), r'"format" "jaxcascade.frontier"'),
    "wrong-version": (put("version", 2), r'"version" 1, the one this release reads; it has 2'),
    "no-version": (put("version", MISSING), r'"version" 1'),
    "version-as-text": (put("version", "1"), r'"version" 1'),
    "no-models": (put("models", MISSING), r'lacks the member "models"'),
    "empty-models": (put("models", []), r'"models" must be a list of distinct models'),
    "models-not-a-list": (put("models", {}), r'"models" must be a list'),
    "model-a-number": (put("models", 0, 7), r"models"),
    "model-a-string": (put("models", 0, "the name of a model"), r"models"),
    "same-model-twice": (twice_the_same_model, r"distinct models"),
    "no-points": (put("points", MISSING), r'lacks the member "points"'),
    "empty-points": (put("points", []), r'"points" must not be empty'),
    "point-a-number": (put("points", 0, 1), r"point 0 must be an object"),
    "unknown-start": (put("points", 0, "policy", "start", "gpt-9"), r'names "gpt-9"'),
    "unknown-single": (put("points", 1, "best_single", "gpt-9"), r'point 1 names "gpt-9"'),
    "unknown-action": (rule([0.5], ["gpt-9", "accept"]), r"an action must be"),
    "action-a-number": (rule([], [3]), r"an action must be"),
    "negative-price": (
        put("points", 0, "prices", "error", -1.0),
        r'"error" must be finite and not negative',
    ),
    "price-zero": (put("points", 0, "prices", "error", 0), r'"error" must be above 0'),
    "price-null": (put("points", 0, "prices", "error", None), r'"error" must be a .*number'),
    "price-true": (put("points", 0, "prices", "error", True), r'"error" must be'),
    "price-text": (put("points", 0, "prices", "latency", "free"), r'"latency" must be'),
    "prices-missing": (put("points", 0, "prices", MISSING), r'lacks the member "prices"'),
    "prices-not-increasing": (put("points", 0, "prices", "error", 1e6), r"increas"),
    "negative-cost": (
        put("models", 1, "cost_usd", -2.0),
        r'"cost_usd" must be finite and not negative',
    ),
    "breakpoints-decrease": (rule([0.6, 0.5], ["accept", "abstain", "accept"]), r"increase"),
    "breakpoints-text": (rule(["half"], ["accept", "abstain"]), r"breakpoints must be confid"),
    "breakpoint-true": (rule([True], ["accept", "abstain"]), r"breakpoints must be confidences"),
    "breakpoint-above-one": (rule([7.3], ["accept", "abstain"]), r"confidences in \[0, 1\]"),
    "breakpoint-huge": (rule([10**400], ["accept", "abstain"]), r"confidences in \[0, 1\]"),
    "error-above-one": (put("points", 0, "expected", "error", 7.0), r'"error" must be at most 1'),
    "price-huge": (put("points", 0, "prices", "error", 10**400), r"must be finite"),
    "version-true": (put("version", True), r'must have the "version" 1'),
    "unknown-member": (put("band", None), r'member "band", which no frontier has'),
    "too-few-actions": (rule([0.6], ["accept"]), r"one action more than breakpoints"),
    "rule-a-list": (rule(1, ["accept"]), r'"breakpoints" must be a list'),
    "cycle": (cycle, r"ask a model twice"),
    "no-rules": (put("points", 0, "policy", "rules", {}), r"has no rule"),
    "missing-member": (put("points", 2, "expected", MISSING), r"point 2 lacks the member"),
    "negative-error": (
        put("points", 2, "training", "error", -0.5),
        r"must be finite and not negative",
    ),
    "share-missing": (put("points", 0, "expected", "answered_by", {}), r"lacks the member"),
    "no-calibrator": (put(*CAL, MISSING), r'lacks the member "calibrator"'),
    "calibrator-unknown": (put(*CAL, "type", "Pickle"), r'one of .*; it is "Pickle"'),
    "calibrator-a-copula": (put(*CAL, {"type": "Gumbel", "theta": 2.0}), r"calibrator is a Gumbel"),
    "calibrator-null": (put(*CAL, None), r'"calibrator" must be an object'),
    "calibrator-lacks": (put(*CAL, "coefficients", MISSING), r'lacks the member "coefficients"'),
    "calibrator-extra": (put(*CAL, "hook", "os.system"), r'no member "hook"'),
    "calibrator-true": (put(*CAL, "intercept", True), r"must be an object or numbers"),
    "calibrator-hole": (put(*CAL, "intercept", None), r"value that is missing"),
    "calibrator-text": (put(*CAL, "intercept", "os.system"), r"must be an array of numbers"),
    "calibrator-function": (put(*CAL, "intercept", "one_sided"), r"calibrator|intercept"),
    "calibrator-shape": (put(*CAL, "coefficients", [0.1, 0.2]), r"calibrator|coefficients"),
    "calibrator-ragged": (put(*CAL, "coefficients", [[0.1], 0.2]), r"array of numbers"),
    "calibrator-transform": (put(*CAL, "transform", "eval"), r"must be one of"),
    "calibrator-transform-null": (put(*CAL, "transform", None), r"calibrator|transform"),
    "calibrator-decreasing": (put(*CAL, "coefficients", [-1.0]), r"calibrator|coefficients"),
    "held-out-missing": (put("held_out", MISSING), r'lacks the member "held_out"'),
    "held-out-short": (put("held_out", "policy_loss", [1.0]), r"numbers, one per point"),
    "reference-a-list": (put("reference", [1.0]), r'"reference" must be an object or null'),
    "reference-short-of-one": (put("reference", {}), r'reference lacks the member "llama'),
    "reference-a-list-of-one": (put("reference", NAME, [1.0]), r'".*" must be a string'),
    "reference-no-numbers": (put("reference", NAME, "1.0 os.system"), r"could not convert"),
    "reference-empty": (put("reference", NAME, ""), r"must be 1 to 500 numbers .* has 0"),
    "reference-too-long": (put("reference", NAME, "1 " * 501), r"must be 1 to 500 numbers"),
    "reference-decreases": (put("reference", NAME, "2 1"), r"do not decrease"),
    "reference-not-finite": (put("reference", NAME, "1 inf"), r"must be 1 to 500 numbers"),
    "reference-nan": (put("reference", NAME, "nan"), r"must be 1 to 500 numbers"),
    "reference-unknown": (put("reference", "gpt-9", "1"), r'reference names "gpt-9"'),
    "held-out-text": (put("held_out", "single_loss", ["a"] * 5), r"numbers, one per point"),
}  # fmt: skip


@pytest.fixture
def content(frontier, tmp_path):
    save_frontier(frontier, tmp_path / "good.json")
    return json.loads((tmp_path / "good.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused(content, tmp_path, name):
    edit, message = NONSENSE[name]
    edit(content)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FileFormatError, match=message):
        load_frontier(path)


def test_nonsense_is_refused_without_the_runtime_checker(content, tmp_path):
    """The same in a process of its own, since shapes are checked in tests only."""
    names = []
    for name, (edit, _) in NONSENSE.items():
        edited = json.loads(json.dumps(content))
        edit(edited)
        names.append(name)
        (tmp_path / f"{name}.json").write_text(json.dumps(edited), encoding="utf-8")
    program = (
        "import sys, jax; jax.config.update('jax_enable_x64', True)\n"
        "from jaxcascade.tuning import load_frontier\n"
        "from jaxcascade.errors import FileFormatError\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        load_frontier(f'{sys.argv[1]}/{name}.json')\n"
        "        print(name, 'was accepted')\n"
        "    except FileFormatError:\n"
        "        pass\n"
        "    except Exception as error:\n"
        "        print(name, 'raised', type(error).__name__, str(error)[:80])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "jaxcascade.fron', r"not valid JSON.*cut short"),
        ("", r"not valid JSON"),
        ("[1, 2]", r'must have the "format"'),
        ("[" * 100_000, r"nested too deeply"),
        ("null", r'must have the "format"'),
        ('{"format": "jaxcascade.frontier", "version": NaN}', r"NaN is not a JSON number"),
        (
            '{"format": "jaxcascade.frontier", "version": Infinity}',
            r"Infinity is not a JSON number",
        ),
    ],
)
def test_what_is_no_frontier_is_refused(tmp_path, text, message):
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=message):
        load_frontier(path)


def test_a_price_too_large_for_a_float_is_refused(content, tmp_path):
    text = json.dumps(content)
    first = json.dumps(content["points"][0]["prices"]["error"])
    path = tmp_path / "huge.json"
    path.write_text(text.replace(f'"error": {first}', '"error": 1e999', 1), encoding="utf-8")
    with pytest.raises(FileFormatError, match="error"):
        load_frontier(path)


def test_a_truncated_file_is_refused_wherever_it_was_cut(frontier, tmp_path):
    path = tmp_path / "frontier.json"
    save_frontier(frontier, path)
    text = path.read_text(encoding="utf-8")
    for share in (0.1, 0.5, 0.99):
        path.write_text(text[: int(share * len(text))], encoding="utf-8")
        with pytest.raises(FileFormatError, match="cut short"):
            load_frontier(path)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(FileFormatError, match="There is no file"):
        load_frontier(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(FileFormatError, match="cannot be read as text"):
        load_frontier(tmp_path / "binary.json")


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    for a, b in pairs:
        if isinstance(a, str) or a is None or hasattr(a, "rules"):
            assert a == b
        else:
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_round_trip_is_equal_to_the_last_bit(frontier, tmp_path):
    path = tmp_path / "frontier.json"
    save_frontier(frontier, path)
    again = load_frontier(path)
    assert again.models == frontier.models
    same(again.points, frontier.points)
    assert [p.policy for p in again.points] == [p.policy for p in frontier.points]
    same(again.calibrators, frontier.calibrators)
    same(again.held_out, frontier.held_out)
    np.testing.assert_array_equal(again.cost_usd, frontier.cost_usd)
    save_frontier(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_the_reference_is_one_readable_line_per_model(frontier, train, tmp_path):
    path = tmp_path / "frontier.json"
    save_frontier(frontier, path)
    lines = path.read_text(encoding="utf-8").splitlines()
    start = lines.index(' "reference": {')
    for name, line in zip(frontier.models, lines[start + 1 :], strict=False):
        scores = np.array(line.split('"')[3].split(), float)
        odds = np.sort(train.select([name]).log_confidence[:, 0])
        odds = odds - np.log(np.maximum(-np.expm1(odds), 1e-300))
        np.testing.assert_allclose(scores, np.clip(odds, -50, 50), atol=6e-4)
    again = load_frontier(path).reference
    for one, other in zip(again.scores, frontier.reference.scores, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_from_before_there_was_a_reference_is_read(content, tmp_path):
    del content["reference"]
    path = tmp_path / "older.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    older = load_frontier(path)
    assert older.reference is None
    save_frontier(older, tmp_path / "again.json")
    assert load_frontier(tmp_path / "again.json").reference is None


def test_of_many_confidences_a_random_part_is_kept():
    log_confidence = -np.logaddexp(0, np.random.default_rng(0).normal(size=(1800, 2)))
    log_confidence[:700, 1] = np.nan
    cells = np.where(np.isnan(log_confidence), np.nan, 1.0)
    records = Records(np.arange(1800), ("a", "b"), log_confidence, cells, cells)
    kept = confidence_reference(jax.random.key(0), records).scores
    assert [scores.size for scores in kept] == [500, 500]
    other = confidence_reference(jax.random.key(1), records).scores
    assert not np.array_equal(kept[0], other[0])
    for scores in kept:
        assert np.isin(scores, confidence_scores(records.log_confidence)).all()
        assert abs(scores.mean()) < 3 / np.sqrt(500)
        assert np.all(np.diff(scores) >= 0)


def test_abstention_and_unknown_latency_survive(train, tmp_path):
    unknown = type(train)(
        train.queries, train.models, train.log_confidence, train.correct, train.cost_usd
    )
    made = tune(
        jax.random.key(0), unknown, error_prices=np.geomspace(1e-4, 3e-3, 5), abstention_price=5e-5
    ).frontier
    save_frontier(made, tmp_path / "f.json")
    again = load_frontier(tmp_path / "f.json")
    assert np.isnan(again.latency_s).all()
    assert again.points[0].prices.abstention == 5e-5
    assert np.isnan(again.points[0].expected.latency_s)
    assert [p.policy for p in again.points] == [p.policy for p in made.points]


def test_a_failed_save_leaves_the_old_file(frontier, tmp_path):
    path = tmp_path / "frontier.json"
    path.write_text("old", encoding="utf-8")
    point = frontier.points[0]
    broken = frontier._replace(points=(point._replace(kind=np.nan), *frontier.points[1:]))
    with pytest.raises(ValueError, match="JSON"):
        save_frontier(broken, path)
    assert path.read_text(encoding="utf-8") == "old"


def test_at_price_is_nearest_in_ratio(frontier):
    prices = frontier.error_prices
    assert frontier.at_price(float(prices[2])) is frontier.points[2]
    assert frontier.at_price(1e-12) is frontier.points[0]
    assert frontier.at_price(float(np.sqrt(prices[1] * prices[2]) * 1.01)) is frontier.points[2]
    for price in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="`error` must be a price above 0"):
            frontier.at_price(price)


def test_records_without_a_needed_model_are_refused(frontier, train):
    needed = sorted({n for p in frontier.points for n in p.policy.rules}, key=train.models.index)
    rest = train.select([n for n in train.models if n != needed[0]])
    with pytest.raises(UnknownModelError, match=f'asks "{needed[0]}" but the records have no such'):
        frontier.calibrate(rest)
