import time

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records, example_records

# Zellinger and Thomson (2025), table 1, MMLU.
ACCURACY = {
    "llama3.2-1b": 0.425,
    "llama3.2-3b": 0.572,
    "llama3.1-8b": 0.634,
    "llama3.1-70b": 0.815,
    "llama3.1-405b": 0.852,
    "gpt-4o-mini": 0.749,
    "qwen2.5-32b-coder-instruct": 0.753,
    "qwen2.5-72b-instruct": 0.820,
    "gpt-4o": 0.836,
}


@pytest.fixture(scope="module")
def held_out() -> Records:
    return example_records("test")


@pytest.mark.parametrize(
    ("split", "size", "tolerance"), [("train", 300, 0.035), ("test", 1500, 0.015)]
)
def test_accuracies_are_the_published_ones(split, size, tolerance):
    records = example_records(split)
    assert records.num_queries == size
    assert records.models == tuple(ACCURACY)
    assert records.summary().accuracy == pytest.approx(ACCURACY, abs=tolerance)
    assert records.asked.all()
    assert records.labelled.all()


def test_only_two_models_are_ever_certain(held_out):
    certain = held_out.summary().certain
    expected = dict.fromkeys(ACCURACY, 0.0) | {"gpt-4o-mini": 0.457, "gpt-4o": 0.227}
    assert certain == pytest.approx(expected, abs=0.03)


def test_values_are_in_range(held_out):
    assert held_out.confidence.min() >= 0.25
    assert held_out.log_confidence.max() == 0
    assert held_out.cost_usd.min() > 0
    assert held_out.latency_s.min() > 0
    assert set(np.unique(held_out.correct)) == {0.0, 1.0}
    assert set(held_out.group) == {"humanities", "social sciences", "STEM", "other"}


def test_confidence_is_informative_and_too_high(held_out):
    """Areas of .65 to .87, and mean confidence 7 to 21 points above accuracy, as on real runs."""
    for j in range(held_out.num_models):
        area = roc_auc_score(held_out.correct[:, j], held_out.log_confidence[:, j])
        assert 0.62 < area < 0.89
        excess = held_out.confidence[:, j].mean() - held_out.correct[:, j].mean()
        assert 0.06 < excess < 0.22


def test_neighbours_in_size_agree_most(held_out):
    tau = np.array(
        [
            [kendalltau(one, other)[0] for other in held_out.log_confidence.T]
            for one in held_out.log_confidence.T
        ]
    )
    off = tau[~np.eye(9, dtype=bool)]
    assert 0.15 < off.min() < 0.3
    assert 0.5 < off.max() < 0.6
    assert tau[3, 4] > tau[2, 4] > tau[1, 4] > tau[0, 4]


def test_cost_is_tokens_times_list_price(held_out):
    tokens = held_out.extra
    priced = (2.5 * tokens["input_tokens"] + 10 * tokens["output_tokens"]) / 1e6
    np.testing.assert_allclose(held_out.cost_usd[:, -1], priced[:, -1], rtol=1e-12)


def test_queries_passed_on_are_hard_for_the_next_model(held_out):
    """Given its own confidence, the next model errs more where the one before was wrong."""
    small, large = (held_out.models.index(f"llama3.1-{size}") for size in ("8b", "70b"))
    high = held_out.log_confidence[:, large] > np.median(held_out.log_confidence[:, large])
    wrong = held_out.correct[:, small] == 0
    right = held_out.correct[:, large] == 1
    assert right[high & wrong].mean() < right[high & ~wrong].mean()


def test_it_is_always_the_same_and_quick():
    start = time.perf_counter()
    one, other = example_records("train"), example_records("train")
    assert time.perf_counter() - start < 1
    np.testing.assert_array_equal(one.log_confidence, other.log_confidence)
    np.testing.assert_array_equal(one.correct, other.correct)
    assert not set(one.queries) & set(example_records("test").queries)


def test_easy_queries_tie_the_models_more_than_hard_ones(held_out):
    """Upper tail dependence, as of a Gumbel copula: both in their highest 15 % or their lowest."""
    signal = held_out.log_confidence[:, :5]
    ranks = signal.argsort(axis=0).argsort(axis=0) / len(signal)
    high = np.corrcoef((ranks > 0.85).T)[np.triu_indices(5, 1)]
    low = np.corrcoef((ranks < 0.15).T)[np.triu_indices(5, 1)]
    assert high.mean() > low.mean() + 0.05


def test_other_splits_are_refused():
    with pytest.raises(InvalidInputError, match=r'"train" or "test"; got .validation'):
        example_records("validation")
