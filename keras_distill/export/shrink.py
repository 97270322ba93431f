"""Fits an export into a size, for `--max-size-mb`.

To be read from top to bottom: what a file of a student takes, how a student
becomes smaller, how well a smaller one answers, which one is the best that
fits, and what the finished files cost.
"""

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.forms import LITE_FORMS, open_form
from keras_distill.export.mediapipe_text import bundle_vocabulary
from keras_distill.export.opened import ask_forms
from keras_distill.export.saved_model import GraphStudent
from keras_distill.export.selection import selection_rows, word_counts
from keras_distill.export.student import Exported, lines_file, load_exported
from keras_distill.export.tflite import quantized_rows
from keras_distill.metrics import accuracy, agreement
from keras_distill.progress import progress
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import UNK_ID
from keras_distill.student.vocabulary import cut_words
from keras_distill.transfer_set.record import Rows

logger = logging.getLogger(__name__)

# What an int8 file holds beside weights and packed files: graph, metadata,
# small matrices in float32. Measured: 16 to 20 kB.
_GRAPH_BYTES = 24_000
# What a bundle's descriptions and constants take more. Measured: 1 kB.
_BUNDLE_BYTES = 8_000
# The converter's scale (float32) and zero point (int64) of a matrix's column.
_COLUMN_BYTES = 12


def file_bytes(exported: Exported, bytes_per_weight: int = 1) -> int:
    """Estimate a TFLite file of word ids, a little too high.

    A weight has 4 bytes, 2 (float16) or 1 (int8).
    """
    weights = exported.weights
    size = _GRAPH_BYTES + bytes_per_weight * weights.size
    size += len(exported.vocabulary_file())
    size += len(exported.labels_file()) + len(exported.text_file())
    if bytes_per_weight == 1:
        # Each bias has four bytes, and so has each word's scale.
        biases = weights.bias.size + sum(bias.size for _, bias in weights.dense)
        size += 3 * biases + 4 * len(exported.vocabulary)
        size += _column_bytes(exported)
    return size


def widest(exported: Exported, budget_bytes: int) -> int:
    """Return the greatest width, 0 or less if none, whose int8 file fits."""
    words, width = exported.weights.vectors.shape
    each = words + exported.weights.kernel.shape[1]
    return width + min(0, (budget_bytes - file_bytes(exported)) // each)


def _column_bytes(exported: Exported) -> int:
    """Return what the scales of the matrices take in an int8 file."""
    weights = exported.weights
    # The kernel's, the recurrent kernels'.
    columns = weights.kernel.shape[1] + 8 * weights.units
    columns += sum(bias.size for _, bias in weights.dense)
    columns += sum(array.shape[-1] for array in weights.rest.values())
    return _COLUMN_BYTES * columns


def _bundle_bytes(exported: Exported) -> int:
    """Return what a MediaPipe bundle holds more than the other form."""
    vocabulary, rows = bundle_vocabulary(exported)
    more = vocabulary[len(exported.vocabulary) :]
    lines = len(lines_file(more))
    # The converter leaves these in float32 there, and gives all other
    # matrices a single scale.
    dense = 3 * sum(kernel.size for kernel, _ in exported.weights.dense)
    dense = max(0, dense - _column_bytes(exported))
    return _BUNDLE_BYTES + lines + (4 * len(rows) if more else 0) + dense


# So often is a word taken to occur that was never seen.
_RARE = 0.5


def cut_vocabulary(exported: Exported, lines: int) -> Exported:
    """Drop a student's open and rarest words, as `cut_words` says."""
    if lines >= len(exported.vocabulary):
        return exported
    kept = cut_words(exported.vocabulary, lines)
    return replace(
        exported,
        weights=replace(
            exported.weights, vectors=exported.weights.vectors[kept]
        ),
        vocabulary=[exported.vocabulary[row] for row in kept],
    )


class Narrower:
    """Gives a student, or one cut from it, narrower vectors.

    The principal axes of the words' projections, `vectors @ kernel`, which
    is all that the LSTM reads of them: of all students with vectors of that
    width this one has the nearest projections, in the mean of their squared
    distances over the running words. `counts` says how often words occur.

    QR and eigenvectors take longer than all else here, so each is computed
    once: for the kernel, and for each number of words.
    """

    def __init__(
        self, kernel: np.ndarray, counts: Mapping[str, int] | None = None
    ) -> None:
        # kernel = right @ basis with rows of basis at right angles: distances
        # of vectors @ right are those of the projections.
        self._basis, right = np.linalg.qr(kernel.astype(np.float64).T)
        self._right = right.T
        self._counts = counts
        self._axes: dict[int, np.ndarray] = {}

    def __call__(self, exported: Exported, width: int) -> Exported:
        """Return the student with vectors of that width."""
        if width < 1:
            raise ValueError(f"width must be at least 1. Received: {width}")
        words = len(exported.vocabulary)
        if words not in self._axes:
            vectors = exported.weights.vectors @ self._right
            importance = _importance(exported.vocabulary, self._counts)
            _, axes = np.linalg.eigh((vectors.T * importance) @ vectors)
            # eigh has the smallest first.
            self._axes[words] = axes[:, ::-1]
        axes = self._axes[words][:, :width]
        axes = axes @ _rotation(axes.shape[1])
        # A product of all words is what takes long, so one, in float32.
        narrow = (self._right @ axes).astype(np.float32)
        weights = replace(
            exported.weights,
            vectors=exported.weights.vectors @ narrow,
            kernel=(axes.T @ self._basis.T).astype(np.float32),
        )
        return replace(exported, weights=weights)


def _rotation(width: int) -> np.ndarray:
    """Return a rotation that is always the same, float64 [width, width].

    Along principal axes a few numbers of a vector are large. Whole numbers
    of 8 bits with one scale a word are more exact when all are alike.
    """
    rng = np.random.default_rng(0)
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def _importance(
    vocabulary: list[str], counts: Mapping[str, int] | None
) -> np.ndarray:
    """Return what each word's error weighs, float64 [lines]."""
    if counts is None:
        # Zipf's law: a word's rank is its line.
        return 1 / np.arange(1, len(vocabulary) + 1)
    seen = np.array([counts.get(word, 0) for word in vocabulary], np.float64)
    known = set(vocabulary)
    # All others are read as [UNK].
    seen[UNK_ID] += sum(
        count for word, count in counts.items() if word not in known
    )
    return np.maximum(seen, _RARE)


class Score(NamedTuple):
    """Shares of rows answered correctly, and as the whole student does."""

    accuracy: float
    agreement: float


class Trial:
    """Asks students made of one about the same rows.

    One graph serves all: it is traced once, and smaller weights are laid
    into larger ones. `whole` is the score of the whole student, with float32
    weights; labels are -1 where unknown.
    """

    def __init__(
        self,
        exported: Exported,
        columns: Sequence[Sequence[str]],
        labels: np.ndarray,
    ) -> None:
        self._texts = [
            tf.constant(list(map(normalize, column)), tf.string)
            for column in columns
        ]
        self._labels = np.asarray(labels)
        self._student = GraphStudent(exported)
        # Students are cut from one: its size tells a vocabulary.
        self._ids: dict[int, list[tf.RaggedTensor]] = {}
        self._expected = self._answers(exported, exported.weights.vectors)
        self.whole = self._score(self._expected)

    def __call__(self, exported: Exported) -> Score:
        """Score a student, of the same LSTM, as its int8 file answers.

        Word vectors are rounded as in the file; that is nearly all of what
        is lost there.
        """
        numbers, scales, unit = quantized_rows(exported.weights.vectors)
        return self._score(self._answers(exported, numbers * (scales * unit)))

    def _score(self, logits: np.ndarray) -> Score:
        known = self._labels >= 0
        return Score(
            accuracy(logits[known], self._labels[known]),
            agreement(logits, self._expected),
        )

    def _answers(self, exported: Exported, vectors: np.ndarray) -> np.ndarray:
        # What lies right of the vectors meets zeros of the kernel.
        rows, columns = vectors.shape
        self._student.graph.vectors[:rows, :columns].assign(vectors)
        _lay(self._student.graph.kernel, exported.weights.kernel)
        words = len(exported.vocabulary)
        if words not in self._ids:
            self._ids[words] = list(map(exported.tokenizer(), self._texts))
        return self._student.answer(self._ids[words])


def _lay(variable: tf.Variable, values: np.ndarray) -> None:
    """Assign a matrix to the upper left corner, 0 to the rest."""
    rows, columns = values.shape
    whole = np.zeros(variable.shape, np.float32)
    whole[:rows, :columns] = values
    variable.assign(whole)


# Parts of the vocabulary that are tried, each with the widest vectors that
# fit. Of an SST-2 student half the words cost three points, and eleven
# twelfths of the width none.
_SHARES = (1.0, 0.8, 0.6, 0.4, 0.25, 0.1)

# Where this much accuracy has gone with the words, no more are taken.
_FAR_BELOW = 0.02


class Smaller(NamedTuple):
    """A student made of another, and how it answers.

    `bytes` is the estimated size of its int8 file, `points` the accuracy that
    it costs.
    """

    exported: Exported
    words: int
    width: int
    bytes: int
    accuracy: float
    agreement: float
    points: float


class Shrinker:
    """Finds the best student for a size; no size is measured twice.

    Accuracies are taken as equal that differ by no more than `margin`: the
    rows cannot tell them apart.
    """

    def __init__(
        self,
        exported: Exported,
        measure: Callable[[Exported], Score],
        whole: Score,
        counts: Mapping[str, int] | None = None,
        margin: float = 0.0,
    ) -> None:
        self._exported = exported
        self._measure = measure
        self._whole = whole
        self._counts = counts
        self._margin = margin
        self._scores: dict[tuple[int, ...], Score] = {}

    @classmethod
    def of_run(cls, exported: Exported, student_dir: Path) -> "Shrinker | None":
        """Make one that chooses on a run's selection split; None without."""
        columns, labels = selection_rows(student_dir, exported.pair)
        if not len(labels):
            return None
        trial = Trial(exported, columns, labels)
        counts = word_counts(student_dir, exported.lower_case)
        share = trial.whole.accuracy
        # One standard error.
        margin = math.sqrt(share * (1 - share) / len(labels))
        return cls(exported, trial, trial.whole, counts, margin)

    @functools.cached_property
    def _narrowed(self) -> Narrower:
        return Narrower(self._exported.weights.kernel, self._counts)

    def tried(self, budget_bytes: int) -> list[Smaller]:
        """Return the students whose int8 file fits a budget, the best first.

        The best is the most accurate one; of equals (see `margin`) the one
        that answers most like the whole student, then the one with more
        words.
        """
        if file_bytes(self._exported) <= budget_bytes:
            return [self._measured(self._exported)]
        if self._exported.weights.kind == "linear":
            raise UserError(
                "a linear student cannot be made smaller: which row a pair "
                "of words has depends on the whole vocabulary; its int8 file "
                f"takes {file_bytes(self._exported) / 1e6:.2f} MB"
            )
        tried: list[Smaller] = []
        best = 0.0
        for share in _SHARES:
            lines = max(1, round(share * len(self._exported.vocabulary)))
            cut = cut_vocabulary(self._exported, lines)
            width = widest(cut, budget_bytes)
            size = len(cut.vocabulary), width
            if width < 1 or size in [(one.words, one.width) for one in tried]:
                continue
            one = self._measured(self._narrowed(cut, width))
            tried.append(one)
            best = max(best, one.accuracy)
            # Fewer words would make no room that could be used, or cost
            # still more.
            whole_width = width == cut.weights.vectors.shape[1]
            if whole_width or one.accuracy < best - _FAR_BELOW:
                break
        if not tried:
            least = file_bytes(self._narrowed(cut, 1))
            raise UserError(
                f"a student of {budget_bytes / 1e6:.2f} MB cannot be made of "
                f"this one, the smallest has {least / 1e6:.2f} MB: most of "
                "that is not its words; train one with fewer units"
            )

        def goodness(one: Smaller) -> tuple[bool, float, float]:
            alike = one.accuracy >= best - self._margin
            return alike, one.agreement, one.accuracy

        return sorted(tried, key=goodness, reverse=True)

    def _measured(self, exported: Exported) -> Smaller:
        size = exported.weights.vectors.shape
        if size not in self._scores:
            self._scores[size] = self._measure(exported)
        score = self._scores[size]
        points = 100 * (self._whole.accuracy - score.accuracy)
        return Smaller(exported, *size, file_bytes(exported), *score, points)


class Budget:
    """Chooses the student and the forms whose files have few enough bytes.

    Those of the most exact numbers with which the whole student fits. If it
    fits with none, int8 ones of the smaller student that answers best on
    the selection split.
    """

    def __init__(
        self,
        exported: Exported,
        student_dir: Path,
        wanted: Sequence[str],
        most_bytes: int,
    ) -> None:
        self.bytes = most_bytes
        self._exported = exported
        self._student_dir = student_dir
        self._wanted = [form for form in wanted if form in LITE_FORMS]
        self._shrinker: Shrinker | None = None
        # What the estimate leaves of the budget.
        bundle = any(LITE_FORMS[form].bundle for form in self._wanted)
        self._spare = _bundle_bytes(exported) if bundle else 0
        # Float32, float16, int8.
        for each in (4, 2, 1):
            self.forms = self._of(each)
            size = file_bytes(exported, each)
            self.whole_fits = size <= most_bytes - self._spare
            if self.forms and self.whole_fits:
                break
        if not self.forms:
            small = [name for name, f in LITE_FORMS.items() if 1 in f.budgets]
            raise UserError(
                f"--forms: {', '.join(wanted)} cannot be made so small, "
                f"expected {' or '.join(small)}"
            )

    def tighten(self, bytes_over: int) -> None:
        """Take note that a file was too large; the next one is smaller."""
        self._spare += bytes_over + self.bytes // 200
        self.whole_fits, self.forms = False, self._of(1) or self.forms

    def student(self) -> Exported:
        """Return the best student within the budget."""
        if self.whole_fits:
            return self._exported
        if self._shrinker is None:
            self._shrinker = Shrinker.of_run(self._exported, self._student_dir)
        if self._shrinker is None:
            raise UserError(
                f"{self._student_dir} stands in no run with "
                "data/select.jsonl.gz, expected labelled rows to choose a "
                "smaller student on"
            )
        tried = self._shrinker.tried(self.bytes - self._spare)
        for one in sorted(tried, key=lambda one: -one.words):
            logger.info(
                "%d words x %d: about %.2f MB, %.2f%% on the selection split "
                "(%+.2f points), %.2f%% as the whole student%s",
                one.words,
                one.width,
                one.bytes / 1e6,
                100 * one.accuracy,
                0 - one.points,
                100 * one.agreement,
                ", chosen" if one is tried[0] else "",
            )
        return tried[0].exported

    def _of(self, bytes_per_weight: int) -> list[str]:
        return [
            f for f in self._wanted if bytes_per_weight in LITE_FORMS[f].budgets
        ]


# Budgets, as parts of the whole student's int8 file.
_PARTS = (1.0, 0.6, 0.35, 0.2, 0.12, 0.08)


def measure_sizes(student_dir: Path, reported: Rows) -> list[dict[str, Any]]:
    """Measure the student that `--max-size-mb` gives, for several sizes.

    The size of each is chosen on the selection split, as there. No file is
    made: sizes are estimated, and of the weights only the word vectors are
    rounded (see `Trial`).

    Args:
        student_dir: The student, in its run.
        reported: The rows to measure on.

    Returns:
        From large to small: `bytes` (estimated) of the int8 file, `words`,
        `width`, `accuracy` on the reported rows, and `points` that it is
        below the whole student's. Empty when there are no labelled rows.
        Sizes too small for the student's LSTM are left out.

    Raises:
        UserError: The student or the run's data are damaged.
    """
    exported = load_exported(student_dir)
    if not (reported.labels >= 0).any():
        return []
    shrinker = Shrinker.of_run(exported, student_dir)
    if shrinker is None:
        return []
    trial = Trial(exported, reported.columns, reported.labels)
    sizes: list[dict[str, Any]] = []
    with progress(len(_PARTS), "measuring sizes", "sizes") as bar:
        for part in _PARTS:
            try:
                best, *_ = shrinker.tried(int(part * file_bytes(exported)))
            except UserError:
                break
            score = trial(best.exported)
            sizes.append(
                {
                    "bytes": best.bytes,
                    "words": best.words,
                    "width": best.width,
                    "accuracy": score.accuracy,
                    "points": 100 * (trial.whole.accuracy - score.accuracy),
                }
            )
            bar.update(1)
    return sizes


def selection_cost(
    student: StudentPredictor, student_dir: Path, files: Sequence[Path]
) -> dict[str, dict[str, Any]]:
    """Ask finished files what the whole student is asked.

    By file name `rows` of the selection split that were asked, the file's
    `accuracy` on them, the `points` that it is below the whole student's, and
    `max_abs_logit_difference` to that; accuracy and points are None when the
    split is gone, and there is no difference then.
    """
    columns, labels = selection_rows(student_dir, student.pair)
    if not len(labels):
        logger.warning(
            "%s: no selection split, what the files cost is not known",
            student_dir,
        )
        return {
            path.name: {"rows": 0, "accuracy": None, "points": None}
            for path in files
        }
    said = student.logits(*columns)
    costs = {}
    for asked in ask_forms(map(open_form, files), columns, labels, said):
        found = accuracy(asked.logits, asked.labels)
        points = 100 * (accuracy(asked.expected, asked.labels) - found)
        rows = len(asked.labels)
        off_by = asked.facts()["max_abs_logit_difference"]
        logger.info(
            "%s: %.2f%% on %d rows of the selection split (%+.2f points), "
            "logits off by %.1e at most",
            asked.form.name,
            100 * found,
            rows,
            0 - points,
            off_by,
        )
        cost = {"rows": rows, "accuracy": found, "points": points}
        cost["max_abs_logit_difference"] = off_by
        costs[asked.form.name] = cost
    return costs
