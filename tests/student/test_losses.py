import math

import keras
import numpy as np
import pytest

from keras_distill.student.losses import (
    DistillationLoss,
    LossTerms,
    pack_targets,
)

# Softmax of [0, log 3] is [1/4, 3/4], of [log 4, 0] it is [4/5, 1/5].
STUDENT = np.array([[0.0, math.log(3)], [math.log(4), 0.0]], "float32")
TEACHER = np.array([[1.0, math.log(3)], [math.log(4), -2.0]], "float32")
CROSS_ENTROPY = math.log(4 / 3)


def value(loss, labels, teacher=TEACHER, student=STUDENT):
    return float(loss(pack_targets(np.array(labels), teacher), student))


def test_alpha_zero_is_the_mean_over_rows_of_the_squared_distance():
    # Row distances 1 and 4: summed over classes, mean over rows.
    assert value(DistillationLoss(), [1, 0]) == pytest.approx(2.5)


def test_alpha_one_is_the_cross_entropy():
    loss = DistillationLoss(alpha=1.0)
    expected = (-math.log(3 / 4) - math.log(1 / 5)) / 2
    assert value(loss, [1, 1]) == pytest.approx(expected, rel=1e-6)


def test_the_two_terms_are_weighed_by_alpha():
    loss = DistillationLoss(alpha=0.3)
    gold = (math.log(4 / 3) + math.log(5 / 4)) / 2
    expected = 0.3 * gold + 0.7 * 2.5
    assert value(loss, [1, 0]) == pytest.approx(expected, rel=1e-6)


def test_a_row_without_a_label_has_no_cross_entropy_term():
    loss = DistillationLoss(alpha=0.3)
    expected = (0.3 * math.log(4 / 3) + 0.7 * 1 + 0.7 * 4) / 2
    assert value(loss, [1, -1]) == pytest.approx(expected, rel=1e-6)


def test_the_cross_entropy_is_weighed_by_the_gold_label_s_class():
    weighted = DistillationLoss(alpha=0.3, class_weights=[5.0, 2.0])
    expected = 0.3 * (2 * math.log(4 / 3) + 5 * math.log(5 / 4)) / 2
    # The distance to the teacher is not.
    expected += 0.7 * 2.5
    assert value(weighted, [1, 0]) == pytest.approx(expected, rel=1e-6)
    expected = (0.3 * 2 * math.log(4 / 3) + 0.7 * 1 + 0.7 * 4) / 2
    assert value(weighted, [1, -1]) == pytest.approx(expected, rel=1e-6)


def test_weights_of_one_are_none():
    plain = value(DistillationLoss(alpha=0.3), [1, 0])
    ones = DistillationLoss(alpha=0.3, class_weights=[1.0, 1.0])
    assert value(ones, [1, 0]) == plain


def test_kl_is_the_students_from_the_teachers():
    teacher = np.log([[0.75, 0.25]]).astype("float32")
    student = np.log([[0.5, 0.5]]).astype("float32")
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    loss = DistillationLoss(loss="kl")
    assert value(loss, [-1], teacher, student) == pytest.approx(
        expected, rel=1e-5
    )


def test_kl_is_scaled_by_the_squared_temperature():
    teacher = 2 * np.log([[0.75, 0.25]]).astype("float32")
    student = 2 * np.log([[0.5, 0.5]]).astype("float32")
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    loss = DistillationLoss(loss="kl", temperature=2.0)
    assert value(loss, [-1], teacher, student) == pytest.approx(
        expected, rel=1e-5
    )


def test_kl_at_a_temperature_equals_keras_distillation():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 5, 3)).astype("float32")
    stock = keras.distillation.LogitsDistillation(
        temperature=3.0, loss=keras.losses.KLDivergence()
    )
    assert value(
        DistillationLoss(loss="kl", temperature=3.0),
        [-1] * 5,
        teacher,
        student,
    ) == pytest.approx(float(stock.compute_loss(teacher, student)), rel=1e-4)


@pytest.mark.parametrize("kind", [lambda loss: loss, LossTerms])
def test_losses_and_their_terms_are_rebuilt_from_their_config(kind):
    config = {"alpha": 0.2, "loss": "kl", "temperature": 4.0}
    written = keras.saving.serialize_keras_object(
        kind(DistillationLoss(**config))
    )
    again = keras.saving.deserialize_keras_object(written)
    assert keras.saving.serialize_keras_object(again) == written
    loss = again if isinstance(again, DistillationLoss) else again.loss
    assert config.items() <= loss.get_config().items()


def test_terms_are_means_over_batches_of_any_size():
    loss = DistillationLoss(alpha=0.3)
    terms = LossTerms(loss)
    for labels, rows in (([1], slice(0, 1)), ([-1], slice(1, 2))):
        terms.update_state(
            pack_targets(np.array(labels), TEACHER[rows]), STUDENT[rows]
        )
    found = {name: float(x) for name, x in terms.result().items()}
    assert found == pytest.approx(
        {
            "loss": value(loss, [1, -1]),
            "ce": math.log(4 / 3),
            "distillation": 2.5,
        },
        rel=1e-6,
    )
    assert terms.result()["loss"].dtype == "float64"
