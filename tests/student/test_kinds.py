from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.config import KIND_TEXTS, StudentConfig, fitting_kinds
from keras_distill.errors import UserError
from keras_distill.student import kinds
from keras_distill.student.formulas import NGRAMS, WIDTHS, hashed_pairs
from keras_distill.student.kinds import KINDS
from keras_distill.student.layers import BiLSTM
from keras_distill.student.models import (
    build_student,
    kind_of,
    parameters_without_embeddings,
)

WORDS, DIM, CLASSES = 11, 4, 3
VECTORS = np.random.default_rng(0).normal(size=(WORDS, DIM)).astype("float32")
FITTING = [(k, pair) for pair in (False, True) for k in fitting_kinds(pair)]


def student(kind, pair=False, **changes):
    """A student whose rows differ: a linear one is zeros at the start."""
    keras.utils.set_random_seed(1)
    model = build_student(
        StudentConfig(
            kind=kind,
            lstm_units=3,
            hidden_units=5,
            filters=2,
            embedding_dim=DIM,
            **changes,
        ),
        WORDS,
        CLASSES,
        pair,
        VECTORS,
    )
    rng = np.random.default_rng(2)
    for layer in model.layers:
        layer.set_weights(
            [w + rng.normal(size=w.shape) for w in layer.get_weights()]
        )
    return model


def texts(pair, seed=3, rows=4):
    """Texts of one to seven words, padded."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name in ("ids_a", "ids_b")[: 1 + pair]:
        lengths = rng.integers(1, 8, rows)
        ids = rng.integers(1, WORDS, (rows, lengths.max()))
        ids[np.arange(lengths.max()) >= lengths[:, None]] = 0
        columns[name] = ids.astype("int32")
    return columns


def words(ids):
    return (ids != 0).astype("float32")


def test_every_kind_has_its_texts():
    assert list(KINDS) == list(KIND_TEXTS)


@pytest.mark.parametrize(("kind", "pair"), FITTING)
def test_neither_padding_nor_neighbours_change_the_logits(kind, pair):
    model, rows = student(kind, pair), texts(pair)
    logits = np.array(model(rows))
    assert np.ptp(logits, axis=0).min() > 0.01
    padded = {k: np.pad(v, ((0, 0), (0, 5))) for k, v in rows.items()}
    np.testing.assert_allclose(model(padded), logits, rtol=1e-4, atol=1e-4)
    for row in range(4):
        alone = {}
        for name, ids in rows.items():
            line = ids[row : row + 1]
            alone[name] = line[:, : np.count_nonzero(line)]
        np.testing.assert_allclose(
            model(alone), logits[row : row + 1], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(("kind", "pair"), FITTING)
def test_every_kind_survives_saving_and_is_known_again(kind, pair, tmp_path):
    model = student(kind, pair, dropout=0.1)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert kind_of(again) == kind
    rows = texts(pair)
    np.testing.assert_allclose(again(rows), model(rows), atol=1e-5)


@pytest.mark.parametrize(("kind", "pair"), FITTING)
def test_every_weight_learns(kind, pair):
    model = student(kind, pair, embedding_mode="random")
    rows = texts(pair, rows=16)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(rows) - 1.0))
    for weight, gradient in zip(
        model.trainable_weights,
        tape.gradient(loss, [w.value for w in model.trainable_weights]),
        strict=True,
    ):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path


@pytest.mark.parametrize(
    ("kind", "pair", "fit"),
    [("linear", True, "bag"), ("interaction", False, "attention")],
)
def test_a_kind_that_does_not_take_such_texts_is_refused(kind, pair, fit):
    with pytest.raises(UserError, match=rf"--kind\) is {kind}.*{fit}"):
        student(kind, pair)


def test_the_sizes_outside_the_tables():
    # A projection of the vectors, and the logits.
    width = 2 * DIM
    bag = (width + 1) * 5 + 6 * CLASSES
    assert parameters_without_embeddings(student("bag")) == bag
    filters = 2 * sum(WIDTHS)
    cnn = (width + 1) * filters + (2 * len(WIDTHS) + 1) * CLASSES
    assert parameters_without_embeddings(student("cnn")) == cnn
    assert parameters_without_embeddings(student("linear")) == CLASSES


@given(st.permutations(list(range(5))))
@settings(max_examples=20, deadline=None)
def test_a_bag_does_not_see_the_order(order):
    model = _BAG
    ids = np.array([[3, 9, 4, 4, 7]], "int32")
    np.testing.assert_allclose(
        model({"ids_a": ids[:, order]}), model({"ids_a": ids}), atol=1e-5
    )


_BAG = student("bag")


@pytest.mark.parametrize("kind", ["linear", "cnn", "bilstm", "attention"])
def test_all_others_see_the_order(kind):
    model = student(kind)
    ids = np.array([[3, 9, 4, 7, 7]], "int32")
    other = np.array(model({"ids_a": ids[:, ::-1].copy()}))
    assert np.abs(other - model({"ids_a": ids})).max() > 1e-3


def test_windows_are_those_of_keras_convolutions():
    filters, length = 2, 6
    rng = np.random.default_rng(0)
    layer = kinds.Convolutions(filters)
    ids = np.array([[1, 2, 3, 4, 5, 6], [4, 0, 0, 0, 0, 0]], "int32")
    layer.build((None, DIM))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    kernel, bias = layer.get_weights()
    # Where no bias can be missing there is but one.
    bias[:] = 0
    bias[:filters] = 0.3
    layer.set_weights([kernel, bias])
    vectors = VECTORS * words(np.arange(WORDS))[:, None]
    found = layer(vectors, ids, mask=ids != 0)
    embedded = np.pad(vectors[ids], ((0, 0), (0, 4), (0, 0)))
    start, expected = 0, []
    for width in WIDTHS:
        columns = kernel[:, start * filters : (start + width) * filters]
        shaped = columns.reshape(DIM, width, filters).transpose(1, 0, 2)
        conv = keras.layers.Conv1D(filters, width)
        conv.build((None, None, DIM))
        first = bias[start * filters : (start + 1) * filters]
        conv.set_weights([shaped, first])
        windows = np.maximum(conv(embedded)[:, :length], 0)
        windows *= words(ids)[..., None]
        expected.append(windows.max(axis=1))
        start += width
    np.testing.assert_allclose(
        found, np.concatenate(expected, axis=-1), atol=1e-5
    )


@given(st.lists(st.integers(1, 2**18 - 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_pairs_of_words_are_hashed_within_32_bits(line):
    ids = np.array([line], "int32")
    exact = [(a * 8191 + b) % NGRAMS for a, b in pairwise(line)]
    # In Keras and in numpy.
    for same in (keras.ops.convert_to_tensor(ids), ids):
        assert np.array(hashed_pairs(same))[0, :-1].tolist() == exact


def test_a_linear_student_sums_words_and_pairs():
    model = student("linear")
    of_words, of_pairs = (
        model.get_layer(name).get_weights()[0] for name in ("words", "pairs")
    )
    (bias,) = model.get_layer("logits").get_weights()
    ids = np.array([[3, 9, 3, 0]], "int32")
    pairs = [(3 * 8191 + 9) % NGRAMS, (9 * 8191 + 3) % NGRAMS]
    rows = [*of_words[[3, 9, 3]], *of_pairs[pairs]]
    expected = np.sum(rows, axis=0) / np.sqrt(5) + bias
    np.testing.assert_allclose(
        model({"ids_a": ids})[0], expected, rtol=1e-4, atol=1e-4
    )


def test_attention_is_a_mean_weighted_by_a_softmax_over_the_words():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(1, 4, 6)).astype("float32")
    layer = kinds.AttentionPooling()
    ids = np.array([[5, 6, 7, 0]], "int32")
    layer(states, ids)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    kernel, bias, query = layer.get_weights()
    scores = (np.tanh(states[0, :3] @ kernel + bias) @ query)[:, 0]
    shares = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(
        layer(states, ids)[0], shares @ states[0, :3], atol=1e-5
    )


def test_interaction_compares_each_word_with_what_it_attends_to():
    rng = np.random.default_rng(0)
    first, second = (
        rng.normal(size=(1, n, 6)).astype("float32") for n in (3, 5)
    )
    ids_a = np.array([[5, 6, 0]], "int32")
    ids_b = np.array([[5, 6, 7, 8, 0]], "int32")
    layer = kinds.Interaction(4)
    layer(first, second, ids_a, ids_b)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    kernel, bias = layer.get_weights()
    expected = []
    for mine, theirs in (
        (first[0, :2], second[0, :4]),
        (second[0, :4], first[0, :2]),
    ):
        compared = []
        for word in mine:
            likeness = np.exp(theirs @ word)
            other = likeness / likeness.sum() @ theirs
            parts = [word, other, word - other, word * other]
            compared.append(
                np.maximum(np.concatenate(parts) @ kernel + bias, 0)
            )
        expected += [np.mean(compared, axis=0), np.max(compared, axis=0)]
    np.testing.assert_allclose(
        layer(first, second, ids_a, ids_b)[0],
        np.concatenate(expected),
        rtol=1e-4,
        atol=1e-4,
    )


def test_all_states_and_their_gradients_are_those_of_the_stock_layers():
    ours = BiLSTM(3, sequences=True)
    stock = keras.layers.Bidirectional(
        keras.layers.LSTM(3, return_sequences=True)
    )
    ours.build((None, None, DIM))
    stock.build((None, None, DIM))
    stock.set_weights(ours.get_weights())
    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(2, 6, DIM)).astype("float32"))
    mask = tf.constant([[True] * 6, [True] * 2 + [False] * 4])
    # What stands at padding is nobody's.
    weights = rng.normal(size=(2, 6, 6)) * np.array(mask)[..., None]
    results = []
    for layer in (ours, stock):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            states = layer(inputs, mask=mask)
            loss = tf.reduce_sum(states * weights.astype("float32"))
        variables = [w.value for w in layer.trainable_variables]
        gradients = tape.gradient(loss, [inputs, *variables])
        kept = states * tf.cast(mask, "float32")[..., None]
        results.append([kept, *gradients])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
