"""The record: one row of the transfer set as a `tf.train.Example`.

Safe in the teacher's and in the student's process: only `tf.io` and
`tf.train` are used here, never Keras.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from keras_distill.data.examples import Example
from keras_distill.errors import UserError

ORIGINAL = 0
AUGMENTED = 1
UNLABELED = 2

# The keys of the counts in results.json and in the manifest.
SOURCE_NAMES = {
    ORIGINAL: "original",
    AUGMENTED: "augmented",
    UNLABELED: "unlabelled",
}

NO_LABEL = -1


def encode(
    example: Example, teacher_logits: Sequence[float], source: int
) -> bytes:
    """Serialise one labelled-by-the-teacher row.

    Only original rows keep a gold label: a label would not survive the
    noise of augmentation (Tang et al. 2019, section 3.3).

    Args:
        example: The texts, the gold label if there is one, the id.
        teacher_logits: One number per class, in the order of the manifest's
            labels; stored as float32.
        source: `ORIGINAL`, `AUGMENTED` or `UNLABELED`.

    Returns:
        The same bytes for the same arguments in every process.

    Raises:
        UserError: The teacher gave a logit that is no finite number.
        ValueError: `source` is unknown or there are no logits.
    """
    if source not in SOURCE_NAMES:
        raise ValueError(
            f"source is {source!r}, expected one of {sorted(SOURCE_NAMES)}"
        )
    logits = [float(logit) for logit in teacher_logits]
    if not logits:
        raise ValueError("teacher_logits is empty")
    if not all(map(math.isfinite, logits)):
        raise UserError(
            f"the teacher's logits for row {example.id!r} are {logits}, "
            "expected finite numbers"
        )
    label = NO_LABEL
    if source == ORIGINAL and example.label is not None:
        label = example.label
    features = {
        "text_a": _bytes(example.text_a),
        "label": _integer(label),
        "teacher_logits": tf.train.Feature(
            float_list=tf.train.FloatList(value=logits)
        ),
        "source": _integer(source),
        "id": _bytes(example.id),
    }
    if example.text_b is not None:
        features["text_b"] = _bytes(example.text_b)
    record = tf.train.Example(features=tf.train.Features(feature=features))
    # Maps have no order of their own on the wire; checksums need one.
    return record.SerializeToString(deterministic=True)


def parse(
    serialized: tf.Tensor, pair: bool, num_classes: int | None = None
) -> dict[str, tf.Tensor]:
    """Parse a batch of records; works in `tf.data` and eagerly.

    Args:
        serialized: string [batch].
        pair: Whether the records hold `text_b`.
        num_classes: The number of teacher logits; None takes what is there.

    Returns:
        `text_a`, `id` (and `text_b` for pairs): string [batch]; `label`:
        int32 [batch], -1 when unknown; `source`: int32 [batch];
        `teacher_logits`: float32 [batch, classes].

    Raises:
        tf.errors.InvalidArgumentError: A record is damaged, lacks a field,
            or has another number of logits than `num_classes`.
    """
    if num_classes is None:
        logits = tf.io.FixedLenSequenceFeature(
            [], tf.float32, allow_missing=True
        )
    else:
        logits = tf.io.FixedLenFeature([num_classes], tf.float32)
    features = {
        "text_a": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "teacher_logits": logits,
        "source": tf.io.FixedLenFeature([], tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
    }
    if pair:
        features["text_b"] = tf.io.FixedLenFeature([], tf.string)
    row = tf.io.parse_example(serialized, features)
    row["label"] = tf.cast(row["label"], tf.int32)
    row["source"] = tf.cast(row["source"], tf.int32)
    return row


def _bytes(text: str) -> tf.train.Feature:
    value = tf.train.BytesList(value=[text.encode("utf-8")])
    return tf.train.Feature(bytes_list=value)


def _integer(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
