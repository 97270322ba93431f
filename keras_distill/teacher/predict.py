"""The teacher's logits for many texts."""

from collections.abc import Callable, Iterable, Sequence
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
        self._max_length = teacher.cut(max_length)
        self._tokens_per_batch = tokens_per_batch
        self._forward: Callable[[dict[str, np.ndarray]], tf.Tensor] | None
        self._forward = None

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
        if self._forward is None:
            self._forward = self._graph(encoded.columns)
        tokens.real = int(encoded.lengths.sum())
        for rows in sorted_batches(encoded.lengths, self._tokens_per_batch):
            result[rows] = self._forward(encoded.batch(rows)).numpy()
            tokens.padded += padded_tokens(encoded.lengths, rows)
            on_rows(len(rows))
        return result, tokens

    def _graph(self, names: Iterable[str]) -> Callable:
        # One graph for all shapes: a graph made for a shape of its own may
        # round otherwise, and a shard that is labelled again must not
        # depend on what was labelled before it.
        ids = tf.TensorSpec([None, None], tf.int32)
        columns = tf.constant(self._teacher.columns, tf.int32)

        @tf.function(input_signature=[dict.fromkeys(names, ids)])
        def forward(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            logits = self._teacher.model(inputs, training=False).logits
            return tf.cast(tf.gather(logits, columns, axis=1), tf.float32)

        return forward
