"""The bundle for MediaPipe's Text Classifier."""

import uuid
from dataclasses import replace

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_distill.export.mediapipe_text import bundle_vocabulary
from keras_distill.export.metadata import (
    TEXT_FILE,
    VOCABULARY_FILE,
    TensorInfo,
    class_names,
    described,
    with_metadata,
)
from keras_distill.export.student import Exported, lines_file
from keras_distill.export.tflite import Table, convert_function
from keras_distill.student.text import CLS_ID, PAD_ID, SEP_ID, UNK_ID
from keras_distill.student.weights import StudentWeights

# Closes a gate: sigmoid(-40) is 4e-18.
_CLOSED = 40.0
# A column of nothing but zeros has a scale, too.
_LEAST = 1e-6


class _MediaPipeGraph:
    """The forward pass of a single-text student.

    Args:
        weights: The student's weights.
        rows: int32 [ids]: for each line of the bundle's vocabulary the row
            of its word vector. Several lines may share one.
        window: Ids in the input, [CLS] and [SEP] among them.
        int8: Prepare for a converter that quantises: hold the word vectors
            as whole numbers with one scale for each word, see `Table`, and
            keep the dense layers out of it. They are small, and cost more
            accuracy than all the others.
    """

    def __init__(
        self,
        weights: StudentWeights,
        rows: np.ndarray,
        window: int,
        int8: bool = False,
    ) -> None:
        if int8:
            weights = _balanced(weights)
        self.table = Table(weights.vectors, int8)
        self._weights = weights
        self._rows = rows
        self._window = window
        self._int8 = int8
        if weights.units:
            self._closing, self._kernels = _closing_kernels(weights)
            self._lstms = _fused_lstm(False), _fused_lstm(True)

    def logits(self, ids: tf.Tensor) -> tf.Tensor:
        """Compute logits, float32 [1, classes].

        Ids are int32 [1, window]: [CLS], words, [SEP], padding.
        """
        ids = tf.reshape(ids, [self._window])
        words = _is_word(ids)
        number = tf.reduce_sum(words)
        # Keras reads a text without a word as one unknown word.
        unknown = np.zeros(self._window, np.int32)
        unknown[1] = 1
        unknown *= 1 - tf.minimum(number, 1)
        words += unknown
        ids += unknown * (UNK_ID - SEP_ID)
        read = self._ends if self._weights.units else self._mean
        output = read(self._vectors(ids), words, number)
        *hidden, (kernel, bias) = self._weights.dense
        for inner_kernel, inner_bias in hidden:
            output = tf.nn.relu(self._matmul(output, inner_kernel) + inner_bias)
        return self._matmul(output, kernel) + bias

    def _ends(
        self, vectors: tf.Tensor, words: tf.Tensor, number: tf.Tensor
    ) -> tf.Tensor:
        """Return the last states of a BiLSTM, float32 [1, 2 * units]."""
        outside = tf.cast(1 - words, tf.float32) * self._closing
        vectors = tf.concat(
            [vectors, tf.expand_dims(outside, axis=-1)], axis=-1
        )
        inputs = tf.expand_dims(vectors, axis=0)
        forward, backward = self._states(inputs, 0), self._states(inputs, 1)
        # Words stand behind [CLS]: the last one is the number-th, and the
        # first one is the last but one that the reversed direction reads.
        last = tf.gather(forward, tf.maximum(number, 1))
        return tf.expand_dims(
            tf.concat([last, backward[self._window - 2]], axis=-1), axis=0
        )

    def _mean(
        self, vectors: tf.Tensor, words: tf.Tensor, number: tf.Tensor
    ) -> tf.Tensor:
        """Return the encoding of a bag of words, float32 [1, units].

        The mean comes before the product, which is then of one row.
        """
        del number
        shares = tf.cast(words, tf.float32)
        shares /= tf.reduce_sum(shares)
        mean = tf.reduce_sum(
            vectors * tf.expand_dims(shares, axis=-1), axis=0, keepdims=True
        )
        product = self._matmul(mean, self._weights.kernel)
        return tf.nn.relu(product + self._weights.bias)

    def _matmul(self, row: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
        if not self._int8:
            return tf.matmul(row, kernel)
        # The same in ops that the converter does not quantise.
        return tf.reduce_sum(tf.transpose(row) * kernel, axis=0, keepdims=True)

    def _vectors(self, ids: tf.Tensor) -> tf.Tensor:
        if len(self._rows) > len(self._weights.vectors):
            ids = tf.gather(self._rows, ids)
        return self.table.rows(ids)

    def _states(self, inputs: tf.Tensor, direction: int) -> tf.Tensor:
        """Return all states, float32 [window, units], in reading order."""
        weights = self._weights
        zeros = tf.zeros([1, weights.units])
        _, states, *_ = self._lstms[direction](
            inputs,
            zeros,
            zeros,
            tf.constant(self._kernels[direction]),
            tf.constant(weights.recurrent_kernel[direction]),
            tf.constant(np.split(weights.bias, 2)[direction]),
        )
        return states[0]


def _is_word(ids: tf.Tensor) -> tf.Tensor:
    """Return 1 where an id is a word's and 0 elsewhere, int32."""
    words = tf.ones_like(ids)
    for special in (PAD_ID, CLS_ID, SEP_ID):
        words *= tf.cast(tf.not_equal(ids, special), tf.int32)
    return words


def _balanced(weights: StudentWeights) -> StudentWeights:
    """Scale vectors and kernel against each other; their product stays.

    One scale for a whole vector and one for a gate's kernel lose least when
    no place of the vectors is much larger than the others.
    """
    spread = weights.kernel.std(axis=1) + _LEAST
    scales = np.sqrt(spread / (weights.vectors.std(axis=0) + _LEAST))
    scales = (scales / scales.mean()).astype(np.float32)
    return replace(
        weights,
        vectors=weights.vectors * scales,
        kernel=weights.kernel / scales[:, np.newaxis],
    )


def _closing_kernels(
    weights: StudentWeights,
) -> tuple[np.float32, list[np.ndarray]]:
    """Add the row that closes the gates; return its feature, too.

    The row's weights are no larger than those of any gate they join:
    quantised, they leave those their precision.
    """
    # Gates i and f of the forward direction, then of the backward one.
    both = np.split(weights.kernel, 8, axis=1)
    peaks = [np.abs(both[place]).max() for place in (0, 1, 4, 5)]
    weight = max(float(min(peaks)), 1e-2)
    # No state and no special token's own vector can hold a gate open.
    special = weights.vectors[[PAD_ID, CLS_ID, SEP_ID]] @ weights.kernel
    opening = np.abs(special + weights.bias).max()
    opening += np.abs(weights.recurrent_kernel).sum(axis=1).max()
    row = np.zeros((1, 4 * weights.units), np.float32)
    row[:, : 2 * weights.units] = -weight
    return np.float32((_CLOSED + opening) / weight), [
        np.concatenate([kernel, row])
        for kernel in np.split(weights.kernel, 2, axis=1)
    ]


def _fused_lstm(
    backwards: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """Make a function that the converter replaces with one LSTM op.

    It knows such functions by the attributes, and the arguments and results
    by their places: those of Keras 2's LSTM layer.
    """

    @tf.function(
        autograph=False,
        experimental_attributes={
            "api_implements": f"lstm_{uuid.uuid4()}",
            "api_preferred_device": "CPU",
            "time_major": False,
            "go_backwards": backwards,
        },
    )
    def lstm(
        inputs: tf.Tensor,
        state: tf.Tensor,
        cell: tf.Tensor,
        kernel: tf.Tensor,
        recurrent_kernel: tf.Tensor,
        bias: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        def step(
            states: tuple[tf.Tensor, tf.Tensor], word: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            h, c = states
            i, f, g, o = tf.split(
                tf.matmul(word, kernel) + tf.matmul(h, recurrent_kernel) + bias,
                4,
                axis=-1,
            )
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        words = tf.transpose(inputs, [1, 0, 2])
        if backwards:
            words = tf.reverse(words, axis=[0])
        states, cells = tf.scan(step, words, (state, cell))
        outputs = tf.transpose(states, [1, 0, 2])
        return states[-1], outputs, states[-1], cells[-1], tf.constant(0.0)

    return lstm


# The names that MediaPipe looks for.
INPUTS = {
    "ids": "Word ids: [CLS], words, [SEP], padding with 0.",
    "mask": "1 where an id stands; the model does not read it.",
    "segment_ids": "0; the model does not read it.",
}
OUTPUT = "probabilities"


def words_read(exported: Exported) -> int:
    """Return how many words of a text a student's bundle reads."""
    return min(exported.max_length, exported.window)


def convert_float32(exported: Exported) -> bytes:
    """Convert, exactly."""
    return _convert(exported, 4)


def convert_int8(exported: Exported) -> bytes:
    """Convert to a model whose weights take a quarter of the space."""
    return _convert(exported, 1)


def packed_bundle(exported: Exported, model: bytes) -> bytes:
    """Add what MediaPipe must know to a bare model.

    `vocab.txt`, `labels.txt` and `text.json` lie in it, and
    `display_names.txt` where there are some.
    """
    outputs, names = class_names(
        exported, {OUTPUT: "Probabilities of the classes."}
    )
    vocabulary, _ = bundle_vocabulary(exported)
    files = {"ids": VOCABULARY_FILE}
    return with_metadata(
        model,
        name="student",
        description=described(exported),
        inputs=[
            TensorInfo(name, description, vocabulary=files.get(name))
            for name, description in INPUTS.items()
        ],
        outputs=outputs,
        files={
            VOCABULARY_FILE: lines_file(vocabulary),
            **names,
            TEXT_FILE: exported.text_file(
                max_length=words_read(exported),
                temperature=exported.temperature,
            ),
        },
        bert_tokenizer=True,
    )


def unfit(exported: Exported) -> str | None:
    """Say why MediaPipe cannot ask a student, None where it can."""
    if exported.pair:
        return "MediaPipe classifies one text, this student pairs"
    if exported.weights.kind not in ("bag", "bilstm"):
        return (
            f"there is no bundle for a student of kind {exported.weights.kind}"
        )
    if not exported.lower_case:
        return "MediaPipe lower-cases, this student reads case"
    return None


def _convert(exported: Exported, bytes_per_weight: int) -> bytes:
    if reason := unfit(exported):
        raise ValueError(reason)
    # [CLS] and [SEP] stand around the words.
    window = words_read(exported) + 2
    _, rows = bundle_vocabulary(exported)
    graph = _MediaPipeGraph(
        exported.weights, rows, window, bytes_per_weight == 1
    )

    def answer(
        ids: tf.Tensor, mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        del mask, segment_ids
        scaled = graph.logits(ids) * np.float32(1 / exported.temperature)
        return {OUTPUT: tf.nn.softmax(scaled)}

    # Fixed shapes, and from a SavedModel: only so are the LSTMs fused.
    specs = [tf.TensorSpec([1, window], tf.int32, name) for name in INPUTS]
    function = tf.function(answer, specs, autograph=False)
    model = convert_function(function, graph.table, exported, bytes_per_weight)
    return _unclipped(model) if exported.weights.units else model


def _unclipped(model: bytes) -> bytes:
    """Let the LSTMs' cells grow as they do in Keras.

    The converter writes that they end at 10, which they pass in long texts.
    It cannot be told otherwise.
    """
    content = bytearray(model)
    tree = schema.Model.GetRootAs(content)
    kind = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    graph = tree.Subgraphs(0)
    operators = map(graph.Operators, range(graph.OperatorsLength()))
    fused = [
        operator.BuiltinOptions()
        for operator in operators
        if tree.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() == kind
    ]
    if tree.SubgraphsLength() != 1 or len(fused) != 2:
        raise RuntimeError(
            f"the model has {tree.SubgraphsLength()} graphs and {len(fused)} "
            "fused LSTMs, expected 1 and 2: MediaPipe would refuse it"
        )
    for table in fused:
        # A table's second field; one that is not there is 0 already.
        if field := table.Offset(6):
            place = table.Pos + field
            content[place : place + 4] = bytes(4)
    return bytes(content)
