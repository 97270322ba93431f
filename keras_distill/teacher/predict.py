"""The teacher's logits for many texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_distill.data.examples import Example
from keras_distill.teacher.batches import (
    encode,
    padded_tokens,
    sorted_batches,
)
from keras_distill.teacher.checkpoint import Teacher


@dataclass
class Tokens:
    """How many tokens went through the teacher, real and with padding."""

    real: int = 0
    padded: int = 0


class Predictor:
    """Runs the teacher in length-sorted batches."""

    def __init__(
        self, teacher: Teacher, max_length: int, tokens_per_batch: int
    ) -> None:
        """Trace nothing yet; the first call does.

        Args:
            teacher: The loaded teacher.
            max_length: Longest input in tokens.
            tokens_per_batch: Most padded tokens in a batch.
        """
        self._teacher = teacher
        self._max_length = max_length
        self._tokens_per_batch = tokens_per_batch
        columns = tf.constant(teacher.columns, tf.int32)

        @tf.function(reduce_retracing=True)
        def forward(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            logits = teacher.model(inputs, training=False).logits
            return tf.cast(tf.gather(logits, columns, axis=1), tf.float32)

        self._forward = forward

    def logits(
        self,
        examples: Sequence[Example],
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> tuple[np.ndarray, Tokens]:
        """Return logits in the order of the examples.

        Args:
            examples: All in memory at once.
            on_rows: Called with the number of rows just done.

        Returns:
            float32 [examples, classes] in the task's class order, and the
            tokens spent.
        """
        result = np.zeros(
            (len(examples), len(self._teacher.columns)), np.float32
        )
        tokens = Tokens()
        if not examples:
            return result, tokens
        encoded = encode(self._teacher.tokenizer, examples, self._max_length)
        tokens.real = int(encoded.lengths.sum())
        for rows in sorted_batches(encoded.lengths, self._tokens_per_batch):
            result[rows] = self._forward(encoded.batch(rows)).numpy()
            tokens.padded += padded_tokens(encoded.lengths, rows)
            on_rows(len(rows))
        return result, tokens
