"""Every form of students that were trained, with every kind of vectors."""

import numpy as np
import pytest
import tensorflow as tf
from exported_students import answer_here, columns, convert_here
from tiny_students import VOCABULARY, random_texts, tiny_model

from keras_distill.config import StudentConfig
from keras_distill.data.normalize import normalize
from keras_distill.export import exporter, saved_model
from keras_distill.export.student import exported_from
from keras_distill.export.verify import FLOAT16, FLOAT32, INT8, Proof
from keras_distill.student.losses import DistillationLoss, pack_targets
from keras_distill.student.optimizers import build_optimizer
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import StudentTokenizer

MODES = ["static", "non-static", "random"]
TOLERANCES = {
    "saved_model": FLOAT32,
    "student.tflite": FLOAT32,
    "student_fp16.tflite": FLOAT16,
    "student_int8.tflite": INT8,
    "student_text.tflite": FLOAT32,
    "student_mediapipe.tflite": FLOAT32,
    "student_mediapipe_int8.tflite": INT8,
}
UPDATES = 6
TEXTS = [
    *("", "film", "😀 Café", "don\u2019t say why", "good bad " * 30),
    # As people type them: not every form rewrites text.
    *map(normalize, random_texts(25)),
]


def trained(mode, pair):
    """Return a student after a few updates."""
    model = tiny_model(pair, mode, classes=3, dropout=0.3)
    before = [weights.numpy() for weights in model.trainable_variables]
    optimizer = build_optimizer(StudentConfig(learning_rate=20.0))
    objective = DistillationLoss()
    names = ["ids_a", "ids_b"][: 1 + pair]
    rng = np.random.default_rng(1)
    for _ in range(UPDATES):
        ids = rng.integers(1, len(VOCABULARY), (2, 8, 7), "int32")
        ids[:, ::2, 4:] = 0
        batch = dict(zip(names, ids, strict=False))
        teacher = 3 * rng.normal(size=(8, 3)).astype("float32")
        with tf.GradientTape() as tape:
            logits = model(batch, training=True)
            targets = pack_targets(np.full(8, -1), teacher)
            loss = objective(targets, logits)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
    for weights, old in zip(model.trainable_variables, before, strict=True):
        assert np.abs(weights.numpy() - old).max() > 1e-2
    tokenizer = StudentTokenizer(VOCABULARY, max_length=20)
    return StudentPredictor(model, tokenizer, ["a", "b", "c"])


@pytest.mark.parametrize("pair", [False, True], ids=["single", "pair"])
@pytest.mark.parametrize(
    "mode",
    [
        *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES),
        # Two tables; the longest way of the weights.
        pytest.param("multichannel", marks=pytest.mark.whole),
    ],
)
def test_every_form_of_a_trained_student_has_the_logits_of_keras(
    mode, pair, monkeypatch, tmp_path
):
    convert_here(monkeypatch)
    answer_here(monkeypatch)
    student = trained(mode, pair)
    exported = exported_from(student, temperature=1.37)
    texts = columns(student, TEXTS)
    proof = Proof(texts, student.logits(*texts))
    assert len(proof.as_typed(student.tokenizer).logits) == len(TEXTS)
    assert np.ptp(proof.logits, axis=0).min() > 1

    facts = {
        "saved_model": saved_model.export_saved_model(
            exported, tmp_path / "saved_model", proof
        )
    }
    # Each file is opened again and asked about the proof's texts.
    forms = exporter._wanted(None, exported)
    facts |= exporter.export_lite(forms[1:], exported, tmp_path, proof)

    left_out = 2 if pair else 0
    assert list(facts) == list(TOLERANCES)[: len(TOLERANCES) - left_out]
    largest = np.abs(proof.logits).max()
    for name, values in facts.items():
        difference = values["max_abs_logit_difference"]
        assert difference <= TOLERANCES[name] * max(1, largest), name
