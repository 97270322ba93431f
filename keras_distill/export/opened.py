"""Every exported form, opened again and asked."""

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps

from keras_distill.cli import quiet_native
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.mediapipe import INPUTS, OUTPUT
from keras_distill.export.mediapipe_text import (
    MediaPipeTokenizer,
    bundle_vocabulary,
)
from keras_distill.export.metadata import (
    LABELS_FILE,
    VOCABULARY_FILE,
    read_packed_files,
)
from keras_distill.export.saved_model import TEXTS, folder_bytes
from keras_distill.export.student import Exported
from keras_distill.export.tflite import IDS, SIGNATURE, TEXT_FILE
from keras_distill.export.verify import Proof, check_logits
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import PAD_ID, UNK_ID, StudentTokenizer

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


# A probability of 0 has no logarithm.
_LEAST = np.finfo(np.float32).tiny
_REPEATED = 8


class MediaPipeStudent:
    """A bundle, opened as MediaPipe opens it.

    Args:
        path: The file.
        threads: Threads that the interpreter may use.

    Raises:
        UserError: The file is damaged or no bundle of a student.
    """

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        self.path = Path(path)
        files = read_packed_files(self.path)
        try:
            settings = json.loads(files[TEXT_FILE])
            self.labels = _file_lines(files[LABELS_FILE])
            self.vocabulary = _file_lines(files[VOCABULARY_FILE])
            self.temperature = float(settings["temperature"])
            self._run = self._open(threads)
            takes = self._run.get_input_details()
            if set(takes) != set(INPUTS):
                raise ValueError(f"it takes {', '.join(sorted(takes))}")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{self.path} is no whole MediaPipe bundle of a student: "
                f"{reason}"
            ) from error
        self.window = int(takes["ids"]["shape"][1])
        self.tokenizer = MediaPipeTokenizer(self.vocabulary, self.window)

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
        self,
        texts: Sequence[str],
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """Return logits, which are known up to a number for each text.

        Probabilities do not tell that number: the logits of a text are
        moved so that their mean is 0. Text is normalised in Python first.

        Args:
            texts: The texts.
            on_rows: Called with the number of rows just finished.

        Returns:
            float32 [texts, classes].
        """
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for row, text in enumerate(texts):
            found[row] = self.probabilities(normalize(text))
            on_rows(1)
        return centred(
            np.log(np.maximum(found, _LEAST)) * np.float32(self.temperature)
        )

    def _open(self, threads: int) -> Callable[..., dict[str, np.ndarray]]:
        with warnings.catch_warnings(), quiet_native():
            # "deprecated": its successor is one more package.
            warnings.simplefilter("ignore")
            interpreter = tf.lite.Interpreter(
                model_path=str(self.path), num_threads=threads
            )
            return interpreter.get_signature_runner(SIGNATURE)


def centred(logits: np.ndarray) -> np.ndarray:
    """Move each row so that its mean is 0, which changes no probability."""
    return logits - logits.mean(axis=-1, keepdims=True)


def prove_bundle(
    path: Path, exported: Exported, proof: Proof, tolerance: float
) -> float:
    """Open a bundle and compare its answers.

    Texts that MediaPipe splits otherwise than the student are left out, and
    those beyond the window.

    Args:
        path: The file.
        exported: The student that it was made of.
        proof: What it has to answer.
        tolerance: See `verify.check_logits`.

    Returns:
        The largest difference of a logit, see `MediaPipeStudent.logits`.

    Raises:
        RuntimeError: The file answers otherwise.
    """
    student = MediaPipeStudent(path)
    texts = list(map(normalize, proof.columns[0]))
    whole, rows = _rows_read(student, exported, texts)
    # MediaPipe splits as BERT does: where most texts differ, all do.
    if len(rows) < len(whole) / 2:
        raise RuntimeError(
            f"{path.name} reads {len(whole) - len(rows)} of {len(whole)} "
            "texts otherwise than the student"
        )
    # The first ones once more at the end: a state left behind would show.
    rows = np.concatenate([rows, rows[:_REPEATED]])
    found = student.logits([texts[row] for row in rows])
    expected = centred(proof.logits[rows])
    return check_logits(expected, found, tolerance, path.name)


def _rows_read(
    student: MediaPipeStudent, exported: Exported, texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Find the texts that fit the window, and those split alike of them.

    Args:
        student: A bundle.
        exported: The student that it was made of.
        texts: Normalised texts.

    Returns:
        Their places, int64; the second are part of the first.
    """
    _, rows = bundle_vocabulary(exported)
    tokenizer = StudentTokenizer(
        exported.vocabulary, exported.lower_case, exported.max_length
    )
    ids = tokenizer(tf.constant(texts))
    whole = np.flatnonzero(ids.row_lengths() <= student.window - 2)
    alike = [
        rows[student.tokenizer.words(texts[place])].tolist() or [UNK_ID]
        for place in whole
    ]
    same = [
        found == expected
        for found, expected in zip(
            alike, tf.gather(ids, whole).to_list(), strict=True
        )
    ]
    return whole, whole[same]


def _file_lines(content: bytes) -> list[str]:
    return content.decode("utf-8").removesuffix("\n").split("\n")


_FORM_BATCH = 512
# So many rows are enough of a form that takes long.
_SLOW_ROWS = 1000

Logits = Callable[
    [Sequence[Sequence[str]], Callable[[int], object]], np.ndarray
]


@dataclass(frozen=True)
class Form:
    """One form of a student.

    Attributes:
        name: As in tables and in JSON.
        bytes: Its size on disk.
        logits: Takes columns of texts (one column, for pairs two) and a
            function that is told how many rows were just finished; returns
            float32 [rows, classes] in the order of the texts.
        centred: Whether the logits of a row are moved so that their mean is
            0: probabilities tell no more.
        slow: Whether every text takes as long as the longest, one at a time.
    """

    name: str
    bytes: int
    logits: Logits
    centred: bool = False
    slow: bool = False

    def measured(self, rows: int) -> slice:
        """Return which of so many rows it is measured on.

        All of them; of a slow form at most 1,000, from all of the file:
        files are often sorted by label.
        """
        step = -(-rows // _SLOW_ROWS) if self.slow else 1
        return slice(None, None, max(1, step))


def keras_form(student: StudentPredictor, student_dir: Path) -> Form:
    """Return the trained model itself, which the others are compared with."""
    size = (Path(student_dir) / "model.keras").stat().st_size
    return Form(
        "keras",
        size,
        lambda columns, on_rows: student.logits(*columns, on_rows=on_rows),
    )


def exported_forms(export_dir: Path) -> list[Form]:
    """Return the forms that a folder of exports holds.

    Args:
        export_dir: A run's `export` folder; it may be missing.
    """
    forms: list[Form] = []
    for find in FINDERS:
        forms += find(Path(export_dir))
    return forms


def saved_model_forms(export_dir: Path) -> Iterable[Form]:
    """Find the SavedModel."""
    folder = export_dir / "saved_model"
    if not folder.is_dir():
        return
    yield Form(
        "saved_model",
        folder_bytes(folder),
        lambda columns, on_rows: _served_logits(folder, columns, on_rows),
    )


def lite_forms(export_dir: Path) -> Iterable[Form]:
    """Find the TFLite files of word ids and of raw text.

    Raises:
        UserError: One is damaged or no export of a student.
    """
    for path in sorted(export_dir.glob("student*.tflite")):
        if path.name.startswith("student_mediapipe"):
            continue
        yield file_form(path)


def mediapipe_forms(export_dir: Path) -> Iterable[Form]:
    """Find the MediaPipe bundles.

    Raises:
        UserError: One is damaged or no export of a student.
    """
    for path in sorted(export_dir.glob("student_mediapipe*.tflite")):
        yield file_form(path)


def file_form(path: Path) -> Form:
    """Open a TFLite file or a MediaPipe bundle.

    Raises:
        UserError: It is damaged or no export of a student.
    """
    size = path.stat().st_size
    if not path.name.startswith("student_mediapipe"):
        return Form(path.name, size, partial(_lite, LiteStudent(path)))
    return Form(
        path.name,
        size,
        partial(_mediapipe, MediaPipeStudent(path)),
        centred=True,
        slow=True,
    )


# One function for each kind of export; a new kind is one more here.
FINDERS: tuple[Callable[[Path], Iterable[Form]], ...] = (
    saved_model_forms,
    lite_forms,
    mediapipe_forms,
)


def _lite(
    student: LiteStudent,
    columns: Sequence[Sequence[str]],
    on_rows: Callable[[int], object],
) -> np.ndarray:
    logits, _ = student.answers(columns, on_rows)
    return logits


def _mediapipe(
    student: MediaPipeStudent,
    columns: Sequence[Sequence[str]],
    on_rows: Callable[[int], object],
) -> np.ndarray:
    if len(columns) != 1:
        raise UserError(
            f"{student.path} takes one text, expected pairs: another run's?"
        )
    return student.logits(columns[0], on_rows)


def _served_logits(
    folder: Path,
    columns: Sequence[Sequence[str]],
    on_rows: Callable[[int], object],
) -> np.ndarray:
    try:
        serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} is no SavedModel: {reason}") from error
    takes = set(serve.structured_input_signature[1])
    if takes != set(TEXTS[: len(columns)]):
        raise UserError(
            f"{folder} takes {', '.join(sorted(takes))}, expected "
            f"{', '.join(TEXTS[: len(columns)])}: another run's?"
        )
    # Characters tell the number of words well enough to save padding.
    order = np.argsort(
        [sum(map(len, row)) for row in zip(*columns, strict=True)]
    )
    parts = []
    for start in range(0, len(order), _FORM_BATCH):
        rows = order[start : start + _FORM_BATCH]
        batch = {
            name: tf.constant([column[row] for row in rows])
            for name, column in zip(TEXTS, columns, strict=False)
        }
        parts.append(serve(**batch)["logits"].numpy())
        on_rows(len(rows))
    return np.concatenate(parts)[np.argsort(order)]
