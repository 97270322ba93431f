"""What every form of export is made from: a student's weights."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_distill.export.display_names import shown
from keras_distill.student.kinds import (
    AttentionPooling,
    Interaction,
    LinearLogits,
    arrays,
)
from keras_distill.student.layers import (
    BiLSTM,
    PairUnit,
    Projection,
    WordVectors,
)
from keras_distill.student.models import kind_of
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import StudentTokenizer
from keras_distill.student.weights import StudentWeights

# What graphs take: word ids or raw text, of one text or two.
IDS = ("ids_a", "ids_b")
TEXTS = ("text", "text_b")

# Dropout is for training; the pair unit has nothing to learn.
_WITHOUT_WEIGHTS = (keras.layers.InputLayer, keras.layers.Dropout, PairUnit)
# Their weights have names that the kind's own functions know them by.
_NAMED = (AttentionPooling, Interaction, LinearLogits)


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
        cut: The share of the training texts that are longer; None where
            they are gone.
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
    cut: float | None = None
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
