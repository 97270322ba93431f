"""The TFLite files: graphs of the student, and their conversion."""

import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.export.student import (
    IDS,
    TEXTS,
    Exported,
)
from keras_distill.student.formulas import answer, hashed_pairs
from keras_distill.student.text import PAD_ID, UNK_ID, StudentTokenizer
from keras_distill.student.weights import StudentWeights

SIGNATURE = "serving_default"

# Each one is a word by itself to BERT's splitter.
_STRAIGHT = {quote: normalize(quote) for quote in "\u2018\u2019\u201c\u201d`"}


class RawTextTokenizer:
    """Turns text into word ids by ops that TFLite can run."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        lower_case: bool,
        max_length: int | None,
    ) -> None:
        words = list(dict.fromkeys([*vocabulary, *_STRAIGHT]))
        lines = {word: line for line, word in enumerate(words)}
        ids = np.arange(len(words), dtype=np.int32)
        for quote, straight in _STRAIGHT.items():
            ids[lines[quote]] = lines.get(straight, UNK_ID)
        self._ids = ids
        self._tokenizer = StudentTokenizer(
            words, lower_case, max_length, protect_mask=False
        )

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Look up the ids of texts, padded with 0 to the longest."""
        return tf.gather(self._ids, self._tokenizer.dense(texts))


def read_alike(texts: Sequence[str], tokenizer: StudentTokenizer) -> list[bool]:
    """Tell which texts a graph has to read as the student does.

    Found without `RawTextTokenizer`, which is held to it.
    """
    unprotected = StudentTokenizer(
        tokenizer.vocabulary,
        tokenizer.lower_case,
        tokenizer.max_length,
        protect_mask=False,
    )
    marks = str.maketrans(_STRAIGHT)
    in_graph = unprotected(tf.constant([t.translate(marks) for t in texts]))
    students = tokenizer(tf.constant(list(map(normalize, texts))))
    return [
        found == expected
        for found, expected in zip(
            in_graph.to_list(), students.to_list(), strict=True
        )
    ]


# Of narrower vectors a scale each would be no smaller than they are.
_NARROW = 16

# The largest scale of a table's rows in units; float32 holds it exactly.
_STEPS = 2**23


class Table(tf.Module):
    """Word vectors, float32 [words, width], to be looked up.

    As a variable: until the converter has it, TensorFlow copies a graph with
    all of its constants a dozen times. With `int8` they are whole numbers with
    one scale for each word: the converter would quantise the table with one
    scale for all words, and unpack it when loaded.
    """

    def __init__(self, vectors: np.ndarray, int8: bool) -> None:
        super().__init__()
        self._int8 = int8
        if int8:
            self._numbers, self._scales, self._unit = quantized_rows(vectors)
        else:
            self._vectors = tf.Variable(vectors, trainable=False)

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the vectors of ids, float32 [ids, width]."""
        if not self._int8:
            return tf.gather(self._vectors, ids)
        found = tf.cast(tf.gather(self._numbers, ids), tf.float32)
        scales = tf.cast(tf.gather(self._scales, ids), tf.float32)
        return found * (scales * self._unit)


class LiteGraph:
    """The forward pass of a student, with `int8_vectors` as `Table` has them.

    Attributes:
        table: The word vectors.
    """

    def __init__(
        self, weights: StudentWeights, int8_vectors: bool = False
    ) -> None:
        self._weights = weights
        # A scale would be as large as what it scales.
        narrow = weights.vectors.shape[1] < _NARROW
        self.table = Table(weights.vectors, int8_vectors and not narrow)
        self._kernel, self._bias = weights.kernel, weights.bias
        if weights.recurrent_kernel is not None:
            # Gates i, f, o, g: one sigmoid for three that stand together.
            self._kernel, self._bias, self._recurrent_kernel = (
                _sigmoids_first(array, weights.units)
                for array in (
                    weights.kernel,
                    weights.bias,
                    weights.recurrent_kernel,
                )
            )

    def logits(
        self, ids_a: tf.Tensor, ids_b: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Compute logits, float32 [batch, classes].

        Ids are int32 [batch, len]; 0 is padding, on the right. The two texts
        of a pair may have another len.
        """
        if not self._weights.pair:
            return answer(self, self._weights, ids_a)
        length = tf.maximum(tf.shape(ids_a)[1], tf.shape(ids_b)[1])
        both = _widened(ids_a, length), _widened(ids_b, length)
        return answer(_Both(self, both), self._weights, *both)

    def projected(self, ids: tf.Tensor) -> tf.Tensor:
        """Return words by the kernel, float32 [batch, len, columns]."""
        batch, length = tf.shape(ids)[0], tf.shape(ids)[1]
        found = self._read(tf.reshape(ids, [-1]))
        return tf.reshape(found, [batch, length, len(self._bias)])

    def pairs(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the rows of pairs of words."""
        return tf.gather(self._weights.rest["pairs"], hashed_pairs(ids))

    def ends(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the last states, float32 [batch, 2 * units]."""
        state, _ = self._run(ids, every=False)
        return tf.concat(tf.split(state, 2, axis=0), axis=-1)

    def states(self, ids: tf.Tensor) -> tf.Tensor:
        """Return all states, float32 [batch, len, 2 * units]."""
        _, states = self._run(ids, every=True)
        forward, backward = tf.split(states, 2, axis=1)
        both = [forward, tf.reverse(backward, axis=[0])]
        return tf.transpose(tf.concat(both, axis=-1), [1, 0, 2])

    def _run(
        self, ids: tf.Tensor, every: bool
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return the last states [2 * batch, units] and, if asked, all.

        Those are [len, 2 * batch, units].
        """
        units = self._weights.units
        batch, length = tf.shape(ids)[0], tf.shape(ids)[1]
        # Time first, so that a step's rows lie together.
        ids = tf.transpose(ids)
        gates = self._read(tf.reshape(ids, [-1]))
        gates = tf.reshape(gates, [length, batch, 8 * units])
        words = tf.expand_dims(tf.cast(ids != PAD_ID, tf.float32), axis=-1)

        def step(
            time: tf.Tensor, state: tf.Tensor, cell: tf.Tensor, *states: Any
        ):
            back = length - 1 - time
            forward, backward = tf.split(state, 2, axis=0)
            product = tf.concat(
                [
                    tf.gather(gates, time)[:, : 4 * units]
                    + tf.matmul(forward, self._recurrent_kernel[0]),
                    tf.gather(gates, back)[:, 4 * units :]
                    + tf.matmul(backward, self._recurrent_kernel[1]),
                ],
                axis=0,
            )
            opening = tf.sigmoid(product[:, : 3 * units])
            i, f, o = tf.split(opening, 3, axis=-1)
            new_cell = f * cell + i * tf.tanh(product[:, 3 * units :])
            new_state = o * tf.tanh(new_cell)
            keep = tf.concat(
                [tf.gather(words, time), tf.gather(words, back)], axis=0
            )
            state = state + keep * (new_state - state)
            cell = cell + keep * (new_cell - cell)
            # No list of tensors, and no tensor that grows: those are no
            # builtins of TFLite. Adding to all of it is as fast as a scatter.
            states = [
                array + tf.cast(tf.equal(places, time), tf.float32) * state
                for array in states
            ]
            return time + 1, state, cell, *states

        zeros = tf.zeros([2 * batch, units])
        places = tf.reshape(tf.range(length), [-1, 1, 1])
        states = [tf.zeros([length, 2 * batch, units])] if every else []
        _, state, _, *states = tf.while_loop(
            lambda time, *_: time < length, step, (0, zeros, zeros, *states)
        )
        return state, states[0] if every else None

    def _read(self, ids: tf.Tensor) -> tf.Tensor:
        """Look up and project; return [ids, columns]."""
        return tf.matmul(self.table.rows(ids), self._kernel) + self._bias


class _Both:
    """Reads both texts of a pair as one batch.

    They are of one length, and what is asked about one is asked about the
    other: a recurrence runs once.
    """

    def __init__(self, graph: LiteGraph, texts: Sequence[tf.Tensor]) -> None:
        self._graph = graph
        self._texts = texts
        self._read: dict[str, list[tf.Tensor]] = {}

    def projected(self, ids: tf.Tensor) -> tf.Tensor:
        """See `LiteGraph`."""
        return self._of("projected", ids)

    def states(self, ids: tf.Tensor) -> tf.Tensor:
        """See `LiteGraph`."""
        return self._of("states", ids)

    def ends(self, ids: tf.Tensor) -> tf.Tensor:
        """See `LiteGraph`."""
        return self._of("ends", ids)

    def _of(self, what: str, ids: tf.Tensor) -> tf.Tensor:
        if what not in self._read:
            read = getattr(self._graph, what)(tf.concat(self._texts, axis=0))
            self._read[what] = tf.split(read, 2, axis=0)
        first, second = self._read[what]
        return first if ids is self._texts[0] else second


def quantized_rows(
    table: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Quantise a table with one scale for each row.

    Numbers are int8 [rows, width], scales int32 [rows, 1] in a unit: the
    product of the three is nearly the table. Scales are whole numbers, too:
    float ones the converter would quantise.
    """
    scales = np.abs(table).max(axis=1, keepdims=True) / 127
    unit = np.float32(max(scales.max(), np.finfo(np.float32).tiny) / _STEPS)
    steps = np.maximum(np.ceil(scales / unit), 1)
    numbers = np.round(table / (steps * unit))
    return numbers.astype(np.int8), steps.astype(np.int32), unit


def _sigmoids_first(array: np.ndarray, units: int) -> np.ndarray:
    """Reorder gates i, f, g, o of the last axis to i, f, o, g."""
    shape = array.shape
    gates = array.reshape(*shape[:-1], -1, 4, units)
    return gates[..., [0, 1, 3, 2], :].reshape(shape)


def _widened(ids: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    missing = length - tf.shape(ids)[1]
    # Not a nested list: TFLite wants the paddings as one tensor.
    zero = tf.zeros([], tf.int32)
    paddings = tf.reshape(tf.stack([zero, zero, zero, missing]), [2, 2])
    return tf.pad(ids, paddings)


def convert_float32(exported: Exported) -> bytes:
    """Convert to a model of word ids, exactly."""
    return _convert_ids(exported, 4)


def convert_float16(exported: Exported) -> bytes:
    """Convert to a model of word ids whose weights take half the space."""
    return _convert_ids(exported, 2)


def convert_int8(exported: Exported) -> bytes:
    """Convert to a model of word ids whose weights take a quarter."""
    return _convert_ids(exported, 1)


def _convert_ids(exported: Exported, bytes_per_weight: int) -> bytes:
    graph = LiteGraph(exported.weights, bytes_per_weight == 1)
    function = tf.function(
        lambda *ids: _answers(graph, exported, ids),
        [
            tf.TensorSpec([None, None], tf.int32, name)
            for name in IDS[: exported.texts]
        ],
        autograph=False,
    )
    return convert_function(function, graph.table, exported, bytes_per_weight)


def convert_text(exported: Exported) -> bytes:
    """Convert to a model of raw text, exactly."""
    tokenizer = RawTextTokenizer(
        exported.vocabulary, exported.lower_case, exported.max_length
    )
    graph = LiteGraph(exported.weights)
    function = tf.function(
        lambda *texts: _answers(graph, exported, map(tokenizer, texts)),
        [
            tf.TensorSpec([None], tf.string, name)
            for name in TEXTS[: exported.texts]
        ],
        autograph=False,
    )
    # The graph holds the tokenizer's model but not its owner.
    function.keep_alive = tokenizer
    return convert_function(function, graph.table, exported, custom_ops=True)


def _answers(
    graph: LiteGraph, exported: Exported, ids: Iterable[tf.Tensor]
) -> dict[str, tf.Tensor]:
    logits = graph.logits(*ids)
    # In two parts, as the float16 form would round one.
    factor = 1 / exported.temperature
    coarse = np.float32(np.float16(factor))
    scaled = logits * coarse + logits * np.float32(factor - coarse)
    return {"logits": logits, "probabilities": tf.nn.softmax(scaled)}


def convert_function(
    function: tf.types.experimental.PolymorphicFunction,
    table: Table,
    exported: Exported,
    bytes_per_weight: int = 4,
    custom_ops: bool = False,
) -> bytes:
    """Convert a `tf.function`, with its table, to a bare model.

    It has one signature. Weights are float32, float16 or whole numbers of one
    byte. With the last, activations are quantised as they come (dynamic range),
    so that no data is needed.
    """
    module = tf.Module()
    module.function, module.table = function, table
    with tempfile.TemporaryDirectory() as folder:
        # Not from_concrete_functions: given a Keras model it has written
        # files without weights and said nothing.
        tf.saved_model.save(module, folder, {SIGNATURE: function})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[SIGNATURE]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.allow_custom_ops = custom_ops
        if bytes_per_weight < 4:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if bytes_per_weight == 2:
            converter.target_spec.supported_types = [tf.float16]
        model = converter.convert()
    least = bytes_per_weight * exported.weights.size
    if len(model) < least:
        raise RuntimeError(
            f"the model has {len(model):,} bytes, expected at least {least:,}: "
            "weights are missing"
        )
    return model
