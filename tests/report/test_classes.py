"""What a report says of each class, and of those that are lost."""

import json

import numpy as np
import pytest
from report_runs import sample_results, write_run

from keras_distill.config import ClassesConfig, config_from_dict
from keras_distill.files import read_json, write_json
from keras_distill.report.card import model_card
from keras_distill.report.classes import (
    class_rows,
    classes_block,
    lost_classes,
    per_class,
)
from keras_distill.report.results import collect_results
from keras_distill.report.table import results_table
from keras_distill.transfer_set.record import Rows

LABELS = ["bad", "good", "rare"]


def logits(answers):
    return np.eye(len(LABELS), dtype="float32")[answers]


def rows_of(labels, teacher):
    texts = [["a text"] * len(labels)]
    return Rows(texts, np.array(labels, np.int32), logits(teacher))


def found(labels, teacher, student, train=(500, 400, 5)):
    """What there is to tell of a run with one split."""
    counts = [
        {"name": name, "rows": {"train": rows}}
        for name, rows in zip(LABELS, train, strict=True)
    ]
    return per_class(
        {"labels": LABELS, "classes": counts},
        {"test": rows_of(labels, teacher)},
        {"baseline": None, "student": {"test": logits(student)}},
    )


def lost(labels, teacher, student, **settings):
    classes = found(labels, teacher, student)
    return lost_classes(classes, "test", ClassesConfig(**settings))


def test_every_class_has_its_scores_by_model():
    classes = found([0, 1, 2, -1], [0, 1, 2, 2], [0, 0, 1, 2])
    assert classes["train"]["rare"] == {"rows": 5}
    assert classes["test"]["good"] == {
        "rows": 1,
        "teacher": {"precision": 1, "recall": 1, "f1": 1, "answers": 1},
        "baseline": None,
        "student": {"precision": 0, "recall": 0, "f1": 0, "answers": 1},
    }
    # The last row has no label: no answer to it counts.
    assert classes["test"]["rare"]["student"]["answers"] == 0
    # A split without any label has nothing to tell.
    assert "test" not in found([-1], [0], [0])


def test_a_class_that_is_never_answered_is_named_with_the_ways_on():
    assert lost([0, 1, 2], [0, 1, 2], [0, 1, 1]) == {
        "rare": "class rare (5 rows in train, 1 in test): the student never "
        "answers it; --class-weights balanced and --balance may help"
    }
    said = lost([0, 1, 2], [0, 1, 0], [0, 1, 1], weights=["balanced"])
    assert said["rare"].endswith(
        "never answers it, nor does its teacher; --balance may help"
    )
    said = lost([0, 1, 2], [0, 1, 2], [0, 1, 1], weights=["a=2"], balance=True)
    assert said["rare"].endswith("; more rows of it may help")


@pytest.mark.parametrize(
    "labels, teacher, student, told",
    [
        # Answered, and never where it would be right.
        ([0, 1, 2], [0, 1, 2], [0, 2, 1], {"good", "rare"}),
        # A row of three less than the teacher is no sign of anything.
        ([0, 1, 2, 2, 2], [0, 1, 2, 2, 2], [0, 1, 2, 2, 1], set()),
        # No row of it: it is answered, and nobody knows how well.
        ([0, 1, 1], [0, 1, 1], [0, 1, 2], {"rare"}),
        ([0, 1, 2], [0, 1, 2], [0, 1, 2], set()),
    ],
)
def test_only_classes_that_are_lost_are_named(labels, teacher, student, told):
    assert lost(labels, teacher, student).keys() == told


def test_a_class_far_below_the_teacher_s_is_named():
    labels = [0, 1, *[2] * 10]
    said = lost(labels, labels, [0, 1, *[2] * 6, *[1] * 4])
    assert "finds 60.0% of its rows, the teacher 100.0%" in said["rare"]
    assert lost(labels, labels, [0, 1, *[2] * 9, 1]) == {}
    # The teacher is no better.
    weak = [0, 1, *[2] * 6, *[1] * 4]
    assert lost(labels, weak, weak) == {}


def results_of(labels, teacher, student, train=(500, 400, 5), **changes):
    classes = found(labels, teacher, student, train)
    gain = sample_results()["gain"] | {"split": "test"}
    values = sample_results(
        labels=LABELS,
        per_class=classes,
        lost_classes=lost_classes(classes, "test", ClassesConfig()),
        gain=gain,
        **changes,
    )
    values["splits"]["test"] = {"rows": len(labels), "chosen_on": False}
    for name in ("teacher", "student", "baseline"):
        values[name]["test"] = values[name]["dev"]
    values["baseline"] = None
    # As it comes from results.json.
    return json.loads(json.dumps(values))


def test_the_terminal_shows_the_classes_and_points_at_the_lost_one():
    results = results_of([0, 1, 2], [0, 1, 2], [0, 1, 1])
    assert classes_block(results) == (
        "The distilled student by class:\n\n"
        "test, %  rows  precision  recall     F1  teacher's\n"
        "bad         1      100.0   100.0  100.0      100.0\n"
        "good        1       50.0   100.0   66.7      100.0\n"
        "rare        1          -     0.0    0.0      100.0\n"
        "! class rare (5 rows in train, 1 in test): the student never answers "
        "it;\n--class-weights balanced and --balance may help."
    )
    assert classes_block(results) in results_table(results)


def test_the_card_shows_the_classes_and_points_at_the_lost_one():
    results = results_of([0, 1, 2], [0, 1, 2], [0, 1, 1])
    classes = {"weights": ["balanced"], "balance": True}
    config = config_from_dict(
        {"task": "sst2", "classes": {**classes, "select_metric": "macro_f1"}}
    )
    card = model_card(results, config)
    assert "| `rare` | 5 | 1 | 100.0 | 100.0 | 100.0 | - | 0.0 | 0.0 |" in card
    assert "**Lost:** class rare (5 rows in train, 1 in test)" in card
    assert "| weights of gold labels | `balanced` |" in card
    assert "| rows | every class drawn equally often |" in card
    assert "| rate and epochs chosen by | macro f1 |" in card


def test_two_classes_are_shown_where_one_is_rare():
    results = sample_results()
    assert classes_block(results) is None
    config = config_from_dict({"task": "sst2"})
    assert "## By class" not in model_card(results, config)
    scores = {"precision": 0.9, "recall": 0.9, "f1": 0.9, "answers": 9}
    models = dict.fromkeys(("teacher", "student", "baseline"), scores)
    results["per_class"] = {
        split: {name: {"rows": 9, **models} for name in results["labels"]}
        for split in ("train", "dev")
    }
    assert classes_block(results) is None
    # A fifth of an equal share would be 1.1.
    results["per_class"]["train"]["negative"] = {"rows": 10}
    results["per_class"]["train"]["positive"] = {"rows": 1}
    assert "positive" in classes_block(results)


def test_of_many_classes_those_that_are_worst_are_shown():
    facts = {
        f"class {place}": {"student": {"f1": score}}
        for place, score in enumerate([0.5, None, 0.0, 0.9, 0.2])
    }
    results = {"per_class": {"dev": facts}, "gain": {"split": "dev"}}
    assert [name for name, _ in class_rows(results, 5)] == list(facts)
    worst = [name for name, _ in class_rows(results, 3)]
    assert worst == ["class 2", "class 4", "class 0"]


def test_hundreds_of_lost_classes_do_not_fill_the_terminal():
    results = results_of([0, 1, 2], [0, 1, 2], [0, 1, 2])
    results["lost_classes"] = {str(n): f"class {n} is lost" for n in range(99)}
    lines = classes_block(results).splitlines()
    assert lines[-2:] == ["! class 4 is lost.", "! and 94 classes more."]


def test_a_run_s_results_have_every_class(tmp_path):
    config = write_run(tmp_path)
    path = tmp_path / "data" / "manifest.json"
    counts = {"negative": 9, "positive": 5}
    classes = [
        {"name": name, "rows": {"train": rows}} for name, rows in counts.items()
    ]
    write_json(path, read_json(path) | {"classes": classes})
    results, _ = collect_results(tmp_path, config, {})
    found = results["per_class"]
    assert {n: f["rows"] for n, f in found["train"].items()} == counts
    assert found["dev"].keys() == counts.keys()
    for model in ("teacher", "baseline", "student"):
        hits = sum(
            f[model]["recall"] * f["rows"] for f in found["dev"].values()
        )
        assert hits / 30 == pytest.approx(results[model]["dev"]["accuracy"])
    assert isinstance(results["lost_classes"], dict)


def test_a_teacher_without_answers_has_no_scores_by_class():
    results = results_of([0, 1, 2], [0, 1, 2], [0, 1, 1])
    for facts in results["per_class"]["test"].values():
        facts["teacher"] = None
    results["teacher"]["test"] = None
    assert "rare        1          -     0.0    0.0          -" in (
        classes_block(results)
    )
    lines = model_card(results, config_from_dict({})).splitlines()
    (row,) = [x for x in lines if x.startswith("| `rare`")]
    assert row.split("|")[4:7] == [" - "] * 3
