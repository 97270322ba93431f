"""A checkpoint's class names beside the task's, and its answers beside gold."""

import json
import logging
import shlex

import numpy as np
import pytest
import tiny_runs

from keras_distill.config import override
from keras_distill.errors import UserError
from keras_distill.teacher.classes import (
    Matched,
    check_told,
    classes_flag,
    compare_with_gold,
    match_classes,
)
from keras_distill.teacher.folder import class_names

LABELS = ["negative", "positive"]


@pytest.mark.parametrize(
    "names, labels, columns, by",
    [
        (LABELS, LABELS, [0, 1], "name"),
        ("cab", ["a", "b", "c"], [1, 2, 0], "name"),
        (["POSITIVE", "NEGATIVE"], LABELS, [1, 0], "name"),
        (["a", "A"], ["A", "a"], [1, 0], "name"),
        (["0", "1"], ["1", "0"], [1, 0], "name"),
        # Names that say nothing: the task's order.
        (["LABEL_0", "LABEL_1"], LABELS, [0, 1], "place"),
        (["0", "1"], LABELS, [0, 1], "place"),
    ],
)
def test_class_names_tell_the_order_of_the_logits(names, labels, columns, by):
    found = match_classes("t", names, labels)
    assert (found.columns, found.by) == (columns, by)


TWO_LISTS = (
    "teacher t has the 2 classes ['NEGATIVE', 'POSITIVE'], the task has the 2 "
    "classes ['0', '1']"
)


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_number_of_classes_is_refused_with_both_lists():
    assert refusal(match_classes, "t", LABELS, ["1", "2", "3"]) == (
        "teacher t has the 2 classes ['negative', 'positive'], the task has "
        "the 3 classes ['1', '2', '3']"
    )


def test_other_names_are_refused_with_the_flag_to_copy():
    names = ["NEGATIVE", "POSITIVE"]
    assert refusal(match_classes, "t", names, ["0", "1"]) == (
        f"{TWO_LISTS}; if they are the same ones, say which is which: "
        "--teacher-classes NEGATIVE=0,POSITIVE=1"
    )


def test_the_page_shows_the_refusal_as_it_is():
    page = (tiny_runs.ROOT / "docs" / "teachers.md").read_text("utf-8")
    names = ["NEGATIVE", "POSITIVE"]
    message = refusal(match_classes, "sentiment", names, ["0", "1"])
    assert f"error: {message} ```" in " ".join(page.split())


@pytest.mark.parametrize(
    "told, columns",
    [
        (["NEGATIVE=0", "POSITIVE=1"], [0, 1]),
        (["NEGATIVE=1", "POSITIVE=0"], [1, 0]),
        (["positive=0", "negative=1"], [1, 0]),
        # Of another checkpoint.
        (["LABEL_0=1", "NEGATIVE=1", "LABEL_1=0", "POSITIVE=0"], [1, 0]),
    ],
)
def test_what_is_told_is_taken(told, columns):
    found = match_classes("t", ["NEGATIVE", "POSITIVE"], ["0", "1"], told)
    assert (found.columns, found.by) == (columns, "flag")


def test_what_is_told_goes_before_names():
    told = ["0=1", "1=0"]
    assert match_classes("t", ["0", "1"], ["0", "1"], told).columns == [1, 0]
    # And what is told of another checkpoint leaves them alone.
    told = ["NO=1", "YES=0"]
    found = match_classes("t", ["0", "1"], ["0", "1"], told)
    assert (found.columns, found.by) == ([0, 1], "name")


def test_two_without_names_are_told_apart_by_their_settings():
    nameless = ["LABEL_0", "LABEL_1"]
    told = ["LABEL_0=positive", "LABEL_1=negative"]
    # All that is told of one is told of the other.
    assert match_classes("one", nameless, LABELS, told).columns == [1, 0]
    assert match_classes("two", nameless, LABELS, told).columns == [1, 0]
    facts = {"id2label": dict(enumerate(LABELS))}
    named = class_names(json.loads(json.dumps(facts)))
    assert match_classes("two", named, LABELS, told).columns == [0, 1]


def test_a_name_may_hold_the_sign_itself():
    told = ["a=b=c=d", "a=b=c"]
    names, labels = ["a=b", "a"], ["c=d", "b=c"]
    assert match_classes("t", names, labels, told).columns == [0, 1]


@pytest.mark.parametrize(
    "told, wrong",
    [
        (["NEGATIVE=O", "POSITIVE=1"], "NEGATIVE=O ends in no class of the"),
        (["NEGATIVE=0"], "--teacher-classes NEGATIVE=0 has no POSITIVE"),
        (["NEGATIVE=0", "NEGATIVE=1"], "has NEGATIVE twice"),
        (["NEGATIVE=0", "POSITIVE=0"], "has 0 twice"),
    ],
)
def test_what_is_told_wrong_is_refused_with_both_lists(told, wrong):
    names = ["NEGATIVE", "POSITIVE"]
    message = refusal(match_classes, "t", names, ["0", "1"], told)
    assert wrong in message and message.endswith(TWO_LISTS)


def test_what_is_told_of_no_checkpoint_is_refused():
    told = ["NEGATIVE=0", "POSITVE=1", "LABEL_0=0"]
    its = [["NEGATIVE", "POSITIVE"], ["LABEL_0", "LABEL_1"]]
    assert refusal(check_told, told, its) == (
        "--teacher-classes: POSITVE=1 renames no class of a "
        "--teacher-checkpoint, expected ITS=OURS with one of ['NEGATIVE', "
        "'POSITIVE'] and ['LABEL_0', 'LABEL_1']"
    )
    check_told(["negative=0", "LABEL_1=1"], its)


def test_the_flag_is_ready_to_copy():
    assert classes_flag(["a b"], ["c"]) == "--teacher-classes 'a b=c'"
    flag = classes_flag(["one, two", "it's"], ["1", "2"])
    first, assignment = shlex.split(flag)
    values = {}
    override(values, assignment)
    assert first == "--set"
    assert values == {"teacher": {"classes": ["one, two=1", "it's=2"]}}
    assert json.loads(assignment.partition("=")[2])


def answered(right, rows, classes=2):
    """Gold labels in turns, and logits of which so many are right."""
    gold = np.arange(rows) % classes
    answers = np.where(np.arange(rows) < right, gold, (gold + 1) % classes)
    return np.eye(classes, dtype=np.float32)[answers], gold.tolist()


NAMELESS = Matched(["LABEL_0", "LABEL_1"], [0, 1], "place")


def compared(matched, right, rows, caplog):
    caplog.set_level(logging.INFO)
    logging.getLogger("keras_distill").propagate = True
    caplog.clear()
    logits, gold = answered(right, rows)
    compare_with_gold("t", matched, logits, gold, LABELS)
    return caplog.messages


def test_nameless_classes_in_another_order_stop_the_run(caplog):
    message = refusal(compared, NAMELESS, 2, 20, caplog)
    assert message == (
        "teacher t has classes without names, ['LABEL_0', 'LABEL_1'], which "
        "were taken to be ['negative', 'positive']: of the 20 rows of the "
        "selection split 10.0% are answered right, and 90.0% if the classes "
        "came in another order (p < 0.01): --teacher-classes "
        "LABEL_0=positive,LABEL_1=negative. To have them as they were taken: "
        "--teacher-classes LABEL_0=negative,LABEL_1=positive"
    )
    told = ["LABEL_0=positive", "LABEL_1=negative"]
    assert match_classes("t", NAMELESS.names, LABELS, told).columns == [1, 0]


def test_an_order_that_fits_is_taken_without_a_word(caplog):
    assert compared(NAMELESS, 18, 20, caplog) == []


def test_too_few_rows_to_tell_an_order_are_a_line(caplog):
    (line,) = compared(NAMELESS, 6, 6, caplog)
    assert line == (
        "teacher t has classes without names; 6 rows of the selection split "
        "are too few to tell whether their order is the task's"
    )
    assert compared(NAMELESS, 7, 7, caplog) == []
    refusal(compared, NAMELESS, 0, 7, caplog)


def test_an_order_that_was_told_is_only_doubted(caplog):
    told = Matched(["NO", "YES"], [1, 0], "flag")
    first, second = compared(told, 2, 20, caplog)
    assert first.startswith("warning: --teacher-classes may be wrong for")
    assert first.endswith("--teacher-classes NO=negative,YES=positive")
    assert second.startswith("warning: teacher t answers 10.0% of the 20 rows")


def test_a_teacher_with_names_that_guesses_is_a_warning(caplog):
    named = Matched(LABELS, [0, 1], "name")
    (line,) = compared(named, 10, 20, caplog)
    assert line == (
        "warning: teacher t answers 50.0% of the 20 rows of the selection "
        "split right, no better than one class for all (50.0%): is it "
        "fine-tuned on this task?"
    )
    assert compared(named, 20, 20, caplog) == []
    # Of the wrong task, and by its names not to be turned round.
    assert len(compared(named, 2, 20, caplog)) == 1
