"""A student for programs: load, predict, logits."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_runs import ROOT, run_here
from tiny_students import make_run, random_texts

import keras_distill
from keras_distill import answers
from keras_distill.errors import UserError
from keras_distill.files import write_json
from keras_distill.student.predictor import StudentPredictor


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("single"), task="sst2")
    write_json(run / "export" / "calibration.json", {"temperature": 2.5})
    return run


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    labels = ("neutral", "contradiction", "entailment")
    folder = tmp_path_factory.mktemp("pairs")
    return make_run(folder, task="mnli", pair=True, labels=labels)


def commanded(run, *arguments):
    result = run_here("-m", "keras_distill.predict", run, *arguments)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_same(found, expected):
    for answer, one in zip(found, expected, strict=True):
        assert answer.label == one["label"]
        # In the same order. Batches of another size round otherwise.
        assert list(answer.probabilities) == list(one["probabilities"])
        assert answer.probabilities == pytest.approx(
            one["probabilities"], abs=2e-6
        )


def test_the_answers_are_those_of_the_command(single):
    texts = [*random_texts(60, seed=4), "", "好 😀", "can't"]
    student = keras_distill.load(single)
    assert student.labels == ["negative", "positive"]
    assert (student.pair, student.temperature) == (False, 2.5)
    expected = commanded(single, "--", *texts)
    assert_same(student.predict(texts), expected)
    # The temperature is not lost on the way.
    plain = keras_distill.load(single / "student").predict(texts)
    assert plain != student.predict(texts)


def test_pairs_are_two_lists(pairs):
    first, second = random_texts(9, seed=1), random_texts(9, seed=2)
    student = keras_distill.load(str(pairs))
    assert student.pair
    found = student.predict(first, second)
    expected = commanded(pairs, *first, "--text-b", *second)
    assert_same(found, expected)
    assert found != student.predict(second, first)


def test_logits_are_the_student_s_own(single):
    texts = random_texts(5)
    found = keras_distill.load(single).logits(texts)
    expected = StudentPredictor.load(single / "student").logits(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_numpy_is_not_for_is_answered_by_keras(single, monkeypatch):
    texts = ["good", "\U000e0080 film"]
    whole = StudentPredictor.load(single / "student")
    student = keras_distill.load(single)
    monkeypatch.setattr(answers, "_MANY", 8)
    for asked in (texts, ["good"] * 8):
        np.testing.assert_array_equal(
            student.logits(asked), whole.logits(asked)
        )
    assert "_whole" not in vars(keras_distill.load(single))


def test_anything_that_yields_texts_will_do(single):
    student = keras_distill.load(single)
    texts = ["good", "bad"]
    expected = student.predict(texts)
    assert student.predict(tuple(texts)) == expected
    assert student.predict(text for text in texts) == expected
    assert student.predict(np.array(texts)) == expected
    assert student.predict([]) == []
    assert student.logits([]).shape == (0, 2)


@pytest.mark.parametrize(
    "asked, error, message",
    [
        (("good",), TypeError, r"a single text, expected a list: \['good'\]"),
        ((b"good",), TypeError, "a single text, expected a list"),
        ((["good", 3],), TypeError, "text 2 is of type int, expected a string"),
        ((["good", None],), TypeError, "text 2 is of type NoneType, expected"),
        (
            ([("a", "b")],),
            TypeError,
            "text 1 is of type tuple.*pairs are two lists",
        ),
        ((["\ud83d"],), ValueError, "text 1 is not valid UTF-8"),
        ((["a"], ["b"]), ValueError, "takes one text. Received: pairs"),
    ],
)
def test_what_are_no_texts_is_one_sentence(single, asked, error, message):
    student = keras_distill.load(single)
    with pytest.raises(error, match=message) as raised:
        student.predict(*asked)
    assert "\n" not in str(raised.value)
    with pytest.raises(error, match=message):
        student.logits(*asked)


@pytest.mark.parametrize(
    "asked, error, message",
    [
        ((["a"],), ValueError, "takes pairs. Received: one text"),
        ((["a"], ["b", "c"]), ValueError, "Received: 1 and 2"),
        ((["a"], "b"), TypeError, "a single second text, expected a list"),
        ((["a"], [None]), TypeError, "second text 1 is of type NoneType"),
    ],
)
def test_what_are_no_pairs_is_one_sentence(pairs, asked, error, message):
    with pytest.raises(error, match=message):
        keras_distill.load(pairs).predict(*asked)


def test_a_folder_without_a_student_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no student"):
        keras_distill.load(tmp_path)


ALONE = """
import sys

sys.modules["transformers"] = sys.modules["tf_keras"] = None
from keras_distill import *

assert not {"tensorflow", "keras", "numpy"} & sys.modules.keys()
student = load(sys.argv[1])
print(student.predict(["good"])[0].label, student)
assert not {"tensorflow", "keras"} & sys.modules.keys()
"""


def test_it_needs_no_transformers_and_no_tensorflow_for_a_few_texts(single):
    result = subprocess.run(
        [sys.executable, "-c", ALONE, single],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    (label,) = commanded(single, "good")
    student = "<Student of texts: negative, positive>"
    assert result.stdout == f"{label['label']} {student}\n"
