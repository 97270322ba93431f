"""A student's weights as plain arrays, which every export is built from."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_distill.student.layers import BiLSTM, PairUnit, WordVectors

# Dropout is for training; the pair unit has nothing to learn.
_WITHOUT_WEIGHTS = (keras.layers.InputLayer, keras.layers.Dropout, PairUnit)


@dataclass(frozen=True)
class StudentWeights:
    """What a student has learned, float32, u LSTM units.

    Attributes:
        vectors: [words, width]; several tables stand side by side.
        kernel: [width, 8u]: forward gates i, f, g, o, then backward ones.
        recurrent_kernel: [2, u, 4u]: forward, backward.
        bias: [8u], in the order of the kernel.
        dense: (kernel, bias) of the hidden layer and of the output.
        pair: Whether the student takes two texts.
    """

    vectors: np.ndarray
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    dense: tuple[tuple[np.ndarray, np.ndarray], ...]
    pair: bool

    @property
    def units(self) -> int:
        """Return the LSTM units of one direction."""
        return self.recurrent_kernel.shape[1]

    @property
    def size(self) -> int:
        """Return how many numbers these are."""
        arrays = [self.vectors, self.kernel, self.recurrent_kernel, self.bias]
        for layer in self.dense:
            arrays += layer
        return sum(array.size for array in arrays)


def student_weights(model: keras.Model) -> StudentWeights:
    """Take the weights out of a student.

    Args:
        model: A student as `student.models.build_student` makes it.

    Raises:
        ValueError: The model holds a layer that a student does not have.
    """
    kinds = {WordVectors: [], BiLSTM: [], keras.layers.Dense: []}
    for layer in model.layers:
        if type(layer) in kinds:
            kinds[type(layer)].append(layer)
        elif not isinstance(layer, _WITHOUT_WEIGHTS):
            raise ValueError(
                "expected a student's layers: WordVectors, BiLSTM, PairUnit, "
                f"Dropout, Dense. Received: {layer!r}"
            )
    tables, encoders, dense = kinds.values()
    if len(encoders) != 1:
        raise ValueError(
            f"a student has one BiLSTM. Received: {len(encoders)} of them"
        )
    # Kernel, recurrent kernel, bias of each direction.
    weights = encoders[0].get_weights()
    kernels, recurrent, biases = zip(weights[:3], weights[3:], strict=True)
    return StudentWeights(
        vectors=np.concatenate(
            [table.get_weights()[0] for table in tables], axis=1
        ),
        kernel=np.concatenate(kernels, axis=1),
        recurrent_kernel=np.stack(recurrent),
        bias=np.concatenate(biases),
        dense=tuple(tuple(layer.get_weights()) for layer in dense),
        pair=len(model.inputs) == 2,
    )
