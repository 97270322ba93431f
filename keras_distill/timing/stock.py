"""The student as a model of stock Keras layers, with the same weights."""

import keras
import numpy as np

from keras_distill.export.student import StudentWeights
from keras_distill.student.layers import PairUnit


def stock_student(weights: StudentWeights) -> keras.Model:
    """Build `Bidirectional(LSTM)` with a student's weights.

    What a student would be if one wrote it with `keras.layers` alone: the
    measure for what the student's own loop and the export gain. The word
    vectors lie in one table, whatever tables they were trained in.

    Args:
        weights: The student's weights.

    Returns:
        A model of `ids_a` (and `ids_b`), int32 [batch, len], padded with 0
        on the right, to logits, float32 [batch, classes].
    """
    units = weights.units
    embedding = keras.layers.Embedding(
        *weights.vectors.shape, mask_zero=True, name="vectors"
    )
    encoder = keras.layers.Bidirectional(
        keras.layers.LSTM(units), name="bilstm"
    )
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in (["ids_a", "ids_b"] if weights.pair else ["ids_a"])
    }
    encoded = [encoder(embedding(ids)) for ids in inputs.values()]
    output = PairUnit()(*encoded) if weights.pair else encoded[0]
    *hidden, (last, _) = weights.dense
    dense = [
        keras.layers.Dense(kernel.shape[1], activation="relu")
        for kernel, _ in hidden
    ]
    dense.append(keras.layers.Dense(last.shape[1], name="logits"))
    for layer in dense:
        output = layer(output)
    model = keras.Model(inputs, output, name="stock")
    embedding.set_weights([weights.vectors])
    encoder.set_weights(
        [
            *(weights.kernel[:, : 4 * units], weights.recurrent_kernel[0]),
            weights.bias[: 4 * units],
            *(weights.kernel[:, 4 * units :], weights.recurrent_kernel[1]),
            weights.bias[4 * units :],
        ]
    )
    for layer, arrays in zip(dense, weights.dense, strict=True):
        layer.set_weights([np.asarray(array) for array in arrays])
    return model
