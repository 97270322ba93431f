"""The student's word vectors for TensorBoard's Projector."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
from tensorboard.plugins import projector

from keras_distill.files import write_bytes, write_text
from keras_distill.report.tensorboard.statistics import Statistics
from keras_distill.student.layers import WordVectors
from keras_distill.student.text import MASK, SPECIALS

logger = logging.getLogger(__name__)

# The page itself looks at no more than 10,000 points at a time.
MOST_WORDS = 10_000
_MOST_CLASSES = 10

_VECTORS, _METADATA = "words.bytes", "words.tsv"


def write_projector(
    folder: Path,
    model: keras.Model,
    vocabulary: Sequence[str],
    labels: Sequence[str],
    statistics: Statistics,
    most_words: int = MOST_WORDS,
) -> bool:
    """Write the trainable word vectors, the most frequent words of them.

    Args:
        folder: Where TensorBoard looks; gets `projector_config.pbtxt`,
            `words.bytes` (float32) and `words.tsv`.
        model: The student.
        vocabulary: Its words in the order of their ids.
        labels: Class names in logit order.
        statistics: Of the transfer set.
        most_words: Words at most.

    Returns:
        Whether there are vectors to show: a student with frozen vectors
        alone has learnt none.
    """
    table = trainable_vectors(model)
    if table is None:
        logger.info("no word vectors for the projector: all are frozen")
        return False
    words = _most_frequent(vocabulary, statistics, most_words)
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
        if isinstance(layer, WordVectors) and layer.trainable:
            return layer.get_weights()[0].astype(np.float32)
    return None


def _most_frequent(
    vocabulary: Sequence[str], statistics: Statistics, most_words: int
) -> np.ndarray:
    order = np.argsort(-statistics.frequency, kind="stable")
    shown = {*range(len(vocabulary))} - {
        number for number, word in enumerate(SPECIALS) if word != MASK
    }
    occurs = [
        word
        for word in order
        if word in shown and statistics.frequency[word] > 0
    ]
    return np.asarray(occurs[:most_words], np.int64)


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
