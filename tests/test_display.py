import sys

import pytest

from keras_distill.display import (
    NO_BREAK,
    aligned,
    can_draw,
    count,
    markdown_table,
    new_figure,
    size,
    widen,
    wrapped,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (960_602, "0.96M"),
        (99_999, "99,999"),
        (22_713_986, "22.7M"),
        (None, "-"),
    ],
)
def test_numbers_of_parameters_are_short(value, shown):
    assert count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(6_912_345, "6.9 MB"), (438_000_000, "438 MB"), (2_500_000_000, "2.5 GB")],
)
def test_sizes_are_short(value, shown):
    assert size(value) == shown


def test_the_first_column_stands_to_the_left_and_remarks_take_their_room():
    rows = [
        ["", "n", "accuracy"],
        ["mine", "10", "0.5"],
        ["other", "missing: not installed here"],
    ]
    assert aligned(rows).splitlines() == [
        "        n  accuracy",
        "mine   10       0.5",
        "other  missing: not installed here",
    ]
    assert aligned(rows, 8).splitlines()[1] == "mine      10       0.5"


def test_a_markdown_table_cannot_be_broken_by_its_cells():
    assert markdown_table(["a", "b"], [["x|y", "1"]]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        r"| x\|y | 1 |",
    ]
    rule = markdown_table(["a", "b", "c"], [], numbers=True).splitlines()[1]
    assert rule == "| --- | --: | --: |"


def test_numbers_stay_with_their_units():
    text = wrapped(f"aaaa{NO_BREAK}1 bbbb{NO_BREAK}2", 8)
    assert text == "aaaa 1\nbbbb 2"


def test_without_matplotlib_nothing_can_be_drawn(monkeypatch, caplog):
    assert can_draw()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    caplog.set_level("INFO")
    assert not can_draw()
    assert "matplotlib is not installed" in caplog.text


def test_an_axis_spans_what_it_should_at_least():
    axes = new_figure(2, 2).add_subplot()
    axes.set_ylim(4, 5)
    widen(axes, 3)
    assert axes.get_ylim() == (3, 6)
    widen(axes, 1)
    assert axes.get_ylim() == (3, 6)
