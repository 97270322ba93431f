"""The teacher's logits, in batches of like length."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from keras_distill.cli import one_line
from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.teacher.checkpoint import Teacher
from keras_distill.teacher.fused import fused, rounded_kernels
from keras_distill.transfer_set.labeller import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Training batches are made of like lengths within such a window, so that
# batches differ from epoch to epoch while little padding is needed.
_BATCHES_PER_WINDOW = 50

# Most padded tokens per real one in a batch of the teacher's predictions.
_MAX_PADDING = 1.08

# The tokenizer's own result takes many times the memory of the ids.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Encoded:
    """Token ids of many texts, not padded.

    Attributes:
        columns: Column name (`input_ids`, `token_type_ids`, ...) to a list
            of int32 arrays, one a text, each of shape [length].
        lengths: int32 [texts].
        padding: Column name to the value that fills short rows.
        left: Whether short rows are filled on the left (XLNet).
    """

    columns: dict[str, list[np.ndarray]]
    lengths: np.ndarray
    padding: dict[str, int]
    left: bool = False

    def batch(self, rows: Sequence[int]) -> dict[str, np.ndarray]:
        """Return rows as int32 [rows, longest], padded."""
        longest = int(self.lengths[rows].max())
        batch = {}
        for name, values in self.columns.items():
            array = np.full((len(rows), longest), self.padding[name], np.int32)
            for i, row in enumerate(rows):
                length = int(self.lengths[row])
                start = longest - length if self.left else 0
                array[i, start : start + length] = values[row]
            batch[name] = array
        return batch


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    examples: Sequence[Example],
    max_length: int,
) -> Encoded:
    """Tokenize sentences or pairs; longer ones are cut to `max_length`.

    `[MASK]`, which augmentation writes, becomes the teacher's own mask.
    """
    mask = tokenizer.mask_token or tokenizer.unk_token or ""

    def own(text: str) -> str:
        return text.replace("[MASK]", mask)

    pair = bool(examples) and examples[0].text_b is not None
    wanted = {*tokenizer.model_input_names, "attention_mask"}
    columns: dict[str, list[np.ndarray]] = defaultdict(list)
    for start in range(0, len(examples), _ROWS_AT_ONCE):
        part = examples[start : start + _ROWS_AT_ONCE]
        output = tokenizer(
            [own(e.text_a) for e in part],
            [own(e.text_b or "") for e in part] if pair else None,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=True,
        )
        for name in output:
            if name in wanted:
                columns[name] += [np.asarray(r, np.int32) for r in output[name]]
    padding = dict.fromkeys(columns, 0)
    padding["input_ids"] = tokenizer.pad_token_id or 0
    padding["token_type_ids"] = tokenizer.pad_token_type_id
    lengths = [len(row) for row in columns["input_ids"]]
    return Encoded(
        dict(columns),
        np.asarray(lengths, np.int32),
        padding,
        left=tokenizer.padding_side == "left",
    )


def sorted_batches(
    lengths: np.ndarray,
    tokens_per_batch: int,
    max_padding: float = _MAX_PADDING,
) -> Iterator[np.ndarray]:
    """Cut rows, longest first, into batches of bounded size and padding.

    Longest first shows at once whether the memory suffices. In a small set
    a batch ends before its tokens are used up, where lengths fall fast.

    Args:
        lengths: int32 [rows], in tokens.
        tokens_per_batch: Most tokens of a batch, padding included.
        max_padding: Most padded tokens per real one; 1.0 for none.

    Yields:
        Indices of rows, int64.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        most = max(1, tokens_per_batch // longest)
        real = np.cumsum(lengths[order[start : start + most]])
        padded = longest * np.arange(1, len(real) + 1)
        # Lengths fall, so this holds up to some row and never again.
        count = int(np.sum(padded <= max_padding * real))
        yield order[start : start + count]
        start += count


def shuffled_batches(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return an epoch's training batches: random, of like lengths."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches = []
    window = batch_size * _BATCHES_PER_WINDOW
    for start in range(0, len(order), window):
        rows = order[start : start + window]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [
            rows[i : i + batch_size] for i in range(0, len(rows), batch_size)
        ]
    return [batches[i] for i in rng.permutation(len(batches))]


def padded_tokens(lengths: np.ndarray, rows: np.ndarray) -> int:
    """Return how many tokens a batch of these rows has after padding."""
    return len(rows) * int(lengths[rows].max())


def check_answers(
    name: str, teacher: Teacher, examples: Sequence[Example], max_length: int
) -> None:
    """Ask a teacher for the logits of the two longest rows.

    Before hours of work: what does not run, or gives no numbers, is found in
    seconds.

    Args:
        name: The checkpoint, for messages.
        teacher: The teacher.
        examples: Rows of the run.
        max_length: As in the settings.

    Raises:
        UserError: The forward pass fails, or its logits are not finite
            numbers, one a class.
    """

    def length(example: Example) -> int:
        return len(example.text_a) + len(example.text_b or "")

    rows = heapq.nlargest(2, examples, key=length)
    encoded = encode(teacher.tokenizer, rows, teacher.cut(max_length))
    try:
        batch = encoded.batch(range(len(rows)))
        answer = teacher.model(batch, training=False).logits
        logits = tf.cast(answer, tf.float32).numpy()
    # TensorFlow's and Keras' errors have no other common type.
    except Exception as error:
        raise UserError(
            f"teacher {name} cannot read the rows of this run: "
            f"{one_line(error)}. Do its tokenizer and its weights belong "
            "together?"
        ) from error
    expected = (len(rows), len(teacher.columns))
    if logits.shape != expected:
        raise UserError(
            f"teacher {name} gives logits of shape {list(logits.shape)} for "
            f"{len(rows)} rows, expected {list(expected)}: one a class"
        )
    if not np.isfinite(logits).all():
        raise UserError(
            f"teacher {name} gives the logits {logits.tolist()}, expected "
            "finite numbers: its weights are damaged, or too large for the "
            "precision (--precision float32)"
        )


class Predictor:
    """Runs the teacher in length-sorted batches."""

    def __init__(
        self, teacher: Teacher, max_length: int, tokens_per_batch: int
    ) -> None:
        """Trace nothing yet; the first call does."""
        self._teacher = teacher
        self._max_length = teacher.cut(max_length)
        self._batches = partial(
            sorted_batches,
            tokens_per_batch=tokens_per_batch,
            max_padding=1.0 if teacher.reads_padding else _MAX_PADDING,
        )
        self._kernels = rounded_kernels(teacher.model)
        self._forward: Callable | None = None

    def logits(
        self,
        examples: Sequence[Example],
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> tuple[np.ndarray, Tokens]:
        """Return logits in the order of the examples, and the tokens spent.

        The logits are float32 [examples, classes] in the task's class order.
        `on_rows` is called with the number of rows just done.
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
        for rows in self._batches(encoded.lengths):
            result[rows] = self._forward(encoded.batch(rows)).numpy()
            tokens.padded += padded_tokens(encoded.lengths, rows)
            on_rows(len(rows))
        return result, tokens

    def mean_states(
        self,
        encoded: Encoded,
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """Return the mean of the last hidden states of each text.

        Args:
            encoded: The texts; padding does not count.
            on_rows: Called with the number of rows just done.

        Returns:
            float32 [texts, hidden].
        """
        ids = tf.TensorSpec([None, None], tf.int32)

        @tf.function(
            input_signature=[dict.fromkeys(encoded.columns, ids)],
            autograph=self._teacher.needs_autograph,
        )
        def means(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            with fused(self._teacher.model, self._kernels):
                output = self._teacher.model(
                    inputs, training=False, output_hidden_states=True
                )
            if "hidden_states" in output:
                states = output.hidden_states[-1]
            else:
                # BART's, of its encoder.
                states = output.encoder_last_hidden_state
            mask = tf.cast(inputs["attention_mask"], tf.float32)[..., None]
            total = tf.reduce_sum(tf.cast(states, tf.float32) * mask, axis=1)
            return total / tf.reduce_sum(mask, axis=1)

        result = None
        for rows in self._batches(encoded.lengths):
            part = means(encoded.batch(rows)).numpy()
            if result is None:
                shape = (len(encoded.lengths), part.shape[1])
                result = np.zeros(shape, np.float32)
            result[rows] = part
            on_rows(len(rows))
        return result

    def _graph(self, names: Iterable[str]) -> Callable:
        # One graph for all shapes: a graph made for a shape of its own may
        # round otherwise, and a shard that is labelled again must not
        # depend on what was labelled before it.
        ids = tf.TensorSpec([None, None], tf.int32)
        columns = tf.constant(self._teacher.columns, tf.int32)

        @tf.function(
            input_signature=[dict.fromkeys(names, ids)],
            autograph=self._teacher.needs_autograph,
        )
        def forward(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            with fused(self._teacher.model, self._kernels):
                logits = self._teacher.model(inputs, training=False).logits
            return tf.cast(tf.gather(logits, columns, axis=1), tf.float32)

        return forward
