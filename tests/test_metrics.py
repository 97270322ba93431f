import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_distill import metrics

# Predictions 1, 0, 1, 1 by hand below.
LOGITS = np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])
LABELS = np.array([1, 0, 0, 1])


def logits_of(predictions, classes):
    return np.eye(classes)[np.asarray(predictions)]


def test_accuracy_is_the_share_of_right_rows():
    assert metrics.accuracy(LOGITS, LABELS) == 0.75


def test_f1_of_two_classes_is_that_of_class_one():
    # 2 true positives, 1 false positive, 0 false negatives: 4 / 5.
    assert metrics.f1(LOGITS, LABELS) == pytest.approx(0.8)


def test_f1_beyond_two_classes_is_the_mean_over_classes():
    logits = logits_of([0, 1, 1, 2], classes=3)
    # Class 0: 1. Class 1: 2/3. Class 2: 2/3.
    labels = np.array([0, 1, 2, 2])
    assert metrics.f1(logits, labels) == pytest.approx((1 + 4 / 3) / 3)


def test_f1_of_a_class_that_never_occurs_is_zero():
    assert metrics.f1(logits_of([0, 0], 2), np.array([0, 0])) == 0


def test_mcc_of_two_classes_follows_the_usual_formula():
    # TP 2, TN 1, FP 1, FN 0: 2 / sqrt(3 * 2 * 2 * 1).
    assert metrics.mcc(LOGITS, LABELS) == pytest.approx(2 / np.sqrt(12))


def test_mcc_of_three_classes_follows_gorodkin():
    logits = logits_of([0, 1, 1, 2], classes=3)
    labels = np.array([0, 1, 2, 2])
    # c*s - sum(p*t) = 12 - (1 + 2 + 2); s^2 - sum p^2 = s^2 - sum t^2 = 10.
    assert metrics.mcc(logits, labels) == pytest.approx(7 / 10)


def test_mcc_of_a_constant_prediction_is_zero():
    assert metrics.mcc(logits_of([1, 1, 1], 2), np.array([0, 1, 1])) == 0


def test_agreement_compares_choices_not_numbers():
    teacher = np.array([[0.0, 9.0], [1.0, 2.0], [0.0, 0.1], [0.0, 0.1]])
    assert metrics.agreement(LOGITS, teacher) == 0.75


def test_kl_is_that_of_the_student_from_the_teacher_in_nats():
    teacher = np.log([[0.75, 0.25]])
    student = np.log([[0.5, 0.5]])
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert metrics.kl(student, teacher) == pytest.approx(expected)


def test_kl_does_not_overflow():
    assert np.isfinite(
        metrics.kl(np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]]))
    )


def test_logit_mse_is_the_mean_over_rows_and_classes():
    teacher = LOGITS + np.array([[1.0, 3.0]])
    assert metrics.logit_mse(LOGITS, teacher) == pytest.approx(5.0)


def test_rows_without_a_label_count_only_against_the_teacher():
    scores = metrics.classification_metrics(
        LOGITS, np.array([1, -1, 0, -1]), -LOGITS
    )
    assert scores["accuracy"] == 0.5
    assert scores["agreement"] == 0.0


def test_metrics_without_any_label_are_null():
    scores = metrics.classification_metrics(LOGITS, np.full(4, -1))
    assert scores == dict.fromkeys(["accuracy", "f1", "mcc", "cross_entropy"])


def test_misfitting_teacher_logits_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        metrics.classification_metrics(LOGITS, LABELS, np.zeros((4, 3)))


def test_bootstrap_reports_the_difference_in_points():
    a = np.repeat([True, True, False, False], [60, 20, 10, 10])
    b = np.repeat([True, False, True, False], [60, 20, 10, 10])
    result = metrics.paired_gain(a[None], b[None], seed=0)
    assert result["points"] == pytest.approx(10)
    # Standard error sqrt(0.3 - 0.01) / 10, times 1.96, in points.
    assert result["ci_low"] == pytest.approx(10 - 10.55, abs=1.2)
    assert result["ci_high"] == pytest.approx(10 + 10.55, abs=1.2)


def test_bootstrap_agrees_with_drawing_rows():
    rng = np.random.default_rng(1)
    a, b = rng.random(200) < 0.8, rng.random(200) < 0.7
    rows = rng.integers(0, 200, (4000, 200))
    drawn = 100 * (a[rows].mean(axis=1) - b[rows].mean(axis=1))
    low, high = np.percentile(drawn, [2.5, 97.5])
    result = metrics.paired_gain(a[None], b[None], seed=2)
    assert result["ci_low"] == pytest.approx(low, abs=0.7)
    assert result["ci_high"] == pytest.approx(high, abs=0.7)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)
)
def test_bootstrap_is_antisymmetric_and_holds_its_estimate(pairs):
    a, b = np.array(pairs).T
    forth = metrics.paired_gain(a[None], b[None], seed=3, resamples=500)
    back = metrics.paired_gain(b[None], a[None], seed=3, resamples=500)
    assert forth["points"] == -back["points"]
    assert forth["ci_low"] <= forth["points"] + 1e-9
    assert forth["points"] <= forth["ci_high"] + 1e-9


@given(st.integers(2, 4), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_metrics_stay_in_their_ranges(classes, rows, seed):
    rng = np.random.default_rng(seed)
    scores = metrics.classification_metrics(
        rng.normal(size=(rows, classes)),
        rng.integers(0, classes, rows),
        rng.normal(size=(rows, classes)),
    )
    assert 0 <= scores["accuracy"] <= 1
    assert 0 <= scores["f1"] <= 1
    assert -1 - 1e-9 <= scores["mcc"] <= 1 + 1e-9
    assert scores["kl"] >= -1e-9
