import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from jaxcascade.calibration import auroc, brier, ece, log_loss, reliability_curve


@pytest.fixture(params=["smooth", "ties"])
def answers(request):
    rng = np.random.default_rng(3)
    confidence = rng.beta(3, 1.5, 203)
    if request.param == "ties":
        confidence = np.round(confidence, 1)
    correct = (rng.random(203) < confidence**1.5).astype(float)
    return confidence, correct


def loop_ece(confidence, correct, num_bins):
    """Adaptive: sorted, ties in their order, into parts of equal size."""
    order = sorted(range(len(confidence)), key=lambda i: confidence[i])
    parts = [[] for _ in range(num_bins)]
    for rank, i in enumerate(order):
        parts[rank * num_bins // len(order)].append(i)
    gaps = [abs(sum(correct[i] - confidence[i] for i in part)) for part in parts]
    return sum(gaps) / len(order)


@pytest.mark.parametrize("num_bins", [1, 10, 7])
def test_ece_matches_a_plain_loop(answers, num_bins):
    found = ece(*map(jnp.asarray, answers), num_bins)
    np.testing.assert_allclose(found, loop_ece(*answers, num_bins), rtol=1e-12)


def test_ece_with_more_bins_than_answers_is_the_mean_distance():
    found = ece(jnp.array([0.2, 0.9]), jnp.array([0.0, 1.0]), 10)
    np.testing.assert_allclose(found, 0.15, rtol=1e-12)


def test_reliability_bins_differ_by_one_at_most(answers):
    curve = reliability_curve(*map(jnp.asarray, answers), 10)
    assert np.ptp(curve.count) <= 1
    assert np.all(np.diff(curve.confidence) >= 0)
    np.testing.assert_allclose(curve.count @ curve.accuracy, answers[1].sum())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(brier, metrics.brier_score_loss), (auroc, metrics.roc_auc_score)],
    ids=["brier", "auroc"],
)
def test_matches_scikit_learn(answers, ours, theirs):
    confidence, correct = answers
    expected = theirs(correct, confidence)
    np.testing.assert_allclose(ours(jnp.asarray(confidence), jnp.asarray(correct)), expected)


def test_log_loss_matches_scikit_learn(answers):
    confidence, correct = np.clip(answers[0], 1e-6, 1 - 1e-6), answers[1]
    found = log_loss(jnp.asarray(confidence), jnp.asarray(correct))
    np.testing.assert_allclose(found, metrics.log_loss(correct, confidence), rtol=1e-12)


def test_log_loss_of_a_wrong_certainty_is_infinite_and_of_a_right_one_zero():
    assert log_loss(jnp.array([1.0]), jnp.array([0.0])) == np.inf
    assert log_loss(jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0])) == 0


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_auroc_of_one_kind_of_answer_is_nan(label):
    assert np.isnan(auroc(jnp.array([0.2, 0.5]), jnp.full(2, label)))
