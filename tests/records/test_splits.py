import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records import Records, bootstrap, example_records, folds, split


def made(correct: np.ndarray) -> Records:
    n, k = correct.shape
    return Records(
        queries=np.arange(n).astype(object),
        models=tuple(f"m{j}" for j in range(k)),
        log_confidence=np.full((n, k), -0.5),
        correct=correct.astype(np.float64),
        cost_usd=np.ones((n, k)),
    )


@st.composite
def tables(draw):
    n, k = draw(st.integers(6, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    correct = (rng.random((n, k)) < rng.random(k)).astype(np.float64)
    correct[rng.random((n, k)) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    return made(correct)


def outcomes(records: Records) -> np.ndarray:
    """Number of right and wrong answers of each model, [2, k]."""
    return np.stack([(records.correct == 1).sum(axis=0), (records.correct == 0).sum(axis=0)])


@settings(max_examples=60, deadline=None)
@given(tables(), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_split_is_a_partition_of_the_stated_size(records, fraction, seed):
    one, other = split(jax.random.key(seed), records, fraction)
    assert sorted([*one.queries, *other.queries]) == list(records.queries)
    assert abs(one.num_queries - records.num_queries * fraction) <= 1
    assert min(one.num_queries, other.num_queries) >= 1
    again, _ = split(jax.random.key(seed), records, fraction)
    assert again.queries.tolist() == one.queries.tolist()


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(2, 6), st.integers(0, 1000))
def test_folds_are_even(records, num_folds, seed):
    sizes = np.bincount(folds(jax.random.key(seed), records, num_folds), minlength=num_folds)
    assert sizes.sum() == records.num_queries
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_rare_wrong_answers_reach_every_part(seed):
    """Two wrong answers of each of three models: chance alone would miss in most draws."""
    rng = np.random.default_rng(seed)
    correct = np.ones((60, 3))
    for model in range(3):
        correct[rng.choice(60, 2, replace=False), model] = 0
    for part in split(jax.random.key(seed), made(correct), 0.3):
        assert outcomes(part).min() >= 1
    fold = folds(jax.random.key(seed), made(correct), 2)
    for number in range(2):
        assert outcomes(made(correct[fold == number])).min() >= 1


@pytest.mark.parametrize("seed", range(5))
def test_five_folds_keep_both_outcomes_of_five_models(seed):
    rng = np.random.default_rng(seed)
    correct = (rng.random((100, 5)) < np.array([0.07, 0.5, 0.8, 0.92, 0.93])).astype(float)
    correct[:5, 0], correct[5:10, 3], correct[10:15, 4] = 1, 0, 0
    fold = folds(jax.random.key(seed), made(correct), 5)
    for number in range(5):
        assert outcomes(made(correct[fold == number])).min() >= 1


def test_parts_are_equally_hard():
    records = example_records("test")
    one, other = split(jax.random.key(1), records, 0.5)
    assert abs(one.correct.mean() - other.correct.mean()) < 0.003


def test_another_key_gives_another_split():
    records = example_records("train")
    one, _ = split(jax.random.key(1), records, 0.5)
    two, _ = split(jax.random.key(2), records, 0.5)
    assert one.queries.tolist() != two.queries.tolist()


def test_no_labels_or_no_variety_split_all_the_same():
    for correct in (np.full((10, 2), np.nan), np.ones((10, 2)), np.zeros((10, 1))):
        one, other = split(jax.random.key(0), made(correct), 0.5)
        assert one.num_queries == other.num_queries == 5
        assert bootstrap(jax.random.key(0), made(correct)).num_queries == 10


def test_bootstrap_draws_whole_queries_with_replacement():
    records = example_records("train")
    drawn = bootstrap(jax.random.key(3), records)
    assert drawn.num_queries == records.num_queries
    distinct = len(set(drawn.queries))
    assert 0.55 * records.num_queries < distinct < 0.72 * records.num_queries
    rows = {query: row for row, query in enumerate(records.queries)}
    places = np.array([rows[query] for query in drawn.queries])
    np.testing.assert_array_equal(drawn.log_confidence, records.log_confidence[places])
    assert bootstrap(jax.random.key(3), records).queries.tolist() == drawn.queries.tolist()


def test_bootstrap_keeps_a_single_wrong_answer():
    """One wrong answer in 30 is lost by (1 - 1/30)^30 = 36 % of plain draws."""
    correct = np.ones((30, 1))
    correct[7] = 0
    for seed in range(20):
        assert outcomes(bootstrap(jax.random.key(seed), made(correct))).min() >= 1


def test_what_cannot_be_split_is_refused():
    one = made(np.ones((1, 2)))
    key = jax.random.key(0)
    with pytest.raises(RecordsError, match="at least 2 queries for this; they have 1"):
        split(key, one, 0.5)
    with pytest.raises(RecordsError, match="at least 3 queries"):
        folds(key, made(np.ones((2, 2))), 3)
    with pytest.raises(RecordsError, match="at least 1 query"):
        bootstrap(key, one.take(np.array([], dtype=int)))
    for fraction in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="strictly between 0 and 1"):
            split(key, made(np.ones((4, 2))), fraction)
    with pytest.raises(InvalidInputError, match="`num_folds` must be at least 2"):
        folds(key, made(np.ones((4, 2))), 1)


@pytest.mark.parametrize("spread", [lambda k, r: split(k, r, 0.5), bootstrap])
def test_an_old_key_is_refused(spread):
    with pytest.raises(InvalidInputError, match=r"typed key, as jax.random.key\(seed\)"):
        spread(jax.random.PRNGKey(0), made(np.ones((4, 2))))
