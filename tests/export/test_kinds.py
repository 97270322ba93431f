"""Every kind of student in every form that fits it."""

import numpy as np
import pytest
import tensorflow as tf
from client_tools import python_classifier
from exported_students import answer_here, convert_here
from tiny_students import make_run, random_texts

from keras_distill.config import fitting_kinds
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export import exporter
from keras_distill.export.forms import exported_forms
from keras_distill.export.opened import LiteStudent
from keras_distill.export.saved_model import VARIANTS, SavedStudent
from keras_distill.export.shrink import Score, Shrinker
from keras_distill.export.student import load_exported, student_weights
from keras_distill.student.predictor import StudentPredictor

OTHERS = [
    (kind, pair)
    for pair in (False, True)
    for kind in fitting_kinds(pair)
    if kind != "bilstm"
]
# MediaPipe has a bundle of these.
BUNDLED = {"bag"}


@pytest.fixture(scope="module", params=OTHERS, ids=str)
def made(request, tmp_path_factory):
    kind, pair = request.param
    run = make_run(tmp_path_factory.mktemp("run"), kind=kind, pair=pair)
    with pytest.MonkeyPatch.context() as patch:
        convert_here(patch)
        answer_here(patch)
        facts = exporter.export_student(run / "student", run / "export")
    return kind, pair, run, facts


def asked(pair):
    # As people type them: raw text is not rewritten in TFLite.
    texts = [*map(normalize, random_texts(30)), "", "film", "good " * 40]
    return [texts, texts[::-1]][: 1 + pair]


def test_every_form_answers_as_the_keras_model(made):
    kind, pair, run, facts = made
    student = StudentPredictor.load(run / "student")
    expected = student.logits(*asked(pair))
    spread = np.ptp(expected)
    forms = {form.name: form for form in exported_forms(run / "export")}
    assert set(forms) == set(facts)
    bundles = {name for name, form in forms.items() if form.bundle}
    assert bool(bundles) == (kind in BUNDLED and not pair)
    assert len(forms) - len(bundles) == 5
    for name, form in forms.items():
        if form.bundle:
            continue
        found = form.logits(asked(pair), lambda rows: None)
        exact = name in ("saved_model", "student.tflite", "student_text.tflite")
        limit = 1e-4 if exact else 5e-2
        assert np.abs(found - expected).max() < limit * max(1, spread), name


@pytest.mark.parametrize("file", ["student.tflite", "student_int8.tflite"])
def test_the_client_without_tensorflow_answers_the_same(made, file):
    pytest.importorskip("ai_edge_litert")
    pair, run = made[1:3]
    with python_classifier() as classifier:
        student = classifier(run / "export" / file)

    found = student.probabilities(*asked(pair))

    _, expected = LiteStudent(run / "export" / file).answers(asked(pair))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_all_variants_of_the_saved_model_answer_alike(made):
    pair, run = made[1:3]
    exported = load_exported(run / "student")
    texts = [tf.constant(column) for column in asked(pair)]
    found = {
        variant: SavedStudent(exported, variant).from_texts(*texts)["logits"]
        for variant in VARIANTS
        if variant != "compiled"
    }
    fast, half = found["fast"], found.pop("bfloat16")
    for logits in found.values():
        np.testing.assert_allclose(fast, logits, rtol=1e-4, atol=1e-3)
    largest = max(1, np.abs(fast).max())
    assert np.abs(half - fast).max() < 5e-2 * largest


def test_a_kind_without_a_loop_is_not_compiled_and_nothing_is_made(
    made, tmp_path
):
    kind, _, run, _ = made
    with pytest.raises(UserError, match=f"kind {kind}, expected bilstm"):
        exporter.export_student(
            run / "student",
            tmp_path / "export",
            forms=["student", "saved_model"],
            saved_model="compiled",
        )
    assert not list(tmp_path.iterdir())


def test_a_form_that_does_not_fit_is_refused_by_name(made):
    kind, pair, run, _ = made
    if kind in BUNDLED and not pair:
        pytest.skip("it fits")
    with pytest.raises(UserError, match="student_mediapipe does not fit"):
        exporter.export_student(
            run / "student", run / "export", forms=["student_mediapipe"]
        )


def test_the_weights_are_all_that_the_model_has(made):
    kind, _, run, _ = made
    student = StudentPredictor.load(run / "student")
    weights = student_weights(student.model)
    more = weights.kernel.size + weights.bias.size if kind == "linear" else 0
    assert weights.size - more == student.model.count_params()


def test_a_linear_student_is_not_cut(tmp_path):
    run = make_run(tmp_path, kind="linear")
    exported = load_exported(run / "student")
    shrinker = Shrinker(exported, lambda one: Score(1, 1), Score(1, 1))
    with pytest.raises(UserError, match="linear student cannot be made"):
        shrinker.tried(10_000)
