import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.metrics import paired_gain


def drawn(seed, seeds, rows, share):
    return np.random.default_rng(seed).random((seeds, rows)) < share


def test_copies_of_one_seed_say_what_one_seed_says():
    a, b = drawn(0, 1, 300, 0.8), drawn(1, 1, 300, 0.7)
    one = paired_gain(a, b, seed=5)
    several = paired_gain(np.repeat(a, 3, 0), np.repeat(b, 3, 0), seed=5)
    assert several["points"] == pytest.approx(one["points"])
    assert several["ci_low"] == pytest.approx(one["ci_low"], abs=0.5)
    assert several["ci_high"] == pytest.approx(one["ci_high"], abs=0.5)


def test_it_agrees_with_drawing_rows():
    a, b = drawn(0, 3, 200, 0.8), drawn(1, 2, 200, 0.7)
    rows = np.random.default_rng(2).integers(0, 200, (4000, 200))
    difference = a.mean(axis=0) - b.mean(axis=0)
    points = 100 * difference[rows].mean(axis=1)
    low, high = np.percentile(points, [2.5, 97.5])
    result = paired_gain(a, b, seed=3)
    assert result["points"] == pytest.approx(100 * difference.mean())
    assert result["ci_low"] == pytest.approx(low, abs=0.5)
    assert result["ci_high"] == pytest.approx(high, abs=0.5)


def test_more_seeds_make_the_interval_narrower():
    a, b = drawn(0, 8, 400, 0.8), drawn(1, 8, 400, 0.7)

    def width(seeds):
        result = paired_gain(a[:seeds], b[:seeds], seed=0)
        return result["ci_high"] - result["ci_low"]

    assert width(8) < 0.6 * width(1)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 25),
    st.integers(0, 2**32 - 1),
)
def test_the_interval_holds_the_estimate(seeds_a, seeds_b, rows, seed):
    a, b = drawn(seed, seeds_a, rows, 0.6), drawn(seed + 1, seeds_b, rows, 0.5)
    result = paired_gain(a, b, seed=seed, resamples=500)
    expected = 100 * (a.mean() - b.mean())
    assert result["points"] == pytest.approx(expected, abs=1e-9)
    assert result["ci_low"] <= result["points"] + 1e-9
    assert result["points"] <= result["ci_high"] + 1e-9


@pytest.mark.parametrize("shape", [(2, 4), (0, 5), (5,)])
def test_rows_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"Received: \(2, 5\)"):
        paired_gain(np.ones((2, 5), bool), np.ones(shape, bool), seed=0)
