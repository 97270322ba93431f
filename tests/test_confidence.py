"""The threshold of confidence keeps what it promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_distill.confidence import (
    lower_bound,
    pick,
    risk_coverage,
    rows_needed,
    rows_needed_at,
    thresholds,
)


@pytest.mark.parametrize(
    ("right", "rows", "bound"),
    # All right: the bound is level ** (1 / rows); the others are from tables.
    [(0, 10, 0.0), (10, 10, 0.05**0.1), (149, 149, 0.05 ** (1 / 149))],
)
def test_the_bound_is_that_of_clopper_and_pearson(right, rows, bound):
    assert lower_bound(right, rows) == pytest.approx(bound)


@given(st.integers(1, 400), st.data())
def test_at_its_bound_so_many_right_are_seen_once_in_twenty(rows, data):
    right = data.draw(st.integers(1, rows))
    share = lower_bound(right, rows)
    tail = sum(
        math.exp(
            math.lgamma(rows + 1)
            - math.lgamma(k + 1)
            - math.lgamma(rows - k + 1)
            + k * math.log(share)
            + (rows - k) * math.log1p(-share)
        )
        for k in range(right, rows + 1)
    )
    assert tail == pytest.approx(0.05, abs=1e-6)


@given(st.floats(0.5, 0.99), st.integers(0, 3))
def test_so_many_rows_are_needed_and_no_fewer(target, errors):
    rows = rows_needed(target, errors)
    assert lower_bound(rows - errors, rows) >= target
    if rows > errors + 1:
        assert lower_bound(rows - 1 - errors, rows - 1) < target


def test_no_number_of_rows_is_enough_for_a_share_below_the_target():
    assert rows_needed_at(0.9, 0.9) is None
    rows = rows_needed_at(0.9, 0.95)
    assert lower_bound(math.floor(0.95 * rows), rows) >= 0.9


@given(
    st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]), min_size=1),
    st.floats(0.5, 0.95),
    st.randoms(use_true_random=False),
)
def test_thresholds_do_not_depend_on_the_answers(values, target, random):
    confidences = np.array(values * 20)
    found = thresholds(confidences, target)
    assert all(np.diff(found) < 0)
    assert set(found) <= set(values)
    right = np.array([random.random() < 0.8 for _ in confidences])
    picked = pick(confidences, right, target)
    if picked is not None:
        assert picked.threshold in found
        kept = confidences >= picked.threshold
        assert (picked.kept, picked.right) == (kept.sum(), right[kept].sum())
        assert picked.bound >= target
        assert picked.right / picked.kept >= picked.bound


def test_the_first_failure_ends_the_search():
    # Good at first, bad in the middle, good again: what comes after does not
    # count, although all rows together would pass.
    right = np.ones(2000, bool)
    right[400:430] = False
    confidences = np.linspace(1, 0.5, 2000)
    assert lower_bound(right.sum(), 2000) > 0.97
    picked = pick(confidences, right, 0.97)
    assert picked is not None
    assert picked.kept <= 430


def test_too_few_rows_or_none_good_enough_pick_nothing():
    few = np.linspace(1, 0.5, 20)
    assert pick(few, np.ones(20, bool), 0.98) is None
    many = np.linspace(1, 0.5, 2000)
    assert pick(many, np.arange(2000) % 10 > 0, 0.95) is None
    whole = pick(many, np.ones(2000, bool), 0.95)
    assert (whole.kept, whole.threshold) == (2000, 0.5)


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_a_promise_is_broken_in_one_draw_of_twenty_at_most(target):
    # Students whose answers are right with the chance that they say, minus a
    # little: what a threshold truly keeps is known.
    rng = np.random.default_rng(7)
    draws, rows, broken, picks = 1500, 900, 0, 0
    for _ in range(draws):
        confidences = 0.5 + 0.5 * rng.beta(2, 1, rows)
        chances = confidences - 0.02
        right = rng.random(rows) < chances
        picked = pick(confidences, right, target)
        if picked is None:
            continue
        picks += 1
        # The true share among all texts as confident as that.
        grid = np.linspace(picked.threshold, 1, 2001)
        density = 2 * (grid - 0.5) / 0.25
        truth = np.average(grid - 0.02, weights=density)
        broken += truth < target
    assert picks > 0.1 * draws
    error = math.sqrt(0.05 * 0.95 / draws)
    assert broken / draws <= 0.05 + 3 * error


def test_the_curve_ends_at_all_rows():
    kept, wrong = risk_coverage(
        np.array([0.9, 0.6, 0.8, 0.7]), np.array([True, False, True, True])
    )
    assert kept == [0.25, 0.5, 0.75, 1.0]
    assert wrong == [0.0, 0.0, 0.0, 0.25]
