import numpy as np
import pytest
from tiny_students import (
    VOCABULARY,
    make_run,
    make_student,
    random_texts,
    tiny_model,
)

from keras_distill.errors import UserError
from keras_distill.files import write_json, write_text
from keras_distill.metrics import softmax
from keras_distill.run import find_config, find_student
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import StudentTokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def student(folder):
    return StudentPredictor.load(folder)


def pair_student():
    return StudentPredictor(
        tiny_model(pair=True),
        StudentTokenizer(VOCABULARY, True, 20),
        ["no", "yes"],
    )


def test_logits_come_in_the_order_of_the_texts(student):
    texts = random_texts(250)
    together = student.logits(texts, batch_size=2)
    assert together.dtype == np.float32
    # More rows than one window holds, and more than one batch.
    alone = [student.logits([text])[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together) > 0.1


def test_pairs_come_in_the_order_of_the_texts():
    student = pair_student()
    first, second = random_texts(40), random_texts(40, seed=1)
    together = student.logits(first, second, batch_size=3)
    alone = [
        student.logits([a], [b])[0] for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    swapped = student.logits(second, first)
    assert np.abs(swapped - together).max() > 1e-3


def test_the_model_gets_the_ids_of_the_normalised_text(student):
    ids = student.ids(["It 's n't BAD -lrb- x -rrb-"]).to_list()[0]
    words = [VOCABULARY[place] for place in ids]
    assert words[:3] == ["it", "'", "[UNK]"]
    assert words[-3:] == ["(", "x", ")"]
    expected = student.model({"ids_a": np.array([ids], "int32")})
    logits = student.logits(["It 's n't BAD -lrb- x -rrb-"])
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_what_lies_beyond_the_length_limit_does_not_count(student):
    long = "good " * 20
    first = student.logits([long + "film", long + "bad bad"])
    np.testing.assert_array_equal(first[0], first[1])


def test_no_texts_give_no_rows(student):
    assert student.logits([]).shape == (0, 2)


def test_finished_rows_are_reported(student):
    counts = []
    student.logits(random_texts(7), batch_size=3, on_rows=counts.append)
    assert counts == [3, 3, 1]


def test_the_number_of_texts_must_fit_the_student(student):
    with pytest.raises(ValueError, match="takes one text. Received: pairs"):
        student.logits(["a"], ["b"])
    pairs = pair_student()
    with pytest.raises(ValueError, match="takes pairs. Received: one text"):
        pairs.logits(["a"])
    with pytest.raises(ValueError, match="Received: 2 and 1"):
        pairs.logits(["a", "b"], ["c"])


def test_probabilities_are_finite_for_large_logits():
    probabilities = softmax(np.array([[1000.0, 0.0], [0.0, 0.0]], "float32"))
    np.testing.assert_allclose(probabilities, [[1, 0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.keras").unlink(), "model.keras: no such file"),
        (
            lambda f: (f / "model.keras").write_bytes(b"PK half a file"),
            "model.keras is no student",
        ),
        (
            lambda f: write_text(f / "labels.txt", "a\nb\nc\n"),
            "labels.txt names 3 classes, .*model.keras has 2 logits",
        ),
        (
            lambda f: write_text(f / "labels.txt", "a\n\n"),
            "labels.txt has an empty line",
        ),
        (
            lambda f: write_text(
                f / "vocab.txt", "\n".join([*VOCABULARY, "more"])
            ),
            "vocab.txt has 43 words, .*model.keras has vectors for 42",
        ),
        (lambda f: (f / "text.json").unlink(), "cannot read .*text.json"),
        (
            lambda f: write_json(f / "text.json", {"pair": False}),
            "text.json: expected lower_case and max_length",
        ),
    ],
)
def test_a_folder_that_is_no_student_is_refused(spoil, message, tmp_path):
    folder = make_student(tmp_path / "student")
    spoil(folder)
    with pytest.raises(UserError, match=message):
        StudentPredictor.load(folder)


def test_a_run_a_baseline_and_a_further_seed_are_found(tmp_path):
    run = make_run(tmp_path / "run", task="sst2")
    baseline = make_student(run / "baseline")
    seed = make_student(run / "student" / "seed-43")
    assert find_student(run) == run / "student"
    for folder in (baseline, seed):
        assert find_student(folder) == folder
        assert find_config(folder).task == "sst2"


def test_a_folder_without_a_student_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no student"):
        find_student(tmp_path)


def test_a_student_outside_of_a_run_has_no_configuration(tmp_path):
    assert find_config(tmp_path / "some" / "where") is None
