"""What TensorBoard shows beside the curves."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import yaml
from tensorboard.plugins import projector

from keras_distill.config import Config
from keras_distill.display import can_draw, markdown_table
from keras_distill.events import rewritten
from keras_distill.export.calibration import stored_temperature
from keras_distill.files import write_bytes, write_text
from keras_distill.metrics import softmax
from keras_distill.report.charts import (
    augmentation_examples,
    augmentation_table,
    confusion_matrix,
    logit_scatter,
    reliability_diagram,
    risk_coverage_curve,
    shortened,
    transfer_set_chart,
    write_picture,
)
from keras_distill.student.layers import WordVectors
from keras_distill.student.predictor import (
    StudentPredictor,
    forward_function,
)
from keras_distill.student.text import MASK_ID, SPECIALS, StudentTokenizer
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import (
    SOURCE_NAMES,
    Rows,
    parse,
)

logger = logging.getLogger(__name__)

_RUN = "report"
# Of a larger split the first rows are enough for a picture.
_MOST_ROWS = 20_000
# Of the transfer set, too; shards are mixed, so the first ones are as good as
# any.
_MOST_COUNTED = 200_000
_ROWS_AT_ONCE = 4096
# The projector's page looks at no more points at a time.
_MOST_WORDS = 10_000
_MOST_CLASSES = 10
_VECTORS, _METADATA = "words.bytes", "words.tsv"
_MOST_TEXTS = 25
_MOST_CHARACTERS = 400
_ESCAPED = {ord(sign): f"&#{ord(sign)};" for sign in "\\`*_[]#<>&|"}


@dataclass(frozen=True)
class Shown:
    """A student and what it said to rows of a split, float [rows, classes].

    `results` are those of the whole run, or none.
    """

    student: StudentPredictor
    manifest: Manifest
    split: str
    rows: Rows
    logits: np.ndarray
    results: dict[str, Any] = field(default_factory=dict)

    def first(self, most: int) -> "Shown":
        """Return the first rows, and their number in the name."""
        total = len(self.rows)
        if total <= most:
            return self
        rows = Rows(
            [column[:most] for column in self.rows.columns],
            self.rows.labels[:most],
            self.rows.teacher_logits[:most],
        )
        name = f"{self.split} (first {most:,} of {total:,} rows)"
        return replace(self, split=name, rows=rows, logits=self.logits[:most])


def write_extras(
    run_dir: Path, config: Config, card: str, shown: Shown
) -> None:
    """Write what TensorBoard shows of a run beside its curves.

    Pictures (where matplotlib is installed), texts, word vectors and the
    student's graph replace what was in `RUN/logs/report`.
    """
    place = run_dir / "logs" / _RUN
    shown = shown.first(_MOST_ROWS)
    student, manifest = shown.student, shown.manifest
    statistics = read_statistics(
        manifest.files(run_dir / "transfer_set", "train"),
        student.tokenizer,
        manifest.pair,
        len(manifest.labels),
    )
    write_projector(
        place,
        student.model,
        student.tokenizer.vocabulary,
        manifest.labels,
        statistics,
    )
    with rewritten(place, _RUN):
        tf.summary.text("1 model card", card)
        tf.summary.text("2 configuration", _configuration(config))
        if shown.rows.answered:
            worst = disagreements(
                shown.rows, shown.logits, manifest.labels, shown.split
            )
            tf.summary.text("3 worst disagreements", worst)
        graph = forward_function(student.model).get_concrete_function()
        tf.summary.graph(graph.graph)
        if can_draw():
            _write_pictures(run_dir, shown, statistics)
            if shown.results:
                write_picture(
                    "calibration/risk_coverage",
                    risk_coverage_curve(shown.results),
                    "How often the student errs on the texts that it is most "
                    "sure of, by how many of them it keeps",
                )


def _write_pictures(
    run_dir: Path, shown: Shown, statistics: "Statistics"
) -> None:
    rows, names, split = shown.rows, shown.manifest.labels, shown.split
    ours, theirs = shown.logits, rows.teacher_logits
    if (rows.labels >= 0).any():
        said = {"student": ours}
        if rows.answered:
            said["teacher"] = theirs
        for who, logits in said.items():
            title = f"{who}, {split}"
            write_picture(
                f"confusion/{who}",
                confusion_matrix(logits, rows.labels, names, title),
                f"What the {who} says to the rows of each label",
            )
        temperature = stored_temperature(run_dir / "export")
        title = f"student, {split}"
        write_picture(
            "calibration/reliability",
            reliability_diagram(ours, rows.labels, temperature, title),
            "Accuracy of the rows of like confidence; numbers are rows. On "
            "the dashed line probabilities are frequencies.",
        )
    if rows.answered:
        write_picture(
            "logits/student_against_teacher",
            logit_scatter(ours, theirs, rows.labels, names, split),
            "A point is a row; on the dashed line the student says what the "
            "teacher says. Upper left and lower right they choose differently.",
        )
    write_picture(
        "transfer_set/lengths_and_sources",
        transfer_set_chart(statistics.lengths, shown.manifest.counts),
        "Words as the student splits them; a pair is one row",
    )
    if examples := augmentation_examples(run_dir):
        write_picture(
            "transfer_set/augmentation",
            augmentation_table(examples),
            "Training texts and what augmentation made of them",
        )


@dataclass
class Statistics:
    """Counts over rows of the transfer set.

    Attributes:
        frequency: int64 [words], how often each word occurs.
        rows_with: int64 [words], rows that hold it.
        logit_sums: float64 [words, classes], the teacher's logits, added up
            over the rows that hold it.
        lengths: By source the number of words of each row, int32 [rows].
    """

    frequency: np.ndarray
    rows_with: np.ndarray
    logit_sums: np.ndarray
    lengths: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def mean_logits(self) -> np.ndarray:
        """Mean teacher logits of the rows with a word, [words, classes]."""
        return self.logit_sums / np.maximum(self.rows_with, 1)[:, None]


def read_statistics(
    files: Sequence[Path],
    tokenizer: StudentTokenizer,
    pair: bool,
    classes: int,
    most_rows: int = _MOST_COUNTED,
) -> Statistics:
    """Count over training rows of the transfer set; a pair is one text."""
    words = len(tokenizer)
    found = Statistics(
        np.zeros(words, np.int64),
        np.zeros(words, np.int64),
        np.zeros((words, classes)),
    )
    lengths = {name: [] for name in SOURCE_NAMES.values()}
    records = tf.data.TFRecordDataset([str(path) for path in files])
    for chunk in records.take(most_rows).batch(_ROWS_AT_ONCE):
        row = parse(chunk, pair, classes)
        ids = tokenizer(row["text_a"])
        if pair:
            ids = tf.concat([ids, tokenizer(row["text_b"])], axis=1)
        _count(found, ids, row["teacher_logits"].numpy().astype(np.float64))
        source, length = row["source"].numpy(), ids.row_lengths().numpy()
        for number, name in SOURCE_NAMES.items():
            lengths[name].append(length[source == number])
    found.lengths = {
        name: np.concatenate(parts)
        for name, parts in lengths.items()
        if sum(map(len, parts))
    }
    return found


def _count(found: Statistics, ids: tf.RaggedTensor, logits: np.ndarray) -> None:
    words = len(found.frequency)
    values = ids.flat_values.numpy().astype(np.int64)
    found.frequency += np.bincount(values, minlength=words)
    # A word that comes twice in a row counts its logits once.
    places = np.unique(ids.value_rowids().numpy() * words + values)
    row, word = places // words, places % words
    found.rows_with += np.bincount(word, minlength=words)
    for sums, column in zip(found.logit_sums.T, logits.T, strict=True):
        sums += np.bincount(word, column[row], minlength=words)


def write_projector(
    folder: Path,
    model: keras.Model,
    vocabulary: Sequence[str],
    labels: Sequence[str],
    statistics: Statistics,
    most_words: int = _MOST_WORDS,
) -> bool:
    """Write the most frequent words' trained vectors for the projector.

    Say whether there are any: a student with frozen vectors alone has none.
    """
    table = trainable_vectors(model)
    if table is None:
        logger.info("no word vectors for the projector: all are frozen")
        return False
    words = _most_frequent(statistics, most_words)
    folder = Path(folder)
    write_bytes(
        folder / _VECTORS, np.ascontiguousarray(table[words]).data.cast("B")
    )
    lines = _metadata(words, vocabulary, labels, statistics)
    write_text(folder / _METADATA, "".join(f"{line}\n" for line in lines))
    config = projector.ProjectorConfig()
    config.embeddings.add(
        tensor_name=f"trainable word vectors ({len(words):,} words)",
        tensor_path=_VECTORS,
        tensor_shape=[len(words), table.shape[1]],
        metadata_path=_METADATA,
    )
    write_text(folder / "projector_config.pbtxt", str(config))
    return True


def trainable_vectors(model: keras.Model) -> np.ndarray | None:
    """Return a student's trained vectors, float32 [words, width], or None."""
    for layer in model.layers:
        # A linear student's rows are no vectors: a number for each class.
        linear = model.name == "linear"
        if isinstance(layer, WordVectors) and layer.trainable and not linear:
            return layer.get_weights()[0].astype(np.float32)
    return None


def _most_frequent(statistics: Statistics, most_words: int) -> np.ndarray:
    frequency = statistics.frequency.copy()
    # Of the special tokens only [MASK] is a word of the transfer set.
    frequency[[word for word in range(len(SPECIALS)) if word != MASK_ID]] = 0
    order = np.argsort(-frequency, kind="stable")
    return order[frequency[order] > 0][:most_words]


def _metadata(
    words: np.ndarray,
    vocabulary: Sequence[str],
    labels: Sequence[str],
    statistics: Statistics,
) -> Iterable[str]:
    logits = statistics.mean_logits[words]
    columns = {}
    if len(labels) == 2:
        margin = f"teacher margin: {labels[1]} - {labels[0]}"
        columns[margin] = logits[:, 1] - logits[:, 0]
    for label, column in zip(labels[:_MOST_CLASSES], logits.T, strict=False):
        columns[f"teacher logit: {label}"] = column
    yield "\t".join(["word", "frequency", *map(_cell, columns)])
    for place, word in enumerate(words):
        yield "\t".join(
            [
                _cell(vocabulary[word]),
                str(statistics.frequency[word]),
                *(f"{column[place]:.3f}" for column in columns.values()),
            ]
        )


def _cell(text: str) -> str:
    return " ".join(text.split()) or "?"


def _configuration(config: Config) -> str:
    """Return the resolved configuration as a block of YAML."""
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    # Indented and not fenced: no value can end such a block.
    return "\n".join(f"    {line}" for line in text.splitlines())


def disagreements(
    rows: Rows,
    student: np.ndarray,
    labels: Sequence[str],
    split: str,
    most: int = _MOST_TEXTS,
) -> str:
    """Return the rows of a split on which the answers differ most."""
    ours, theirs = softmax(student), softmax(rows.teacher_logits)
    # Total variation: by how much the answer's probability can differ.
    distance = np.abs(ours - theirs).sum(axis=-1) / 2
    apart = ours.argmax(axis=-1) != theirs.argmax(axis=-1)
    order = np.argsort(-distance, kind="stable")
    chosen = [row for row in order if apart[row]][:most]
    head = (
        f"Teacher and student choose different classes on {apart.sum():,} of "
        f"{len(rows):,} rows of {split}. Those whose probabilities are "
        "furthest apart:"
    )
    if not chosen:
        return (
            f"Teacher and student agree on all {len(rows):,} rows of {split}."
        )
    table = markdown_table(
        ["text", "label", "teacher says", "student says", "distance"],
        [
            [
                _text_cell(" / ".join(column[row] for column in rows.columns)),
                _text_cell(labels[rows.labels[row]])
                if rows.labels[row] >= 0
                else "",
                _said(theirs[row], labels),
                _said(ours[row], labels),
                f"{distance[row]:.2f}",
            ]
            for row in chosen
        ],
    )
    return f"{head}\n\n{table}"


def _said(probabilities: np.ndarray, labels: Sequence[str]) -> str:
    best = int(probabilities.argmax())
    return f"{_cell(labels[best])} ({100 * probabilities[best]:.0f}%)"


def _text_cell(text: str) -> str:
    """Return a text that Markdown and HTML leave as it is."""
    text = shortened(" ".join(text.split()), _MOST_CHARACTERS)
    return text.translate(_ESCAPED)
