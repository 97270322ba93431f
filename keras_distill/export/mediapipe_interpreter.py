"""Runs a MediaPipe bundle without MediaPipe, which is no requirement here."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.cli import quiet_native
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.bundle import Exported
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
from keras_distill.export.tflite import SIGNATURE, TEXT_FILE
from keras_distill.export.verify import Proof, check_logits
from keras_distill.student.text import UNK_ID, StudentTokenizer

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
            self.labels = _lines(files[LABELS_FILE])
            self.vocabulary = _lines(files[VOCABULARY_FILE])
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


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8").removesuffix("\n").split("\n")
