"""What every form of export is made from: a student's weights."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_distill.files import atomic_path
from keras_distill.student.layers import BiLSTM, PairUnit, WordVectors
from keras_distill.student.predictor import StudentPredictor

# What graphs take: word ids or raw text, of one text or two.
IDS = ("ids_a", "ids_b")
TEXTS = ("text", "text_b")

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


@dataclass(frozen=True)
class Exported:
    """A student to export: the trained one, or a smaller one made from it.

    Attributes:
        weights: What it has learned.
        vocabulary: The words in the order of their ids.
        labels: Class names in logit order.
        lower_case: Whether text is lower-cased and loses its accents.
        max_length: Words of a text that are read; the rest is cut off.
        temperature: Divides the logits before the softmax; logits and
            labels do not change with it.
        spellings: Words with letters beyond ASCII as people write them, the
            most frequent first: for clients that strip no accents.
        window: Most words of a text that a client reads which computes the
            whole window whatever the text's length.
    """

    weights: StudentWeights
    vocabulary: list[str]
    labels: list[str]
    lower_case: bool
    max_length: int
    temperature: float = 1.0
    spellings: list[str] = field(default_factory=list)
    window: int = 128

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be positive. Received: {self.temperature}"
            )
        words, rows = len(self.vocabulary), len(self.weights.vectors)
        if words != rows:
            raise ValueError(
                "every word has one row of vectors. Received: "
                f"{words} words, {rows} rows"
            )

    @property
    def pair(self) -> bool:
        """Return whether the student takes two texts."""
        return self.weights.pair

    def vocabulary_file(self) -> bytes:
        """Return the content of `vocab.txt`."""
        return _lines(self.vocabulary)

    def text_file(self) -> bytes:
        """Return the content of `text.json`: how words become ids."""
        values = {
            "lower_case": self.lower_case,
            "max_length": self.max_length,
            "pair": self.pair,
        }
        return (json.dumps(values, indent=2) + "\n").encode("utf-8")

    def labels_file(self) -> bytes:
        """Return the content of `labels.txt`."""
        return _lines(self.labels)


def load_exported(
    student_dir: Path | str, temperature: float = 1.0
) -> Exported:
    """Load a student's folder for export, as `StudentPredictor.load` does."""
    return exported_from(StudentPredictor.load(student_dir), temperature)


def exported_from(
    student: StudentPredictor, temperature: float = 1.0
) -> Exported:
    """Take what exporters need out of a loaded student."""
    return Exported(
        student_weights(student.model),
        student.tokenizer.vocabulary,
        student.labels,
        student.tokenizer.lower_case,
        student.tokenizer.max_length,
        temperature,
    )


def write_exported(exported: Exported, path: Path) -> None:
    """Write a student to one .npz file, for another process."""
    weights = vars(exported.weights).copy()
    dense = [array for layer in weights.pop("dense") for array in layer]
    values = vars(exported) | {"weights": {"pair": weights.pop("pair")}}
    arrays = {f"dense_{place}": array for place, array in enumerate(dense)}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, values=json.dumps(values), **weights, **arrays)


def read_exported(path: Path) -> Exported:
    """Read what `write_exported` wrote."""
    with np.load(path) as stream:
        arrays = dict(stream)
    values = json.loads(str(arrays.pop("values")))
    names = [name for name in arrays if name.startswith("dense_")]
    dense = [arrays.pop(name) for name in names]
    weights = StudentWeights(
        **arrays,
        **values.pop("weights"),
        dense=tuple(zip(dense[::2], dense[1::2], strict=True)),
    )
    return Exported(weights, **values)


def _lines(items: list[str]) -> bytes:
    return "".join(f"{item}\n" for item in items).encode("utf-8")
