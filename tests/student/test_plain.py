"""A student in numpy answers as in Keras."""

import numpy as np
import pytest
from tiny_students import VOCABULARY, make_student, random_texts

from keras_distill.config import fitting_kinds
from keras_distill.export.student import student_weights
from keras_distill.student.formulas import ENCODE
from keras_distill.student.kinds import KINDS
from keras_distill.student.plain import PlainStudent
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.weights import read_weights

TEXTS = [
    *random_texts(70),
    *("", " ", "film", "Café NAÏVE Ünder", "好 😀", "[MASK] film [mask]"),
    *("it 's n't bad -lrb- can not -rrb-", "don\u2019t", "good " * 40),
]
FORMS = [
    *({"kind": k, "pair": p} for p in (False, True) for k in fitting_kinds(p)),
    {"lower_case": False},
    *({"mode": mode} for mode in ("static", "non-static", "random")),
    {"dropout": 0.5, "labels": ("a", "b", "c")},
]


def columns(pair):
    return [TEXTS, TEXTS[::-1]][: 1 + pair]


@pytest.fixture(params=FORMS, ids=str)
def both(request, tmp_path):
    folder = make_student(tmp_path / "student", **request.param)
    return PlainStudent.load(folder), StudentPredictor.load(folder), folder


def test_every_kind_answers_as_the_keras_model(both):
    plain, student, folder = both
    assert (plain.labels, plain.pair) == (student.labels, student.pair)
    expected = student.logits(*columns(student.pair))
    rows = []
    found = plain.logits(*columns(student.pair), on_rows=rows.append)
    assert found.dtype == np.float32 and sum(rows) == len(TEXTS)
    limit = 1e-5 * max(1, np.abs(expected).max())
    assert np.abs(found - expected).max() < limit
    # Neighbours and their length change nothing.
    for row in (3, -1):
        one = [[column[row]] for column in columns(student.pair)]
        assert np.abs(plain.logits(*one) - expected[row]).max() < limit

    read, taken = (
        read_weights(folder / "model.keras"),
        student_weights(student.model),
    )
    assert (read.kind, read.pair) == (taken.kind, taken.pair)
    assert list(read.rest) == list(taken.rest)
    for a, b in zip(
        [read.vectors, *read.body], [taken.vectors, *taken.body], strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_every_kind_has_a_formula():
    assert list(ENCODE) == list(KINDS)


@pytest.fixture
def folder(tmp_path):
    return make_student(tmp_path / "student")


def test_no_texts_have_no_logits(folder):
    assert PlainStudent.load(folder).logits([]).shape == (0, 2)


def test_a_character_that_this_python_does_not_know_is_not_for_it(folder):
    student = PlainStudent.load(folder)
    assert all(map(student.reads, TEXTS))
    # Unassigned in every version of Unicode.
    assert not student.reads("a \U000e0080 film")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.txt", "\n".join(VOCABULARY[:-1])),
        ("vocab.txt", "\n".join([*VOCABULARY[:-1], "a"])),
        ("vocab.txt", "\n".join(VOCABULARY[1:])),
        ("labels.txt", "negative\n"),
        ("labels.txt", "negative\n\n"),
        ("text.json", "{}"),
        ("model.keras", "PK"),
        ("model.keras", None),
    ],
)
def test_what_does_not_fit_is_left_to_the_predictor(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    assert PlainStudent.load(folder) is None


def test_layers_that_it_does_not_know_are_left_to_the_predictor(tmp_path):
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save(
        tmp_path / "model.keras"
    )
    with pytest.raises(ValueError, match="is no student"):
        read_weights(tmp_path / "model.keras")
