"""Runs a `student*.tflite` with the interpreter that TensorFlow brings."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps

from keras_distill.cli import quiet_native
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.metadata import (
    LABELS_FILE,
    VOCABULARY_FILE,
    read_packed_files,
)
from keras_distill.export.tflite import IDS, SIGNATURE, TEXT_FILE, TEXTS
from keras_distill.student.text import PAD_ID, StudentTokenizer

_BATCH = 64


class LiteStudent:
    """A TFLite file of word ids or of raw text, opened.

    What a client has to know lies in the file itself: `vocab.txt`,
    `labels.txt` and `text.json`.

    Args:
        path: The file.
        threads: Threads that the interpreter may use.

    Raises:
        UserError: The file is damaged or no export of a student.
    """

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        self.path = Path(path)
        files = read_packed_files(self.path)
        names = (VOCABULARY_FILE, LABELS_FILE, TEXT_FILE)
        if missing := [name for name in names if name not in files]:
            raise self._foreign(f"it holds no {missing[0]}")
        try:
            settings = json.loads(files[TEXT_FILE])
            self.labels = _lines(files[LABELS_FILE])
            self.tokenizer = StudentTokenizer(
                _lines(files[VOCABULARY_FILE]),
                settings["lower_case"],
                settings["max_length"],
            )
            self.pair = settings["pair"]
            self._run = self._open(threads)
        except UserError as error:
            raise self._foreign(str(error)) from error
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise self._foreign(repr(error)) from error
        takes = set(self._run.get_input_details())
        names = {
            True: TEXTS if self.pair else TEXTS[:1],
            False: IDS if self.pair else IDS[:1],
        }
        self.takes_text = TEXTS[0] in takes
        if takes != set(names[self.takes_text]):
            raise self._foreign(f"it takes {', '.join(sorted(takes))}")

    def answers(
        self,
        columns: Sequence[Sequence[str]],
        on_rows: Callable[[int], object] = lambda rows: None,
        batch_size: int = _BATCH,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answer for texts, in batches of like length.

        Word ids are those of normalised text, as an app has to make them. A
        graph of raw text gets it as it stands.

        Args:
            columns: One list of texts, for pairs two.
            on_rows: Called with the number of rows just finished.
            batch_size: Texts in a batch.

        Returns:
            Logits and probabilities, float32 [texts, classes], in the order
            of the texts.

        Raises:
            UserError: The file's student takes another number of texts.
        """
        if len(columns) != 1 + self.pair:
            raise UserError(
                f"{self.path} takes {'pairs' if self.pair else 'one text'}, "
                f"expected {'one text' if self.pair else 'pairs'}: another "
                "run's?"
            )
        ids = [self._ids(column) for column in columns]
        longest = np.max([part.row_lengths() for part in ids], axis=0)
        order = np.argsort(longest, kind="stable")
        found = {"logits": [], "probabilities": []}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            if self.takes_text:
                inputs = self.inputs(
                    [[column[row] for row in rows] for column in columns]
                )
            else:
                inputs = {
                    name: tf.gather(part, rows).to_tensor(PAD_ID).numpy()
                    for name, part in zip(IDS, ids, strict=False)
                }
            outputs = self._run(**inputs)
            for name, parts in found.items():
                parts.append(outputs[name])
            on_rows(len(rows))
        places = np.argsort(order)
        logits, probabilities = (
            np.concatenate(parts)[places] for parts in found.values()
        )
        return logits, probabilities

    def inputs(self, columns: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
        """Return what the graph takes for a batch of texts.

        Args:
            columns: One list of texts, for pairs two.
        """
        if self.takes_text:
            # Objects: an array of bytes forgets zeros at the end of a text.
            return {
                name: np.array([text.encode() for text in column], object)
                for name, column in zip(TEXTS, columns, strict=False)
            }
        return {
            name: self._ids(column).to_tensor(PAD_ID).numpy()
            for name, column in zip(IDS, columns, strict=False)
        }

    def ask(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph once.

        Args:
            inputs: As `inputs` makes them.

        Returns:
            `logits` and `probabilities`, float32 [texts, classes].
        """
        return self._run(**inputs)

    def _ids(self, texts: Sequence[str]) -> tf.RaggedTensor:
        normalized = [normalize(text) for text in texts]
        return self.tokenizer(tf.constant(normalized, tf.string))

    def _open(self, threads: int) -> Callable[..., dict[str, np.ndarray]]:
        with warnings.catch_warnings(), quiet_native():
            # "deprecated": its successor is one more package.
            warnings.simplefilter("ignore")
            interpreter = InterpreterWithCustomOps(
                model_path=str(self.path),
                num_threads=threads,
                custom_op_registerers=(
                    tf_text.tflite_registrar.SELECT_TFTEXT_OPS
                ),
            )
            # Here and not with the first text: it has things to say.
            interpreter.allocate_tensors()
            return interpreter.get_signature_runner(SIGNATURE)

    def _foreign(self, reason: str) -> UserError:
        reason = " ".join(reason.split())[:300]
        return UserError(
            f"{self.path} is no whole TFLite export of a student: {reason}"
        )


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8").removesuffix("\n").split("\n")
