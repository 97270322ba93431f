"""Exports a student as a SavedModel that takes text and names classes.

It loads with tensorflow and tensorflow-text alone, on any device:

    import tensorflow as tf
    import tensorflow_text
    model = tf.saved_model.load("export/saved_model")
    serve = model.signatures["serving_default"]
    serve(text=tf.constant(["a gripping film"]))
"""

import json
import logging
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.export.graph import StudentGraph
from keras_distill.export.spelling import normalize_for_ids
from keras_distill.export.weights import student_weights
from keras_distill.files import atomic_path
from keras_distill.student.predictor import StudentPredictor, softmax
from keras_distill.student.text import SPECIALS

logger = logging.getLogger(__name__)

TEXTS = ("text", "text_b")
IDS = ("ids_a", "ids_b")

# Relative to the largest logit; another kernel adds up in another order.
_TOLERANCE = 1e-4

_REOPEN = Path(__file__).with_name("reopen.py")

# Texts that two implementations easily take for different ones: nothing,
# only a space, pictures, accents, Treebank spelling, masks, a script without
# spaces, odd spaces, more words than a student reads.
_AWKWARD = (
    "",
    " ",
    "😀 👍🏽 !!!",
    "Café NAÏVE Ünder",
    "it 's n't bad -lrb- can not say why -rrb- `` x ''",
    "a [MASK] film [mask]",
    "好电影 ok",
    "one\nline\tand\u00a0another\u200b",
    "word " * 3000,
)
_RANDOM_TEXTS = 64


class SavedStudent(tf.Module):
    """A student from text to class names, ready to be saved.

    Args:
        student: The student.
        temperature: Divides the logits before the softmax; logits and
            labels do not change with it.
    """

    def __init__(
        self, student: StudentPredictor, temperature: float = 1.0
    ) -> None:
        super().__init__(name="saved_student")
        if not 0 < temperature < float("inf"):
            raise ValueError(
                f"temperature must be positive. Received: {temperature}"
            )
        self.graph = StudentGraph(student_weights(student.model))
        self._labels = student.labels
        self._tokenizer = student.tokenizer
        self._temperature = temperature

    def signatures(self) -> dict[str, Any]:
        """Return the functions to save, by the name of their signature.

        `serving_default` takes `text` (and `text_b`), string [batch].
        `ids` takes `ids_a` (and `ids_b`), int32 [batch, len], padded with 0
        on the right. Both give `logits` and `probabilities`, float32
        [batch, classes], and `label`, string [batch].
        """
        texts, ids = (
            [tf.TensorSpec(shape, kind, name) for name in names[: self._texts]]
            for names, shape, kind in (
                (TEXTS, [None], tf.string),
                (IDS, [None, None], tf.int32),
            )
        )
        return {
            "serving_default": tf.function(self.from_texts, texts),
            "ids": tf.function(self.from_ids, ids),
        }

    def from_texts(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for raw texts, string [batch]; one tensor or two."""
        return self.from_ids(
            *(
                self._tokenizer(normalize_for_ids(column)).to_tensor()
                for column in texts
            )
        )

    def from_ids(self, *ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for word ids, int32 [batch, len]; one tensor or two."""
        logits = self.graph.logits(*ids)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits / self._temperature),
            "label": tf.gather(self._labels, tf.argmax(logits, axis=-1)),
        }

    @property
    def _texts(self) -> int:
        return 2 if self.graph.pair else 1


def export_saved_model(
    student_dir: Path, output_dir: Path, temperature: float = 1.0
) -> dict[str, float]:
    """Export a student and prove the result before it gets its name.

    A process that has only TensorFlow and tensorflow-text opens the
    SavedModel, without a GPU, and its answers for raw texts are compared
    with the Keras model's.

    Args:
        student_dir: A student's folder, see `StudentPredictor.load`.
        output_dir: The SavedModel's folder; an older one is replaced.
            `assets.extra/` in it holds `vocab.txt` and `labels.txt`.
        temperature: Divides the logits before the softmax.

    Returns:
        `bytes`, the size of all files, and `max_abs_logit_difference` to
        the Keras model.

    Raises:
        UserError: The student cannot be read or the export not written.
        RuntimeError: The SavedModel does not open or answers otherwise.
    """
    student = StudentPredictor.load(student_dir)
    output_dir = Path(output_dir)
    with atomic_path(output_dir) as temporary:
        module = SavedStudent(student, temperature)
        try:
            tf.saved_model.save(module, str(temporary), module.signatures())
        except tf.errors.OpError as error:
            # "{{function_node ...}} FILE; No space left on device [Op:...]"
            reason = error.message.rpartition("; ")[2].partition(" [Op:")[0]
            raise UserError(f"cannot write {output_dir}: {reason}") from error
        extra = temporary / "assets.extra"
        extra.mkdir()
        for name in ("vocab.txt", "labels.txt"):
            (extra / name).write_bytes((Path(student_dir) / name).read_bytes())
        difference = _prove(temporary, student, temperature)
        size = folder_bytes(temporary)
    logger.info(
        "%s: %.1f MB, logits within %.1e of Keras",
        output_dir,
        size / 1e6,
        difference,
    )
    return {"bytes": size, "max_abs_logit_difference": difference}


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder and below."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files)


def _prove(
    saved_model: Path, student: StudentPredictor, temperature: float
) -> float:
    """Return the largest difference of a logit to the Keras model's."""
    texts = _probes(student)
    expected = student.logits(*texts)
    answers = _answers_alone(saved_model, dict(zip(TEXTS, texts, strict=False)))
    labels = [label.decode("utf-8") for label in answers["label"]]
    difference = float(np.max(np.abs(answers["logits"] - expected)))
    probabilities = softmax(answers["logits"] / temperature)
    # Not the Keras logits' labels: a tie may fall either way.
    chosen = np.argmax(answers["logits"], axis=-1)
    faults = {
        f"logits differ by {difference:.1e}": (
            # "not <=" is true of a difference that is no number, too.
            not difference <= _TOLERANCE * max(1.0, np.abs(expected).max())
        ),
        "probabilities are no softmax of the logits": (
            not np.allclose(answers["probabilities"], probabilities, atol=1e-5)
        ),
        "labels are not those of the largest logits": (
            labels != [student.labels[place] for place in chosen]
        ),
    }
    for fault, found in faults.items():
        if found:
            raise RuntimeError(f"the SavedModel answers otherwise: {fault}")
    return difference


def _answers_alone(
    saved_model: Path, texts: dict[str, list[str]]
) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        questions = Path(folder) / "texts.json"
        answers = Path(folder) / "answers.npz"
        questions.write_text(json.dumps(texts), encoding="utf-8")
        arguments = [str(saved_model.absolute()), str(questions), str(answers)]
        # -P: the script's own folder is no place to import from.
        child = subprocess.run(
            [sys.executable, "-P", str(_REOPEN), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        )
        if child.returncode:
            last = child.stderr.strip().splitlines()[-5:]
            raise RuntimeError(
                f"the SavedModel does not open alone (exit code "
                f"{child.returncode}): " + "\n".join(last)
            )
        with np.load(answers, allow_pickle=True) as arrays:
            return dict(arrays)


def _probes(student: StudentPredictor) -> list[list[str]]:
    """Return awkward texts and random ones of the student's own words."""
    rng = random.Random(0)
    words = [
        word
        for word in student.tokenizer.vocabulary
        if word not in SPECIALS and not word.startswith("##")
    ]
    texts = list(_AWKWARD)
    if words:
        texts += [
            " ".join(rng.choices(words, k=rng.randint(1, 40)))
            for _ in range(_RANDOM_TEXTS)
        ]
    return [texts, texts[::-1]] if student.pair else [texts]
