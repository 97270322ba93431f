"""One screen that says what was understood, warnings last."""

import copy

import pytest

from keras_distill.config import config_from_dict
from keras_distill.summary import shown

FACTS = {
    "lengths": {"p50": 9, "p95": 21, "p99": 30, "max": 1041},
    "pieces": {"p50": 12, "p95": 28, "p99": 40, "max": 1300},
    "letters": 4.2,
    "cut": {"student": 0.0012, "teacher": 0.0031},
    "wordless": 0,
    "teacher_unknown": 0.001,
    "vectors": {"file": "glove.bin", "words": 9, "tokens": 0.9, "types": 0.44},
    "vocabulary": 9000,
    "unknown": 0.0461,
}
PLAIN = {
    "labels": ["bad", "good"],
    "pair": False,
    "splits": {"train": 1200, "select": 60, "dev": 90},
    "unlabeled": 3000,
    "selected_on": "heldout",
}
FULL = PLAIN | {
    "files": {
        "train": [
            {
                "path": "/some/where/reviews.csv",
                "format": "csv",
                "separator": ";",
                "quotes": "doubled quotes",
                "encoding": "windows-1252",
                "rows": 1290,
                "skipped": {"no text": 5, "no label": 2},
                "notes": ["the column id names no rows"],
            }
        ],
        "dev": [{"path": "dev.tsv", "rows": 90, "separator": "\t"}],
        "unlabeled": [
            {"path": f"more{i}.txt", "rows": 10 * i, "skipped": {"no text": 1}}
            for i in range(9)
        ],
    },
    "classes": [
        {
            "name": f"class {i}",
            "rows": {"train": 100 * i, "dev": i},
            "sample": "a sample text that is as long as samples may be " * 2,
        }
        for i in range(12)
    ],
    "merged": [["Good ", "good", 3]],
    "duplicates": 12,
    "conflicts": {"texts": 3, "rows": 7},
    "warnings": ["warning: the class 'x' has 2 rows"],
}


def lines_of(manifest=PLAIN, facts=None, warnings=(), **config):
    facts = copy.deepcopy(FACTS) | (facts or {})
    config = config_from_dict({"task": "custom", **config})
    text = shown(config, manifest, facts, "about 1.0 GB needed", warnings)
    return text.splitlines()


def test_what_the_data_stage_tells_is_on_one_screen():
    lines = lines_of(FULL)
    assert len(lines) <= 35
    assert max(map(len, lines)) <= 80
    assert lines == [line.rstrip() for line in lines]
    text = "\n".join(lines)
    for part in (
        "1,200 train, 60 select (held out), 90 dev, 3,000 unlabelled",
        "reviews.csv  1,290  csv, ';', doubled quotes, windows-1252",
        "dev.tsv         90  tab",
        "and 5 more",
        "14 rows: no text, 2 rows: no label",
        "class 7    700    7  a sample text",
        "reviews.csv: the column id names no rows",
        "and 4 more",
        "read 'Good ' as good (3)",
        "12 rows repeat another; 3 texts (7 rows) have several labels",
        "for 90.0% of the training words (44.0% of the different ones), glove",
        "about 4.6% of the tokens to choose on",
        "teacher 0.3% (at 128), student 0.1% (at 128)",
        "about 1.0 GB needed",
    ):
        assert part in text, part
    assert lines[-1] == "! the class 'x' has 2 rows"


def test_what_is_not_known_is_left_out():
    lines = lines_of(facts={"vectors": None})
    names = [line[:9].strip() for line in lines if line[:1].strip()]
    assert names == [
        *("What was", "rows", "classes", "length", "cut off"),
        *("unknown", "disk"),
    ]
    assert "classes  bad, good" in lines


def test_what_there_is_one_of_is_told_of_one():
    file = {"path": "a.csv", "rows": 9, "skipped": {"no text": 1}}
    conflicts = {"texts": 1, "rows": 2}
    manifest = {"files": {"train": [file]}, "conflicts": conflicts}
    lines = lines_of(PLAIN | manifest | {"duplicates": 1}, {"wordless": 1})
    assert "skipped  1 row: no text" in lines
    line = "1 row repeats another; 1 text (2 rows) has several labels"
    assert f"text     {line}" in lines
    assert lines[-1] == "! 1 text has no word at all"


def test_columns_agree_whatever_the_script():
    classes = [
        {"name": name, "rows": {"train": 5, "dev": 12}, "sample": "文" * 40}
        for name in ("悪い", "良い映画", "bad")
    ]
    lines = lines_of(PLAIN | {"classes": classes})
    first = next(i for i, s in enumerate(lines) if s.startswith("classes"))
    assert lines[first + 1 : first + 4] == [
        f"         {'悪い'}          5   12  {'文' * 23}...",
        f"         {'良い映画'}      5   12  {'文' * 23}...",
        f"         {'bad'}           5   12  {'文' * 23}...",
    ]


def told(**facts):
    lines = lines_of(facts=facts)
    where = [i for i, line in enumerate(lines) if line.startswith("! ")]
    assert max(map(len, lines)) <= 80
    return " ".join(" ".join(lines[where[0] :]).split()) if where else ""


def test_good_data_has_no_warning():
    assert told() == ""


@pytest.mark.parametrize(
    "facts, parts",
    [
        (
            {"unknown": 0.612},
            [
                "about 61.2% of the tokens to choose on will be unknown",
                "--recipe best, a teacher whose word pieces",
                "--teacher bert-base-multilingual-uncased",
                "spaces between the words",
            ],
        ),
        (
            {"letters": 33.4},
            ["words have 33 letters on average", "put some between its words"],
        ),
        (
            {"teacher_unknown": 0.97},
            ["the teacher reads 97.0% of the words as [UNK]"],
        ),
        (
            {"vectors": FACTS["vectors"] | {"tokens": 0.31}},
            [
                "glove.bin has a vector for 31.0% of the words",
                "expected 60% or more: is it of another language",
            ],
        ),
        (
            {"cut": {"teacher": 0.08, "student": 0.01}},
            ["8.0% of the texts are longer", "--set teacher.max_length=256"],
        ),
        ({"wordless": 3}, ["3 texts have no word at all"]),
    ],
)
def test_what_may_waste_hours_is_a_warning_with_the_way_on(facts, parts):
    text = told(**facts)
    for part in parts:
        assert part in text
    assert text.count("! ") == 1


def test_a_recipe_with_pieces_is_not_named_as_the_way_out():
    lines = lines_of(facts={"unknown": 0.9}, student={"word_pieces": True})
    text = " ".join(" ".join(lines).split())
    assert "unknown to the student" in text and "--recipe best" not in text


def test_many_warnings_are_cut_to_a_screen():
    warnings = [f"number {i}" for i in range(20)]
    lines = lines_of(warnings=warnings)
    assert lines[-2:] == ["! number 5", "! and 14 more above"]
