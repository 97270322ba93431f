"""Exported files, opened again and asked."""

import contextlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps

from keras_distill.batches import like_lengths
from keras_distill.cli import quiet_native
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.mediapipe import INPUTS, OUTPUT
from keras_distill.export.mediapipe_text import MediaPipeTokenizer
from keras_distill.export.metadata import (
    LABELS_FILE,
    TEXT_FILE,
    VOCABULARY_FILE,
    read_packed_files,
)
from keras_distill.export.student import IDS, TEXTS
from keras_distill.export.tflite import SIGNATURE
from keras_distill.metrics import accuracy
from keras_distill.progress import progress
from keras_distill.student.text import PAD_ID, StudentTokenizer

# In LiteRT every row takes the steps of the batch's longest, and more than
# some dozen rows at once gain nothing: `benchmarks/lite_batches.py`.
_LITE_BATCH, _SERVED_BATCH = 32, 512
# So many rows are enough of a form that takes long.
_SLOW_ROWS = 1000
# A probability of 0 has no logarithm.
_LEAST = np.finfo(np.float32).tiny

Columns = Sequence[Sequence[str]]
OnRows = Callable[[int], object]


class _LiteFile:
    """A TFLite file, opened.

    What a client has to know lies in the file itself: `vocab.txt`,
    `labels.txt` and `text.json`.
    """

    _kind = ""

    def __init__(self, path: Path | str, threads: int) -> None:
        self.path = Path(path)
        files = read_packed_files(self.path)
        with self._expected():
            self._settings = json.loads(files[TEXT_FILE])
            self._vocabulary = _lines(files[VOCABULARY_FILE])
            self.labels = _lines(files[LABELS_FILE])
            self._run = self._runner(threads)
            self._inputs = self._run.get_input_details()

    def _runner(self, threads: int) -> Callable[..., dict[str, np.ndarray]]:
        """Return a function of the inputs by name to outputs by name."""
        # Native code chatters.
        with warnings.catch_warnings(), quiet_native():
            # "deprecated": its successor is one more package.
            warnings.simplefilter("ignore")
            interpreter = InterpreterWithCustomOps(
                model_path=str(self.path),
                num_threads=threads,
                custom_op_registerers=tf_text.tflite_registrar.SELECT_TFTEXT_OPS,
            )
            # Here and not with the first text: it has things to say.
            interpreter.allocate_tensors()
            return interpreter.get_signature_runner(SIGNATURE)

    @contextlib.contextmanager
    def _expected(self) -> Iterator[None]:
        """Turn what is wrong with the file into one line for the user."""
        try:
            yield
        except (TypeError, ValueError, RuntimeError, UserError) as error:
            reason = str(error)
        except KeyError as error:
            reason = f"it holds no {error.args[0]}"
        else:
            return
        raise UserError(
            f"{self.path} is no whole {self._kind} of a student: "
            f"{_one_line(reason)}"
        )

    def _expect_inputs(self, names: Iterable[str]) -> None:
        if set(self._inputs) != set(names):
            raise ValueError(f"it takes {', '.join(sorted(self._inputs))}")


class LiteStudent(_LiteFile):
    """A TFLite file of word ids or of raw text, opened.

    Args:
        path: The file.
        threads: Threads that the interpreter may use.

    Attributes:
        path: The file.
        labels: Class names in logit order.
        tokenizer: Makes the word ids.
        pair: Whether it takes two texts.
        takes_text: Whether it takes raw text instead of word ids.

    Raises:
        UserError: The file is damaged or no export of a student.
    """

    _kind = "TFLite export"

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        super().__init__(path, threads)
        self.takes_text = TEXTS[0] in self._inputs
        with self._expected():
            self.pair = self._settings["pair"]
            self.tokenizer = StudentTokenizer(
                self._vocabulary,
                self._settings["lower_case"],
                self._settings["max_length"],
            )
            names = TEXTS if self.takes_text else IDS
            self._expect_inputs(names[: 1 + self.pair])

    def answers(
        self,
        columns: Columns,
        on_rows: OnRows = lambda rows: None,
        batch_size: int = _LITE_BATCH,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and probabilities, float32 [texts, classes].

        Texts are asked in batches of like length; answers have their order.
        `on_rows` is called with the number of rows just finished.
        """
        if len(columns) != 1 + self.pair:
            raise UserError(
                f"{self.path} takes {'pairs' if self.pair else 'one text'}, "
                f"expected {'one text' if self.pair else 'pairs'}: another "
                "run's?"
            )
        if self.takes_text:
            lengths = _characters(columns)

            def inputs(rows: np.ndarray) -> dict[str, np.ndarray]:
                return self.inputs(_rows_of(columns, rows))
        else:
            ids = {
                name: self._ids(texts)
                for name, texts in zip(IDS, columns, strict=False)
            }
            lengths = np.max([i.row_lengths() for i in ids.values()], axis=0)

            def inputs(rows: np.ndarray) -> dict[str, np.ndarray]:
                return {
                    name: tf.gather(found, rows).to_tensor(PAD_ID).numpy()
                    for name, found in ids.items()
                }

        found = _in_batches(
            lambda rows: self.ask(inputs(rows)), lengths, batch_size, on_rows
        )
        return found["logits"], found["probabilities"]

    def logits(self, columns: Columns, on_rows: OnRows) -> np.ndarray:
        """Return the logits of `answers`."""
        return self.answers(columns, on_rows)[0]

    def inputs(self, columns: Columns) -> dict[str, np.ndarray]:
        """Return what the graph takes for a batch of texts.

        Word ids are those of normalised text, as an app has to make them. A
        graph of raw text gets it as it stands.

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

    def _ids(self, texts: Sequence[str]) -> tf.RaggedTensor:
        return self.tokenizer(
            tf.constant(list(map(normalize, texts)), tf.string)
        )

    def ask(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph once.

        Args:
            inputs: As `inputs` makes them.

        Returns:
            `logits` and `probabilities`, float32 [texts, classes].
        """
        return self._run(**inputs)


class MediaPipeStudent(_LiteFile):
    """A bundle, opened as MediaPipe opens it.

    Args:
        path: The file.
        threads: Threads that the interpreter may use.

    Attributes:
        path: The file.
        labels: Class names in logit order.
        tokenizer: Makes word ids as MediaPipe does.
        window: Ids in its input.

    Raises:
        UserError: The file is damaged or no bundle of a student.
    """

    _kind = "MediaPipe bundle"

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        super().__init__(path, threads)
        with self._expected():
            self._temperature = np.float32(self._settings["temperature"])
            self._expect_inputs(INPUTS)
        self.window = int(self._inputs["ids"]["shape"][1])
        self.tokenizer = MediaPipeTokenizer(self._vocabulary, self.window)

    def probabilities(self, text: str) -> np.ndarray:
        """Return the scores that MediaPipe gives, float32 [classes]."""
        return self.scores(self.tokenizer(text))

    def scores(self, ids: np.ndarray) -> np.ndarray:
        """Return the scores of one input, int32 [window]."""
        ids = ids[np.newaxis]
        mask = (ids != 0).astype(np.int32)
        answer = self._run(ids=ids, mask=mask, segment_ids=np.zeros_like(mask))
        return answer[OUTPUT][0]

    def logits(
        self, columns: Columns, on_rows: OnRows = lambda rows: None
    ) -> np.ndarray:
        """Return logits, float32 [texts, classes].

        Up to a number for each text: probabilities do not tell it. Text is
        normalised in Python first.
        """
        if len(columns) != 1:
            raise UserError(
                f"{self.path} takes one text, expected pairs: another run's?"
            )
        (texts,) = columns
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for row, text in enumerate(texts):
            found[row] = self.probabilities(normalize(text))
            on_rows(1)
        return np.log(np.maximum(found, _LEAST)) * self._temperature


class SavedModelStudent:
    """A SavedModel, which is loaded for each question alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def logits(self, columns: Columns, on_rows: OnRows) -> np.ndarray:
        """Return logits, float32 [texts, classes], in the texts' order."""
        try:
            loaded = tf.saved_model.load(str(self.path))
            serve = loaded.signatures["serving_default"]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise UserError(
                f"{self.path} is no SavedModel: {_one_line(str(error))}"
            ) from error
        names = TEXTS[: len(columns)]
        takes = set(serve.structured_input_signature[1])
        if takes != set(names):
            raise UserError(
                f"{self.path} takes {', '.join(sorted(takes))}, expected "
                f"{', '.join(names)}: another run's?"
            )

        def ask(rows: np.ndarray) -> dict[str, np.ndarray]:
            batch = map(tf.constant, _rows_of(columns, rows))
            answer = serve(**dict(zip(names, batch, strict=True)))
            return {"logits": answer["logits"].numpy()}

        lengths = _characters(columns)
        return _in_batches(ask, lengths, _SERVED_BATCH, on_rows)["logits"]


def centred(logits: np.ndarray) -> np.ndarray:
    """Move each row so that its mean is 0, which changes no probability."""
    return logits - logits.mean(axis=-1, keepdims=True)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder and below."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files)


@dataclass(frozen=True)
class Form:
    """One form of a student, opened.

    Attributes:
        name: As in tables and in JSON.
        bytes: Its size on disk.
        logits: Takes columns of texts (one column, for pairs two) and a
            function that is told how many rows were just finished; returns
            float32 [rows, classes] in the order of the texts.
        bundle: Whether it is MediaPipe's: every text takes as long as the
            longest, one at a time, and logits are known up to a number for
            each row.
    """

    name: str
    bytes: int
    logits: Callable[[Columns, OnRows], np.ndarray]
    bundle: bool = False

    def measured(self, rows: int) -> slice:
        """Return which of so many rows it is measured on.

        All; of a bundle at most 1,000, from all over a file that may be
        sorted by label.
        """
        step = -(-rows // _SLOW_ROWS) if self.bundle else 1
        return slice(None, None, max(1, step))


@dataclass(frozen=True)
class Asked:
    """What a form said, and what the Keras model says to the same rows.

    Attributes:
        form: The form.
        labels: int [rows], -1 where unknown.
        logits: float32 [rows, classes].
        expected: The Keras model's, likewise. Of a bundle both are moved so
            that their mean is 0.
    """

    form: Form
    labels: np.ndarray
    logits: np.ndarray
    expected: np.ndarray

    def facts(self) -> dict[str, Any]:
        """Return what a report says of them.

        Returns:
            `bytes`; `max_abs_logit_difference` to the Keras model; `rows`
            that were asked; `accuracy` on the labelled ones, None when no
            row is.
        """
        known = self.labels >= 0
        found = self.logits[known], self.labels[known]
        difference = np.max(np.abs(self.logits - self.expected))
        return {
            "bytes": self.form.bytes,
            "max_abs_logit_difference": float(difference),
            "accuracy": accuracy(*found) if known.any() else None,
            "rows": len(self.labels),
        }


def ask_forms(
    forms: Iterable[Form],
    columns: Columns,
    labels: np.ndarray,
    said: np.ndarray,
    every_row: bool = False,
) -> Iterator[Asked]:
    """Ask forms about rows that the Keras model has answered.

    Args:
        forms: Opened forms, see `forms.exported_forms`.
        columns: The texts: one list, for pairs two.
        labels: int [rows], -1 where unknown.
        said: The Keras model's logits, float32 [rows, classes].
        every_row: Ask bundles, too, about all rows.

    Yields:
        One answer a form, in their order.

    Raises:
        UserError: A form takes other texts or has other classes.
    """
    for form in forms:
        some = slice(None) if every_row else form.measured(len(labels))
        expected = said[some]
        with progress(len(expected), f"measuring {form.name}", "rows") as bar:
            logits = form.logits([texts[some] for texts in columns], bar.update)
        if logits.shape != expected.shape:
            raise UserError(
                f"{form.name} has {logits.shape[-1]} classes, the student "
                f"{expected.shape[-1]}: export it again"
            )
        if form.bundle:
            logits, expected = centred(logits), centred(expected)
        yield Asked(form, labels[some], logits, expected)


def _characters(columns: Columns) -> list[int]:
    """Return the length of each row where ids are not to be seen."""
    return [max(map(len, row)) for row in zip(*columns, strict=True)]


def _rows_of(columns: Columns, rows: np.ndarray) -> list[list[str]]:
    return [[texts[row] for row in rows] for texts in columns]


def _in_batches(
    ask: Callable[[np.ndarray], dict[str, np.ndarray]],
    lengths: Sequence[int] | np.ndarray,
    size: int,
    on_rows: OnRows,
) -> dict[str, np.ndarray]:
    """Ask about rows of like length together; answer in the rows' order."""
    places, answers = [], []
    for rows in like_lengths(lengths, size):
        answers.append(ask(rows))
        places.append(rows)
        on_rows(len(rows))
    order = np.argsort(np.concatenate(places))
    return {
        name: np.concatenate([answer[name] for answer in answers])[order]
        for name in answers[0]
    }


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8").removesuffix("\n").split("\n")


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:300]
