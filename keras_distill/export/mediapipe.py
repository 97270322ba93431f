"""Converts a student to MediaPipe's Text Classifier.

The clients that people have (Android, iOS, web, Python) take the file as it
is: MediaPipe splits the text into BERT's words, looks them up in the packed
`vocab.txt`, puts [CLS] and [SEP] around them, pads to the window, and names
the answer from the packed `labels.txt`. The output are probabilities; their
logarithm times the temperature is the student's logits up to a number that
is the same for all classes.

The window holds all the words that the student reads, so that long texts have
the same scores, too; but at most 128 or what `--window` says, because the
whole window is computed whatever the text's length.
"""

import json

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_distill.export.bundle import Exported
from keras_distill.export.mediapipe_graph import MediaPipeGraph
from keras_distill.export.mediapipe_text import bundle_vocabulary
from keras_distill.export.metadata import (
    LABELS_FILE,
    VOCABULARY_FILE,
    TensorInfo,
    with_metadata,
)
from keras_distill.export.tflite import TEXT_FILE, convert_function

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
    """Convert to a model whose weights take a quarter of the space.

    Weights are whole numbers, activations are quantised as they come
    (dynamic range), so that no data is needed.
    """
    return _convert(exported, 1)


def packed_bundle(exported: Exported, model: bytes) -> bytes:
    """Add what MediaPipe must know to a bare model.

    Args:
        exported: The student.
        model: What `convert_float32` or `convert_int8` made of it.

    Returns:
        The bundle, with `vocab.txt`, `labels.txt` and `text.json` inside.
    """
    vocabulary, _ = bundle_vocabulary(exported)
    settings = {
        "lower_case": exported.lower_case,
        "max_length": words_read(exported),
        "pair": exported.pair,
        "temperature": exported.temperature,
    }
    return with_metadata(
        model,
        name="student",
        description=f"Sorts texts into: {', '.join(exported.labels)}.",
        inputs=[
            TensorInfo(name, description, vocabulary=VOCABULARY_FILE)
            if name == "ids"
            else TensorInfo(name, description)
            for name, description in INPUTS.items()
        ],
        outputs=[
            TensorInfo(OUTPUT, "Probabilities of the classes.", LABELS_FILE)
        ],
        files={
            VOCABULARY_FILE: "".join(
                f"{word}\n" for word in vocabulary
            ).encode(),
            LABELS_FILE: exported.labels_file(),
            TEXT_FILE: (json.dumps(settings, indent=2) + "\n").encode(),
        },
        bert_tokenizer=True,
    )


def _convert(exported: Exported, bytes_per_weight: int) -> bytes:
    if exported.pair or not exported.lower_case:
        raise ValueError(
            "MediaPipe takes one text and lower-cases it. Received: a "
            f"student with pair={exported.pair}, "
            f"lower_case={exported.lower_case}"
        )
    int8 = bytes_per_weight == 1
    # [CLS] and [SEP] stand around the words.
    window = words_read(exported) + 2
    _, rows = bundle_vocabulary(exported)
    graph = MediaPipeGraph(exported.weights, rows, window, int8)

    def answer(
        ids: tf.Tensor, mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        del mask, segment_ids
        scaled = graph.logits(ids) * np.float32(1 / exported.temperature)
        return {OUTPUT: tf.nn.softmax(scaled)}

    def quantize(converter: tf.lite.TFLiteConverter) -> None:
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]

    # Fixed shapes, and from a SavedModel: only so are the LSTMs fused.
    specs = [tf.TensorSpec([1, window], tf.int32, name) for name in INPUTS]
    function = tf.function(answer, specs)
    model = convert_function(function, exported, bytes_per_weight, quantize)
    return _unclipped(model)


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
