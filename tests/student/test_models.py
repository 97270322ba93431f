import keras
import numpy as np
import pytest

from keras_distill.config import StudentConfig
from keras_distill.errors import UserError
from keras_distill.student.models import (
    build_student,
    parameters_without_embeddings,
)

WORDS, DIM = 11, 4
TINY = StudentConfig(lstm_units=3, hidden_units=5, embedding_dim=DIM)
MODES = ["static", "non-static", "multichannel", "random"]
VECTORS = np.random.default_rng(0).normal(size=(WORDS, DIM))
VECTORS = VECTORS.astype("float32")


def settings(**changes):
    return StudentConfig(
        **{
            "lstm_units": 3,
            "hidden_units": 5,
            "embedding_dim": DIM,
            **changes,
        }
    )


def ids(seed=0, rows=4, words=6):
    value = np.random.default_rng(seed).integers(1, WORDS, (rows, words))
    value[1, 2:] = 0
    return value.astype("int32")


def inputs(pair):
    return (
        {"ids_a": ids(), "ids_b": ids(1, words=3)} if pair else {"ids_a": ids()}
    )


def test_the_papers_student_has_096_million_parameters():
    model = build_student(
        StudentConfig(), 7, 2, False, np.zeros((7, 300), "float32")
    )
    # BiLSTM over 600 numbers, 300 to 200, 200 to 2.
    expected = 2 * 4 * 150 * (600 + 150 + 1) + 301 * 200 + 201 * 2
    assert parameters_without_embeddings(model) == expected
    assert round(expected / 1e6, 2) == 0.96


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_every_student_survives_saving(mode, pair, tmp_path):
    model = build_student(
        settings(embedding_mode=mode, dropout=0.1), WORDS, 3, pair, VECTORS
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    logits = model(inputs(pair))
    assert logits.shape == (4, 3)
    np.testing.assert_allclose(again(inputs(pair)), logits, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "frozen", "trainable"),
    [
        ("static", 1, 0),
        ("non-static", 0, 1),
        ("multichannel", 1, 1),
        ("random", 0, 1),
    ],
)
def test_a_mode_decides_which_tables_there_are(mode, frozen, trainable):
    model = build_student(
        settings(embedding_mode=mode), WORDS, 2, False, VECTORS
    )
    tables = [w for w in model.weights if w.shape == (WORDS, DIM)]
    assert sum(not table.trainable for table in tables) == frozen
    assert sum(table.trainable for table in tables) == trainable
    for table in tables:
        same = np.array_equal(table.numpy(), VECTORS)
        assert same == (mode != "random")


def test_without_vectors_there_is_one_trainable_table():
    model = build_student(TINY, WORDS, 2, False)
    names = [w.path for w in model.weights if w.shape == (WORDS, DIM)]
    assert names == ["trainable_vectors/embeddings"]


def test_padding_does_not_change_the_logits():
    model = build_student(TINY, WORDS, 2, False, VECTORS)
    padded = np.pad(ids(), ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        model({"ids_a": padded}), model({"ids_a": ids()}), atol=1e-6
    )


def test_rows_of_a_batch_do_not_touch_each_other():
    model = build_student(TINY, WORDS, 2, True, VECTORS)
    together = model(inputs(pair=True))
    for row in range(4):
        alone = {k: v[row : row + 1] for k, v in inputs(pair=True).items()}
        np.testing.assert_allclose(
            model(alone), together[row : row + 1], atol=1e-6
        )


def test_both_texts_of_a_pair_share_one_encoder():
    model = build_student(TINY, WORDS, 2, True, VECTORS)
    encodings = keras.Model(model.input, model.get_layer("pair_unit").output)
    joined = np.array(encodings({"ids_a": ids(), "ids_b": ids()}))
    size = joined.shape[1] // 4
    np.testing.assert_allclose(joined[:, :size], joined[:, size : 2 * size])
    np.testing.assert_array_equal(joined[:, 3 * size :], 0)


def test_dropout_acts_in_training_only():
    model = build_student(settings(dropout=0.9), WORDS, 2, False, VECTORS)
    calm = [np.array(model(inputs(False), training=False)) for _ in "ab"]
    np.testing.assert_array_equal(*calm)
    wild = np.array(model(inputs(False), training=True))
    assert not np.allclose(wild, calm[0])


def test_equal_seeds_give_equal_weights():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        weights.append(build_student(TINY, WORDS, 2, False).get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_vectors_of_another_shape_are_refused():
    with pytest.raises(UserError, match=r"\(11, 4\), expected \(12, 4\)"):
        build_student(TINY, 12, 2, False, VECTORS)
