"""The table of docs/data.md: what rows may mean, and what happens then."""

import csv
import itertools
import re
from pathlib import Path

import pytest

from keras_distill.config import Config, DataConfig
from keras_distill.data.splits import write_data
from keras_distill.errors import UserError
from keras_distill.files import read_json

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
SECTION = "## What rows mean"
TWO = ["ham"] * 30 + ["spam"] * 30
NUMBERS = ["0"] * 20 + ["1"] * 20 + ["2"] * 20


def table():
    """Return kind, examples and what happens of each row of the table."""
    _, _, page = PAGE.read_text("utf-8").partition(SECTION)
    lines = page.partition("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("| ")][1:]
    # A bar inside a cell has a backslash before it.
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
    return [tuple(cell.strip() for cell in row) for row in cells]


def examples_in(cell):
    """Return what stands in a cell as code, its escapes undone."""
    found = re.findall(r"`([^`]+)`", cell.replace(r"\|", "|"))
    return [
        re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), text)
        for text in found
    ]


# By kind: the labels of a training file, or its rows, and settings; then what
# is expected: classes, rows skipped, rows merged, or a part of what is said.
CASES = {
    "blanks around a name": {
        "labels": [*TWO, " spam", "spam\u00a0"],
        "classes": ["ham", "spam"],
        "merged": {"spam": 2},
    },
    "marks that no one sees": {
        "labels": [*TWO, "spam\u200b", "s\u00adpam"],
        "classes": ["ham", "spam"],
        "merged": {"spam": 2},
    },
    "one letter in two Unicode forms": {
        "labels": ["th\u00e9"] * 30 + ["the\u0301"] * 30 + ["caf"] * 30,
        "classes": ["caf", "th\u00e9"],
        "merged": {"th\u00e9": 30},
    },
    "whole numbers": {
        "labels": [*NUMBERS, "1.0", "+1", "1.00", "\uff11", "-0", "0.0"],
        "classes": ["0", "1", "2"],
        "merged": {"1": 4, "0": 2},
    },
    "truth": {
        "labels": ["true", "True", "TRUE", "false"] * 20,
        "classes": ["false", "true"],
        "merged": {"true": 40},
    },
    "truth beside numbers": {
        "labels": ["true", "1", "0"] * 20,
        "classes": ["0", "1", "true"],
        "says": "look alike stay apart: '1' (20 rows), 'true' (20 rows)",
    },
    "codes and chapters": {
        "labels": ["01", "1", "1.1", "1.10"] * 20,
        "classes": ["01", "1", "1.1", "1.10"],
        "merged": {},
    },
    "no text": {
        "rows": [("  ", "ham"), ("", "spam"), *enumerate(TWO)],
        "classes": ["ham", "spam"],
        "skipped": {"no text": 2},
    },
    "no label": {
        "labels": [*TWO, "", " "],
        "classes": ["ham", "spam"],
        "skipped": {"no label": 2},
    },
    "neither in more than 5% of the rows": {
        "labels": [*TWO, "", "", "", ""],
        "says": "line 62: no label, as in 4 of 64 rows",
    },
    "no consensus": {
        "labels": ["yes", "no", "maybe"] * 20 + ["-"],
        "classes": ["maybe", "no", "yes"],
        "skipped": {"no consensus": 1},
    },
    "a minus beside a plus": {
        "labels": ["-", "+"] * 30,
        "classes": ["+", "-"],
        "merged": {},
    },
    "-1 beside 0, 1, 2, ...": {
        "labels": [*NUMBERS, "-1"],
        "classes": ["0", "1", "2"],
        "skipped": {"no consensus": 1},
    },
    "-1 beside 0 and 1": {
        "labels": [*NUMBERS[:40], "-1", "-1"],
        "says": "line 42, column label: found '-1', which beside 0 and 1 is a "
        "class or says that there is none; expected one of: --drop-labels "
        "-1 (skips its 2 rows), --labels=-1,0,1",
    },
    "-1 beside words": {
        "labels": [*TWO, *["-1"] * 5],
        "classes": ["-1", "ham", "spam"],
        "says": "as if there were none: '-1' (5 rows); --drop-labels -1",
    },
    "the header again": {
        "rows": [*enumerate(TWO), ("text", "label")],
        "classes": ["ham", "spam"],
        "skipped": {"repeated header": 1},
    },
    "classes you drop": {
        "labels": [*TWO, *["other"] * 9],
        "settings": {"drop_labels": ["other"]},
        "classes": ["ham", "spam"],
        "skipped": {"dropped other": 9},
    },
    "a header of another case": {
        "rows": [*enumerate(TWO), ("TEXT", "Label ")],
        "classes": ["ham", "spam"],
        "skipped": {"repeated header": 1},
    },
    "neither, in the last rows": {
        "rows": [*enumerate(TWO), *[("", " ")] * 50],
        "classes": ["ham", "spam"],
        "skipped": {"empty at the end": 50},
    },
    "a label outside the classes": {
        "labels": [*TWO, "egg"],
        "settings": {"labels": ["ham", "spam"]},
        "says": "line 62, column label: found 'egg', expected one of: ham, "
        "spam; --drop-labels egg skips its rows, training with "
        "--labels=ham,spam,egg makes it a class",
    },
    "case": {
        "labels": [*TWO, *["Spam"] * 5, *["SPAM"] * 5],
        "classes": ["SPAM", "Spam", "ham", "spam"],
        "says": "stay apart: 'SPAM' (5 rows), 'Spam' (5 rows), 'spam' (30",
    },
    "a mark at the end, blanks inside": {
        "labels": [*TWO, *["ham."] * 5, *["no_ham", "no ham"] * 5],
        "classes": ["ham", "ham.", "no ham", "no_ham", "spam"],
        "says": "stay apart: 'ham' (30 rows), 'ham.' (5 rows)",
    },
    "names of nothing": {
        "labels": [*TWO, *["NA", "nan", "None", "N/A", "#REF!"] * 5],
        "classes": ["#REF!", "N/A", "NA", "None", "ham", "nan", "spam"],
        "says": "--drop-labels '#REF!' N/A NA None nan skips them",
    },
    "a class of fewer rows than splits": {
        "labels": [*TWO, "egg"],
        "classes": ["egg", "ham", "spam"],
        "says": "fewer training rows than there are splits (3), which some "
        "splits lack: 'egg' (1 row)",
    },
    "scores": {
        "labels": [f"0.{i:02}" for i in range(13, 53)] * 2,
        "says": "found '0.13', one of 40 different numbers in 80 rows, which "
        "look like scores",
    },
    "many whole numbers": {
        "labels": [str(i) for i in range(40)] * 2,
        "classes": [str(i) for i in range(40)],
        "says": "40 classes in 80 rows are numbers: if they are scores",
    },
    "lists": {
        "labels": ["a|b", "a|c", "b|c", "a"] * 20,
        "says": "found 'a|b', one of 60 lists of labels in 80 rows (joined "
        "by '|')",
    },
    "lists in brackets": {
        "labels": ["['a', 'b']", '["a","b"]', "[0 1]", "[1 0]"] * 10,
        "says": "one of 40 lists of labels in 40 rows",
    },
    "a tuple of Python's": {
        "labels": ["('a',)", "('a', 'b')"] * 20,
        "says": "found \"('a',)\", one of 40 lists of labels in 40 rows",
    },
    "printed objects": {
        "labels": ["tensor(0)", "tensor(1)"] * 20 + ["b'ham'"],
        "says": "found 'tensor(0)', one of 41 printed objects in 41 rows",
    },
    "a few printed objects": {
        "labels": [*TWO, "np.int64(1)", "<Kind.HAM: 1>"],
        "classes": ["<Kind.HAM: 1>", "ham", "np.int64(1)", "spam"],
        "says": "classes that are printed objects: '<Kind.HAM: 1>' (1 row), "
        "'np.int64(1)' (1 row); --drop-labels",
    },
    "HTML in a name": {
        "labels": [*TWO, *["R&amp;D"] * 5],
        "classes": ["R&amp;D", "ham", "spam"],
        "says": "classes with HTML's spelling of characters: 'R&amp;D' (5 "
        "rows); write the characters themselves ('R&D')",
    },
    "each label in quotes": {
        "labels": ["'ham'", "\u201cspam\u201d"] * 20,
        "says": "found \"'ham'\", and every other label stands in quotes too",
    },
    "a few lists": {
        "labels": [*TWO, "ham, spam"],
        "classes": ["ham", "ham, spam", "spam"],
        "says": "look like lists (joined by ','): 'ham, spam' (1 row)",
    },
    "names with commas": {
        "labels": ["Food, drinks", "Cars, bikes"] * 20,
        "classes": ["Cars, bikes", "Food, drinks"],
        "merged": {},
    },
    "a label for each row": {
        "labels": [f"tt{i:07}" for i in range(40)],
        "says": "found 'tt0000000', one of 40 different labels in 40 rows, "
        "as ids or texts are",
    },
    "labels that are the texts": {
        "rows": [(word, word) for word in "a b".split() * 20],
        "says": "column label: every label is the text of its row",
    },
    "over 1,000 classes": {
        "labels": [f"c{i}" for i in range(1001)] * 2,
        "says": "one of more than 1,000 different labels",
    },
    "one text with two labels": {
        "rows": [*enumerate(TWO), ("0", "spam"), ("1", "spam")],
        "classes": ["ham", "spam"],
        "says": "2 texts have two labels (4 rows)",
    },
    "a row again": {
        "rows": [*enumerate(TWO), ("0", "ham"), ("0", "ham")],
        "classes": ["ham", "spam"],
        "duplicates": 2,
    },
    "ids that name no rows": {
        "rows": [(i, label, "P0") for i, label in enumerate(TWO)],
        "classes": ["ham", "spam"],
        "note": "names no rows ('P0' on line 3 was already used on line 2)",
    },
}


def run(folder, case):
    path = folder / "train.csv"
    rows = case.get("rows") or list(enumerate(case["labels"]))
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "id"][: len(rows[0])])
        writer.writerows(rows)
    data = DataConfig(train_file=str(path), **case.get("settings", {}))
    write_data(Config("custom", data=data), folder / "data")
    return read_json(folder / "data" / "manifest.json")


def test_the_table_is_the_one_that_is_pinned_here():
    assert [kind for kind, _, _ in table()] == list(CASES)


@pytest.mark.parametrize(("kind", "examples", "happens"), table())
def test_what_happens_is_what_the_page_says(kind, examples, happens, tmp_path):
    case = CASES[kind]
    verb = re.match(r"\*\*(\w+)\*\*", happens)[1]
    cells = itertools.chain(
        case.get("labels", ()),
        (str(cell) for row in case.get("rows", ()) for cell in row),
        *case.get("settings", {}).values(),
    )
    assert set(examples_in(examples)) <= set(cells)
    if verb == "stop":
        with pytest.raises(UserError, match=re.escape(case["says"])):
            run(tmp_path, case)
        assert not (tmp_path / "data").exists()
        return
    found = run(tmp_path, case)
    (file,) = found["files"]["train"]
    assert found["labels"] == case["classes"]
    assert file["skipped"] == case.get("skipped", {})
    kept = sum(n for one in found["classes"] for n in one["rows"].values())
    assert kept + sum(file["skipped"].values()) == file["rows"]
    merged = {name: 0 for _, name, _ in found["merged"]}
    for _, name, count in found["merged"]:
        merged[name] += count
    warned = [line for line in found["warnings"] if "held out" not in line]
    assert all(line.startswith("warning: ") for line in warned)
    if verb == "skip":
        assert case["skipped"]
        assert warned == []
    elif verb == "merge":
        assert merged == case["merged"] != {}
        assert warned == []
    elif verb == "warn":
        assert any(case["says"] in line for line in warned)
        assert merged == {}
    elif verb == "keep":
        assert merged == case["merged"] == {}
    elif verb == "count":
        assert found["duplicates"] == case["duplicates"]
    else:
        assert verb == "number"
        assert any(case["note"] in line for line in file["notes"])
