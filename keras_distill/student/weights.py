"""What a student has learned, as arrays, and how they lie in `model.keras`."""

import io
import itertools
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# The layer that reads words, by kind; the others have a BiLSTM.
_READERS = {"bag": "mean", "cnn": "convolutions"}
# What the formulas call the weights of a layer, in its order.
_NAMED = {
    "attention": ("kernel", "bias", "query"),
    "interaction": ("kernel", "bias"),
}


@dataclass(frozen=True)
class StudentWeights:
    """What a student has learned, float32, u LSTM units.

    Every kind reads a word by one product: `vectors @ kernel + bias`.

    Attributes:
        vectors: [words, width]; several tables stand side by side.
        kernel: [width, columns]; of a BiLSTM [width, 8u]: forward gates i,
            f, g, o, then backward ones.
        bias: [columns].
        dense: (kernel, bias) of the hidden layer and of the output.
        pair: Whether the student takes two texts.
        kind: A row of `kinds.KINDS`.
        recurrent_kernel: [2, u, 4u]: forward, backward; None without a
            BiLSTM.
        rest: What else the kind has, by name.
    """

    vectors: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    dense: tuple[tuple[np.ndarray, np.ndarray], ...]
    pair: bool
    kind: str = "bilstm"
    recurrent_kernel: np.ndarray | None = None
    rest: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Return the LSTM units of one direction, 0 without a BiLSTM."""
        if self.recurrent_kernel is None:
            return 0
        return self.recurrent_kernel.shape[1]

    @property
    def body(self) -> list[np.ndarray]:
        """Return all but the word vectors."""
        arrays = [self.kernel, self.bias, *itertools.chain(*self.dense)]
        if self.recurrent_kernel is not None:
            arrays.append(self.recurrent_kernel)
        return [*arrays, *self.rest.values()]

    @property
    def size(self) -> int:
        """Return how many numbers these are."""
        return self.vectors.size + sum(array.size for array in self.body)


def read_weights(path: Path) -> StudentWeights:
    """Read a student's weights without Keras, as `student.models` names them.

    Args:
        path: A `model.keras`.

    Raises:
        ValueError: It is damaged, or holds other layers than a student has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = json.loads(archive.read("config.json"))["config"]["name"]
            content = archive.read("model.weights.h5")
        with h5py.File(io.BytesIO(content)) as file:
            layers = {
                layer["vars"].attrs["name"]: layer
                for layer in file["layers"].values()
            }
            kind = "bilstm" if name == "siamese" else name
            return _weights(kind, layers)
    # Whatever it is, it is in that file: zip, JSON, HDF5, layers.
    except Exception as error:
        raise ValueError(f"{path} is no student: {error}") from error


def _weights(kind: str, layers: Mapping[str, Any]) -> StudentWeights:
    pair = "ids_b" in layers
    if kind == "linear":
        (words,), (pairs,), (bias,) = (
            _arrays(layers[name]) for name in ("words", "pairs", "logits")
        )
        classes = words.shape[1]
        return StudentWeights(
            words,
            np.eye(classes, dtype=np.float32),
            np.zeros(classes, np.float32),
            dense=(),
            pair=pair,
            kind=kind,
            rest={"bias": bias, "pairs": pairs},
        )
    tables = ("static_vectors", "trainable_vectors")
    recurrent = None
    if kind in _READERS:
        kernel, bias = _arrays(layers[_READERS[kind]])
    else:
        bilstm = layers["bilstm"]
        kernels, recurrents, biases = zip(
            *(
                _arrays(bilstm[f"{way}_layer"]["cell"])
                for way in ("forward", "backward")
            ),
            strict=True,
        )
        kernel, bias = np.concatenate(kernels, axis=1), np.concatenate(biases)
        recurrent = np.stack(recurrents)
    return StudentWeights(
        np.concatenate(
            [_arrays(layers[name])[0] for name in tables if name in layers],
            axis=1,
        ),
        kernel,
        bias,
        dense=tuple(
            tuple(_arrays(layers[name]))
            for name in ("hidden", "logits")
            if name in layers
        ),
        pair=pair,
        kind=kind,
        recurrent_kernel=recurrent,
        rest=dict(zip(_NAMED[kind], _arrays(layers[kind]), strict=True))
        if kind in _NAMED
        else {},
    )


def _arrays(layer: Any) -> list[np.ndarray]:
    """Return the weights that a layer holds itself, in its order."""
    held = layer["vars"]
    return [held[str(place)][()] for place in range(len(held))]
