import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_distill.student.layers import BiLSTM, PairUnit, WordVectors

UNITS, WIDTH = 5, 7


def lengths_to_mask(lengths):
    return np.arange(max(lengths)) < np.array(lengths)[:, None]


def pair_of_layers(width=WIDTH, units=UNITS):
    """The stock layer and ours with its weights."""
    stock = keras.layers.Bidirectional(keras.layers.LSTM(units))
    ours = BiLSTM(units)
    stock.build((None, None, width))
    ours.build((None, None, width))
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(scale=0.5, size=weight.shape).astype("float32")
        for weight in stock.get_weights()
    ]
    stock.set_weights(weights)
    ours.set_weights(weights)
    return stock, ours


def output_and_gradients(layer, inputs, mask, graph):
    weight = tf.constant(
        np.random.default_rng(1).normal(size=(len(inputs), 2 * UNITS)),
        tf.float32,
    )

    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = layer(inputs, mask=mask)
            loss = tf.reduce_sum(output * weight)
        return output, tape.gradient(
            loss, [inputs, *(v.value for v in layer.trainable_variables)]
        )

    if graph:
        run = tf.function(
            run, input_signature=[tf.TensorSpec((None, None, WIDTH))]
        )
    output, gradients = run(tf.constant(inputs))
    return [output.numpy(), *(gradient.numpy() for gradient in gradients)]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "mask",
    [
        None,
        lengths_to_mask([6, 1, 3, 5]),
        np.array([[0, 1, 1, 0, 1, 0]] * 4, bool),
    ],
    ids=["no mask", "right padding", "holes"],
)
def test_outputs_and_gradients_equal_the_stock_layer(mask, graph):
    stock, ours = pair_of_layers()
    inputs = np.random.default_rng(2).normal(size=(4, 6, WIDTH))
    inputs = inputs.astype("float32")
    expected = output_and_gradients(stock, inputs, mask, graph)
    found = output_and_gradients(ours, inputs, mask, graph)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_weights_are_named_and_started_as_in_the_stock_layer():
    stock, ours = pair_of_layers()
    fresh = BiLSTM(UNITS)
    fresh.build((None, None, WIDTH))
    assert [w.name for w in ours.weights] == [w.name for w in stock.weights]
    assert [w.shape for w in ours.weights] == [w.shape for w in stock.weights]
    # Zeros, and ones for the forget gate.
    expected = np.repeat([0, 1, 0, 0], UNITS)
    for index in (2, 5):
        np.testing.assert_array_equal(fresh.get_weights()[index], expected)


def test_words_and_positions_are_the_same_as_the_sequence():
    _, ours = pair_of_layers()
    words = np.random.default_rng(3).normal(size=(4, WIDTH)).astype("float32")
    positions = np.array([[0, 2, 2, 1], [3, 0, 0, 0]])
    mask = lengths_to_mask([4, 2])
    np.testing.assert_allclose(
        ours(words, positions, mask=mask),
        ours(words[positions], mask=mask),
        atol=1e-6,
    )


def test_padding_changes_nothing():
    _, ours = pair_of_layers()
    inputs = np.random.default_rng(4).normal(size=(2, 3, WIDTH))
    padded = np.concatenate([inputs, np.full((2, 4, WIDTH), 9.0)], axis=1)
    np.testing.assert_allclose(
        ours(padded, mask=lengths_to_mask([3, 3, 7])[:2]),
        ours(inputs),
        atol=1e-6,
    )


def test_bilstm_has_no_mask_to_pass_on():
    embedding = keras.layers.Embedding(9, WIDTH, mask_zero=True)
    output = BiLSTM(UNITS)(embedding(np.array([[1, 2, 0]])))
    assert getattr(output, "_keras_mask", None) is None


def test_bilstm_is_rebuilt_from_its_config():
    again = BiLSTM.from_config(BiLSTM(UNITS, name="b").get_config())
    assert (again.units, again.name) == (UNITS, "b")


def test_a_bilstm_without_units_is_refused():
    with pytest.raises(ValueError, match="Received: 0"):
        BiLSTM(0)


def test_word_vectors_equal_the_stock_embedding():
    table = WordVectors(6, 3)
    ids = np.array([[1, 5, 1], [0, 2, 2]])
    np.testing.assert_array_equal(
        table(ids), keras.ops.take(table.embeddings, ids, axis=0)
    )


def test_word_vectors_have_a_sparse_gradient():
    table = WordVectors(6, 3)
    table.build(None)
    with tf.GradientTape() as tape:
        loss = ops.sum(table(np.array([1, 5, 1])))
    gradient = tape.gradient(loss, table.trainable_variables[0].value)
    assert isinstance(gradient, tf.IndexedSlices)
    expected = np.zeros((6, 3))
    expected[1], expected[5] = 2, 1
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)


def test_pair_unit_joins_as_in_the_paper():
    output = PairUnit()(np.array([[1.0, -2.0]]), np.array([[3.0, 4.0]]))
    np.testing.assert_array_equal(output, [[1, -2, 3, 4, 3, -8, 2, 6]])
