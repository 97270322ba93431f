import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_distill.metrics import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
)

LOGITS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(2, 5)),
    elements=st.floats(-50, 50, width=32),
)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def drawn(rows, classes, seed, spread=2.0):
    """Logits, and labels that are as likely as they say."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(rows, classes))
    shares = softmax(logits).cumsum(axis=-1)
    labels = (rng.random((rows, 1)) > shares).sum(axis=-1)
    return logits, np.minimum(labels, classes - 1)


@st.composite
def labelled(draw, least=0):
    logits = draw(LOGITS)
    rows, classes = logits.shape
    labels = st.integers(least, classes - 1)
    return logits, np.array(
        draw(st.lists(labels, min_size=rows, max_size=rows))
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_calibrated_logits_keep_temperature_1(classes):
    temperature = fit_temperature(*drawn(20_000, classes, classes))
    assert temperature == pytest.approx(1, abs=0.05)


@given(st.floats(0.2, 5), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_the_factor_that_logits_are_too_large_by_is_found(factor, seed):
    logits, labels = drawn(5000, 3, seed)
    temperature = fit_temperature(factor * logits, labels)
    assert temperature == pytest.approx(factor, rel=0.12)


@given(labelled(least=-1), st.floats(-20, 20))
@settings(deadline=None)
def test_any_rows_give_a_temperature_within_bounds(rows, shift):
    logits, labels = rows
    temperature = fit_temperature(logits + shift, labels)
    assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE


def test_the_labels_are_nowhere_more_likely():
    logits, labels = drawn(2000, 3, 5)
    logits *= 2.5
    best = fit_temperature(logits, labels)
    reached = cross_entropy(logits / best, labels)
    for other in (1, 0.9 * best, 1.1 * best):
        assert reached < cross_entropy(logits / other, labels)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_few_rows_that_are_all_right_do_not_ask_for_certainty(rows):
    logits = np.tile([[1.0, -1.0]], (rows, 1))
    temperature = fit_temperature(logits, np.zeros(rows, int))
    confidence = softmax(logits / temperature)[0, 0]
    # Each label is doubted by 1 / (rows + 1), half of it for either class.
    assert confidence == pytest.approx(1 - 0.5 / (rows + 1), abs=1e-6)


def test_logits_that_say_nothing_keep_temperature_1():
    assert fit_temperature(np.ones((4, 3)), np.array([0, 1, 2, 0])) == 1
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1


def test_logits_that_are_always_wrong_are_doubted_most():
    logits = np.tile([[5.0, -5.0]], (50, 1))
    temperature = fit_temperature(logits, np.ones(50, int))
    assert temperature == pytest.approx(MAX_TEMPERATURE)


def test_rows_without_a_label_do_not_count():
    logits, labels = drawn(200, 2, 1)
    more = np.concatenate([logits, np.full((50, 2), [9.0, -9.0])])
    unknown = np.concatenate([labels, np.full(50, -1)])
    assert fit_temperature(more, unknown) == fit_temperature(logits, labels)
    assert expected_calibration_error(
        softmax(more), unknown
    ) == expected_calibration_error(softmax(logits), labels)


@given(LOGITS, st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE))
@settings(deadline=None)
def test_no_temperature_changes_which_class_is_first(logits, temperature):
    probabilities = softmax(logits / temperature)
    first = np.take_along_axis(
        probabilities, logits.argmax(axis=-1)[:, None], axis=-1
    )
    assert (first[:, 0] == probabilities.max(axis=-1)).all()


@given(labelled(), st.integers(1, 40))
@settings(deadline=None)
def test_the_calibration_error_is_a_share(rows, bins):
    logits, labels = rows
    error = expected_calibration_error(softmax(logits), labels, bins)
    assert 0 <= error <= 1


def test_the_calibration_error_is_the_gap_of_each_bin():
    # Two bins of 0.5: of 0.8 and 0.9 one is right, 0.4 is right.
    probabilities = np.array([[0.8, 0.1, 0.1], [0.9, 0.1, 0], [0.4, 0.3, 0.3]])
    labels = np.array([0, 1, 0])
    expected = 2 / 3 * abs(0.5 - 0.85) + 1 / 3 * abs(1 - 0.4)
    error = expected_calibration_error(probabilities, labels, bins=2)
    assert error == pytest.approx(expected)


def test_certainty_that_is_right_has_no_error():
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0
    assert expected_calibration_error(np.eye(2), np.array([1, 0])) == 1


def test_calibration_makes_the_error_smaller():
    logits, labels = drawn(5000, 2, 3)
    logits *= 3
    half = logits[:2500] / fit_temperature(logits[2500:], labels[2500:])
    before = expected_calibration_error(softmax(logits[:2500]), labels[:2500])
    after = expected_calibration_error(softmax(half), labels[:2500])
    assert after < before / 3


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((2, 3)), np.zeros(3, int)),
        (np.zeros(3), np.zeros(3, int)),
        (np.full((2, 2), np.nan), np.zeros(2, int)),
        (np.array([[0, np.inf]]), np.zeros(1, int)),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels):
    for function in (fit_temperature, expected_calibration_error):
        with pytest.raises(ValueError, match="Received"):
            function(logits, labels)


def test_an_error_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="a row with a label is needed"):
        expected_calibration_error(np.ones((2, 1)), np.array([-1, -1]))
