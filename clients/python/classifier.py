"""Asks a keras_distill student in a .tflite file, without TensorFlow.

    student = Classifier("student.tflite")
    list(student.classify(["A gripping film."]))  # [("positive", 0.98)]

Needs ai-edge-litert and numpy, and tokenizer.py beside it. Words, class names
and how text is read lie in the model's file, which is a zip, too.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tokenizer import Tokenizer, padded

# Every row of a batch takes the steps of its longest: few rows, and alike.
_BATCH = 32


class Classifier:
    """A student of texts or of pairs of texts; `labels` are its classes."""

    def __init__(self, path: str, threads: int = 1) -> None:
        with zipfile.ZipFile(path) as files:
            vocabulary, labels, settings = (
                files.read(name).decode("utf-8")
                for name in ("vocab.txt", "labels.txt", "text.json")
            )
        self.labels = labels.removesuffix("\n").split("\n")
        how = json.loads(settings)
        self._names = ["ids_a", "ids_b"][: 1 + how["pair"]]
        self._tokenizer = Tokenizer(
            vocabulary, how["lower_case"], how["max_length"]
        )
        interpreter = Interpreter(str(path), num_threads=threads)
        self._run = interpreter.get_signature_runner("serving_default")

    def probabilities(self, *columns: Sequence[str]) -> np.ndarray:
        """Return float32 [texts, classes] of texts; pairs are two columns."""
        if len(columns) != len(self._names):
            raise ValueError(f"expected columns of texts: {len(self._names)}")
        ids = [list(map(self._tokenizer.encode, texts)) for texts in columns]
        lengths = [max(map(len, row)) for row in zip(*ids, strict=True)]
        order = np.argsort(lengths, kind="stable")
        found = np.zeros((len(order), len(self.labels)), np.float32)
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = [padded([texts[row] for row in rows]) for texts in ids]
            answer = self._run(**dict(zip(self._names, batch, strict=True)))
            found[rows] = answer["probabilities"]
        return found

    def classify(self, *columns: Sequence[str]) -> Iterator[tuple[str, float]]:
        """Yield the label of each text or pair, and its probability."""
        for row in self.probabilities(*columns):
            yield self.labels[row.argmax()], float(row.max())
