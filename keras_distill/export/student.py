"""What every form of export is made from: a student's weights."""

import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_distill.export.display_names import shown
from keras_distill.student.kinds import (
    KINDS,
    AttentionPooling,
    Interaction,
    LinearLogits,
    Reading,
    arrays,
    compared,
    words_of,
)
from keras_distill.student.layers import (
    BiLSTM,
    PairUnit,
    Projection,
    WordVectors,
    joined,
)
from keras_distill.student.models import kind_of
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import StudentTokenizer

# What graphs take: word ids or raw text, of one text or two.
IDS = ("ids_a", "ids_b")
TEXTS = ("text", "text_b")

# Dropout is for training; the pair unit has nothing to learn.
_WITHOUT_WEIGHTS = (keras.layers.InputLayer, keras.layers.Dropout, PairUnit)
# Their weights have names that the kind's own functions know them by.
_NAMED = (AttentionPooling, Interaction, LinearLogits)


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
        kind: One of `kinds.KINDS`.
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


def student_weights(model: keras.Model) -> StudentWeights:
    """Take the weights out of a student.

    Args:
        model: A student as `student.models.build_student` makes it.

    Raises:
        ValueError: The model holds a layer that a student does not have.
    """
    tables, readers, dense, rest = [], [], [], {}
    for layer in model.layers:
        if isinstance(layer, WordVectors):
            tables += layer.get_weights()
        elif isinstance(layer, (BiLSTM, Projection)):
            readers.append(layer.get_weights())
        elif isinstance(layer, keras.layers.Dense):
            dense.append(tuple(layer.get_weights()))
        elif isinstance(layer, _NAMED):
            named = arrays(layer)
            rest |= {name: weight.numpy() for name, weight in named.items()}
        elif not isinstance(layer, _WITHOUT_WEIGHTS):
            raise ValueError(
                f"expected a student's layers. Received: {layer!r}"
            )
    common = {
        "dense": tuple(dense),
        "pair": len(model.inputs) == 2,
        "kind": kind_of(model),
    }
    if common["kind"] == "linear":
        words, rest["pairs"] = tables
        classes = words.shape[1]
        return StudentWeights(
            words,
            np.eye(classes, dtype=np.float32),
            np.zeros(classes, np.float32),
            rest=rest,
            **common,
        )
    vectors = np.concatenate(tables, axis=1)
    (reader,) = readers
    if len(reader) == 2:
        return StudentWeights(vectors, *reader, rest=rest, **common)
    # Kernel, recurrent kernel, bias of each direction.
    kernels, recurrent, biases = zip(reader[:3], reader[3:], strict=True)
    return StudentWeights(
        vectors,
        np.concatenate(kernels, axis=1),
        np.concatenate(biases),
        recurrent_kernel=np.stack(recurrent),
        rest=rest,
        **common,
    )


def answer(read: Reading, weights: StudentWeights, *ids: Any) -> Any:
    """Compute logits, float32 [batch, classes], as every export does.

    Args:
        read: How the export reads words.
        weights: The student's; of these `dense` and `rest` are used, which
            may be tensors.
        ids: int32 [batch, len], padded with 0 on the right; for pairs two,
            whose len may differ.
    """
    kind = KINDS[weights.kind]
    output = [kind.encode(read, weights.rest, text) for text in ids]
    if kind.compare:
        output = compared(
            output, [words_of(text) for text in ids], weights.rest
        )
    else:
        output = joined(*output) if weights.pair else output[0]
    for place, (kernel, bias) in enumerate(weights.dense):
        output = output @ kernel + bias
        if place < len(weights.dense) - 1:
            output = ops.relu(output)
    return output


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
        threshold: With a probability of at least this an answer may stand
            without the teacher's; None where none was picked.
        display_names: What apps show in place of a class's name.
    """

    weights: StudentWeights
    vocabulary: list[str]
    labels: list[str]
    lower_case: bool
    max_length: int
    temperature: float = 1.0
    spellings: list[str] = field(default_factory=list)
    window: int = 128
    threshold: float | None = None
    display_names: dict[str, str] = field(default_factory=dict)

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

    @property
    def texts(self) -> int:
        """Return how many texts it takes."""
        return 1 + self.pair

    def tokenizer(self) -> StudentTokenizer:
        """Make what turns normalised text into its word ids."""
        return StudentTokenizer(
            self.vocabulary, self.lower_case, self.max_length
        )

    def vocabulary_file(self) -> bytes:
        """Return the content of `vocab.txt`."""
        return lines_file(self.vocabulary)

    def labels_file(self) -> bytes:
        """Return the content of `labels.txt`."""
        return lines_file(self.labels)

    def display_names_file(self) -> bytes | None:
        """Return the content of `display_names.txt`, None without any."""
        if not self.display_names:
            return None
        return lines_file(shown(self.labels, self.display_names))

    def text_file(self, **changes: Any) -> bytes:
        """Return the content of `text.json`: how words become ids."""
        values = {
            "lower_case": self.lower_case,
            "max_length": self.max_length,
            "pair": self.pair,
        }
        return (json.dumps(values | changes, indent=2) + "\n").encode()


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


def lines_file(items: Iterable[str]) -> bytes:
    """Return the content of a file of lines."""
    return "".join(f"{item}\n" for item in items).encode("utf-8")
