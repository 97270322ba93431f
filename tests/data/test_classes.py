import csv
import json
import random
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.data.classes import (
    alike,
    check_column,
    class_name,
    doubts,
    lists_in,
    shown,
    sorted_names,
    without_consensus,
)
from keras_distill.data.tables import read_table
from keras_distill.data.told import Told
from keras_distill.errors import UserError

CHARACTERS = st.characters(exclude_categories=["Cs"])
# Cells as people's files have them, and any other text.
CELLS = st.one_of(
    st.sampled_from(
        ["a", "b ", "A", "\u00a0a", "a\u200b", "-", "-1", "0", "1.0", "+1"]
        + ["01", "True", "true", "", " ", "NA", "caf\u00e9", "cafe\u0301"]
    ),
    st.text(CHARACTERS, max_size=3),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("1.000", "1"),
        (" +1 ", "1"),
        ("-1.0", "-1"),
        ("-0", "0"),
        ("0.0", "0"),
        ("1e+00", "1"),
        ("1.000000000000000000e+01", "10"),
        ("1.50E-01", "0.15"),
        ("\uff11\uff0e\uff10", "1"),
        ("\u22121", "-1"),
        (".5", "0.5"),
        ("+1.5", "1.5"),
        ("123456789012345678901234567890.0", "123456789012345678901234567890"),
        # Names, codes and chapters.
        ("01", "01"),
        ("00", "00"),
        ("1.", "1."),
        ("1.10", "1.10"),
        ("2E5", "2E5"),
        ("1e5", "1e5"),
        ("12:30", "12:30"),
        ("1,0", "1,0"),
        ("\u00b2", "\u00b2"),
        ("NaN", "NaN"),
        ("True", "true"),
        (" FALSE", "false"),
        ("tRuE", "tRuE"),
        ("yes", "yes"),
        ("very\u00a0  good", "very good"),
        ("\ufeffgood\u2060", "good"),
        ("good\u200d ", "good"),
        ("cafe\u0301", "caf\u00e9"),
        # What joins letters and faces inside a word stays.
        (
            "\u0645\u06cc\u200c\u0631\u0648\u062f",
            "\u0645\u06cc\u200c\u0631\u0648\u062f",
        ),
        (" \u200b\u200d", ""),
    ],
)
def test_a_label_names_a_class(written, name):
    assert class_name(written) == name


@given(CELLS)
def test_a_class_names_itself_and_shows_no_white_space_around_it(written):
    name = class_name(written)
    assert class_name(name) == name
    assert name == name.strip()
    assert unicodedata.is_normalized("NFC", name)


@given(st.integers())
def test_every_spelling_of_a_whole_number_is_one_class(number):
    wide = str(number).translate({48 + i: 0xFF10 + i for i in range(10)})
    spellings = [str(number), f"{number}.0", f" {number}.00", f"{number:+}"]
    assert {class_name(s) for s in [*spellings, wide]} == {str(number)}


def test_numbers_are_sorted_by_value_and_names_as_text():
    assert sorted_names(["10", "9", "-1", "1.5"]) == ["-1", "1.5", "9", "10"]
    assert sorted_names(["b", "10", "9"]) == ["10", "9", "b"]
    assert sorted_names(["nan", "2", "10"]) == ["10", "2", "nan"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], {"-"}),
        (["+", "-"], set()),
        (["+", "-", "0"], set()),
        (["0", "1", "2", "-1"], {"-", "-1"}),
        (["0", "1", "2", "3"], {"-", "-1"}),
        (["0", "1", "-1"], {"-"}),
        (["1", "2", "3", "-1"], {"-"}),
        (["0", "1", "3", "-1"], {"-"}),
        (["-2", "-1", "0", "1", "2"], {"-"}),
    ],
)
def test_what_says_that_there_is_no_consensus(names, expected):
    assert without_consensus(names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a|b", "a", "b"], {"|": ["a|b"]}),
        (["a;b", "a;c", "b;c"], {";": ["a;b", "a;c", "b;c"]}),
        (["['a']", "[1, 0]", "[]", "x"], {"[]": ["['a']", "[1, 0]", "[]"]}),
        (["[PAD]", "[spam]", "[top 10]"], {}),
        (["[0 1]", "[1. 0.]", "x"], {"[]": ["[0 1]", "[1. 0.]"]}),
        (["Food, drinks", "Cars, bikes"], {}),
        (["a|", "|b", "a"], {}),
        (["tensor(0, device='x:0')", "tensor(1, device='x:0')"], {}),
    ],
)
def test_lists_are_told_from_names(names, expected):
    assert lists_in(Counter(names)) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Yes", "yes", True),
        ("ham.", "ham", True),
        ("not_spam", "Not spam", True),
        ("\uff21", "a", True),
        ("1.10", "1.1", True),
        ("-1", "1", False),
        ("A-", "A", False),
        ("C++", "C", False),
        ("?", "!", False),
        ("R&amp;D", "r&d", True),
        ("R&D", "RD", False),
        ("AT&T; BT", "AT BT", False),
        ("\u2764\ufe0f", "\u2764", True),
        ("\u2764", "\u263a", False),
        ("true", "1", True),
        ("false", "0", True),
        ("true", "0", False),
    ],
)
def test_what_looks_alike(one, other, same):
    assert (alike(one) == alike(other)) == same


@pytest.mark.parametrize(
    "name",
    [
        *("tensor(0)", "tensor([1])", "tensor(1, device='cuda:0')"),
        *("tf.Tensor(1, shape=(), dtype=int64)", "np.int64(1)", "array(2)"),
        *("<tf.Tensor: shape=(), numpy=1>", "<Kind.A: 1>", "b'ham'", 'b"h"'),
        "numpy.str_('ham')",
    ],
)
def test_objects_that_a_program_printed_are_told(name):
    found = Counter({name: 20, "ham": 20})
    with pytest.raises(UserError, match="line 7, column y.* printed obj"):
        check_column(Path("a.csv"), "y", found, {name: 7, "ham": 2})
    (line,) = doubts(found)
    assert "printed objects" in line


def test_html_s_spelling_in_a_name_is_told():
    found = Counter({"it&#39;s": 20, "Q&amp;A": 3, "AT&T; BT": 20, "R&D": 9})
    (line,) = doubts(found)
    assert "'Q&amp;A' (3 rows), 'it&#39;s' (20 rows); write" in line
    assert "('Q&A')" in line and "AT&T" not in line


@pytest.mark.parametrize(
    "name", ["item(s)", "f(x)", "(a)", "<b>", "<NA>", "bob's", "Array (C)"]
)
def test_names_with_brackets_are_no_printed_objects(name):
    found = Counter({name: 20, "ham": 20})
    check_column(Path("a.csv"), "y", found, {name: 7, "ham": 2})
    assert not any("printed" in line for line in doubts(found))


@pytest.mark.parametrize(
    ("names", "doubted"),
    [
        (["-1", "1"], False),
        (["-2", "-1", "0", "1", "2"], False),
        (["-1", "1", "2", "3"], True),
        (["-1", "good", "bad"], True),
        (["good", "bad"], False),
    ],
)
def test_minus_one_is_doubted_where_it_may_say_nothing(names, doubted):
    lines = doubts(Counter(names * 20))
    assert any("'-1'" in line for line in lines) == doubted


def test_what_is_invisible_is_shown():
    assert shown("a\u200b ") == r"'a\u200b '"
    assert shown("e\u0301") == r"'e\u0301'"
    assert shown("\u00e9") == "'\u00e9'"


def write(path, rows):
    if path.suffix == ".jsonl":
        # In a table a carriage return alone is white space.
        content = [
            {"text": text, "label": label.replace("\r", " ")}
            for text, label in rows
        ]
        path.write_text("\n".join(map(json.dumps, content)), "utf-8")
        return path
    with open(path, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(
            [("text", "label"), *rows]
        )
    return path


def outcome(path):
    """Return what a file comes to: rows, classes, what was told; or why not."""
    told = Told(path)
    try:
        examples, names = read_table(
            path, "text", None, "label", None, told=told
        )
    except UserError as error:
        assert "\n" not in str(error)
        # An error is the same, but for the place that it names.
        return "error"
    rows = sorted((e.text_a, names[e.label]) for e in examples)
    return rows, names, told.rows, told.skipped, told.merged


@settings(deadline=None, max_examples=60)
@given(st.lists(CELLS, min_size=1, max_size=8), st.randoms())
def test_a_column_means_the_same_in_any_order_and_format(
    tmp_path_factory, cells, order
):
    folder = tmp_path_factory.mktemp("column")
    # So many that a few absent cells are no error.
    rows = [*cells, *["left", "right"] * 90]
    rows = [(f"text {i}", label) for i, label in enumerate(rows)]
    found = outcome(write(folder / "a.csv", rows))
    assert outcome(write(folder / "a.jsonl", rows)) == found
    order.shuffle(rows)
    assert outcome(write(folder / "a.csv", rows)) == found


@settings(deadline=None, max_examples=60)
@given(st.lists(CELLS, min_size=1, max_size=8))
def test_rows_are_kept_or_skipped_and_none_is_lost(tmp_path_factory, cells):
    folder = tmp_path_factory.mktemp("column")
    rows = [(f"text {i}", f"class {i % 2}") for i in range(180)]
    rows += [(cell, cell) for cell in cells]
    random.Random(0).shuffle(rows)
    found = outcome(write(folder / "a.csv", rows))
    if found != "error":
        kept, _, count, skipped, _ = found
        assert count == len(rows)
        assert len(kept) + skipped.total() == count


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", "+1"])
def test_json_and_csv_agree_on_one(tmp_path, value):
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": value}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert outcome(path)[1] == ["0", "1"]


def test_json_truth_is_no_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        "\n".join(
            f'{{"text": "a", "label": {value}}}'
            for value in ("true", '"True"', "1", "false", "0")
        )
    )
    assert outcome(path)[1] == ["0", "1", "false", "true"]
