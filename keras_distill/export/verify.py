"""Proves an export: its logits beside the trained model's, text by text."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.export.mediapipe_text import bundle_vocabulary
from keras_distill.export.opened import (
    LiteStudent,
    MediaPipeStudent,
    centred,
)
from keras_distill.export.student import Exported
from keras_distill.export.tflite import read_alike
from keras_distill.metrics import softmax
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import SPECIALS, UNK_ID, StudentTokenizer

# How far logits may be apart, relative to the largest one where that is
# above 1. Another kernel adds up in another order.
FLOAT32 = 1e-4
# Seen with three students of SST-2 and QQP, 142 texts each: half of them below
# 1e-4 and 3.4e-3, all but one in twenty below 3e-4 and 2.6e-2, one sentence of
# random words at 9e-4 and 0.11.
FLOAT16 = 1e-2
# Of three bits less: 6e-3 was seen on 142 texts.
BFLOAT16 = 5e-2
INT8 = 1e-1
# A form that reads otherwise is off on many texts. What rounding adds up to has
# no bound, and must not end a run over one sentence that nobody writes.
_OUTLIERS, _FARTHEST = 1 / 20, 5

_PROBABILITIES = 1e-5

# Texts that two implementations easily take for different ones: nothing,
# only a space, one word, pictures, accents, Treebank spelling, the quotes of
# phones and of typewriters, masks, an address, scripts without spaces and
# from right to left, odd spaces, more words than a student reads.
_AWKWARD = (
    "",
    " ",
    "film",
    "😀 👍🏽 !!!",
    "Café NAÏVE Ünder",
    "it 's n't bad -lrb- can not say why -rrb- `` x ''",
    "don\u2019t say \u201cwhy\u201d, it\u2019s a \u2018good\u2019 film!",
    "it`s `good`",
    "a [MASK] film [mask]",
    "https://example.org/a_b?c=1&d=%20 scored 7.5/10 in 1999",
    "好电影 ok",
    "سيء جدا, סרט טוב",
    "one\nline\tand\u00a0another\u200b",
    "word " * 3000,
)
_RANDOM_TEXTS = 64
# So many texts are asked again, after all the others.
_AGAIN = 8


@dataclass(frozen=True)
class Proof:
    """Texts, and the logits that every form has to give for them.

    Attributes:
        columns: One list of texts, for pairs two.
        logits: float32 [texts, classes].
    """

    columns: list[list[str]]
    logits: np.ndarray

    def some(self, rows: np.ndarray) -> "Proof":
        """Return the proof of some rows."""
        columns = [[column[row] for row in rows] for column in self.columns]
        return Proof(columns, self.logits[rows])

    def as_typed(self, tokenizer: StudentTokenizer) -> "Proof":
        """Return the rows that a form can answer which cannot rewrite text.

        Texts stay as they are.
        """
        alike = [read_alike(column, tokenizer) for column in self.columns]
        return self.some(np.flatnonzero(np.all(alike, axis=0)))


def make_proof(
    student: StudentPredictor, real: Sequence[Sequence[str]] = ()
) -> Proof:
    """Ask a student about awkward, random and real texts.

    Real ones are columns of texts of its task, empty when none are at hand.
    """
    words = [
        word
        for word in student.tokenizer.vocabulary
        if word not in SPECIALS and not word.startswith("##")
    ]
    texts = list(_AWKWARD)
    if words:
        # Always the same.
        rng = random.Random(0)
        texts += [
            " ".join(rng.choices(words, k=rng.randint(1, 40)))
            for _ in range(_RANDOM_TEXTS)
        ]
    columns = [texts, texts[::-1]] if student.pair else [texts]
    for column, more in zip(columns, real, strict=bool(real)):
        column += more
    return Proof(columns, student.logits(*columns))


def prove_lite(
    lite: LiteStudent,
    exported: Exported,
    proof: Proof,
    tolerance: float,
    name: str,
) -> float:
    """Return the largest difference of a logit, see `LiteForm.prove`."""
    if lite.takes_text:
        proof = proof.as_typed(lite.tokenizer)
    logits, probabilities = lite.answers(proof.columns)
    difference = check_logits(proof.logits, logits, tolerance, name)
    check_probabilities(logits, probabilities, exported.temperature, name)
    # One text at a time, as apps ask; after the others, so that a state
    # left behind would show.
    few = proof.some(np.arange(len(proof.logits))[:_AGAIN])
    alone, _ = lite.answers(few.columns, batch_size=1)
    return max(difference, check_logits(few.logits, alone, tolerance, name))


def prove_bundle(
    bundle: MediaPipeStudent,
    exported: Exported,
    proof: Proof,
    tolerance: float,
    name: str,
) -> float:
    """Prove on the texts that MediaPipe splits as the student does."""
    _, rows = bundle_vocabulary(exported)
    texts = [normalize(text) for text in proof.columns[0]]
    ids = exported.tokenizer()(tf.constant(texts)).to_list()
    whole = [
        row for row, found in enumerate(ids) if len(found) <= bundle.window - 2
    ]
    same = [
        row
        for row in whole
        if (rows[bundle.tokenizer.words(texts[row])].tolist() or [UNK_ID])
        == ids[row]
    ]
    # MediaPipe splits as BERT does: where most texts differ, all do.
    if len(same) < len(whole) / 2:
        raise RuntimeError(
            f"{name} reads {len(whole) - len(same)} of {len(whole)} "
            "texts otherwise than the student"
        )
    # The first ones once more at the end: a state left behind would show.
    asked = proof.some(np.array(same + same[:_AGAIN]))
    found = bundle.logits(asked.columns)
    return check_logits(centred(asked.logits), centred(found), tolerance, name)


def check_logits(
    expected: np.ndarray, found: np.ndarray, tolerance: float, name: str
) -> float:
    """Return the largest difference of logits; refuse what is too far off.

    The tolerance is relative to the largest expected logit where that is
    above 1. One text in twenty, at least one, may be off by five times as
    much. The name says what gave the logits.
    """
    if found.shape != expected.shape:
        raise RuntimeError(
            f"{name} answers otherwise: logits have shape {found.shape}, "
            f"expected {expected.shape}"
        )
    apart = np.abs(found - expected).max(axis=1)
    limit = tolerance * max(1.0, float(np.abs(expected).max()))
    difference = float(apart.max())
    # "not <=" is true of a difference that is no number, too.
    off = int(np.sum(~(apart <= limit)))
    most = max(1, int(_OUTLIERS * len(apart)))
    if off > most or not difference <= _FARTHEST * limit:
        raise RuntimeError(
            f"{name} answers otherwise: logits differ by {difference:.1e}, "
            f"{off} of {len(apart)} texts by more than {limit:.1e}"
        )
    return difference


def check_probabilities(
    logits: np.ndarray,
    probabilities: np.ndarray,
    temperature: float,
    name: str,
) -> None:
    """Check that probabilities are the softmax of the divided logits."""
    expected = softmax(logits / temperature)
    if probabilities.shape != expected.shape or not np.allclose(
        probabilities, expected, rtol=0, atol=_PROBABILITIES
    ):
        raise RuntimeError(
            f"{name} answers otherwise: probabilities are no softmax of the "
            "logits"
        )
