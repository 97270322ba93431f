import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import number_types
from flatbuffers.table import Table
from tensorflow.lite.python import schema_py_generated as schema

from keras_distill.errors import UserError
from keras_distill.export.metadata import (
    TensorInfo,
    read_packed_files,
    with_metadata,
)

FILES = {
    "vocab.txt": "[PAD]\ncafé\n".encode(),
    "labels.txt": b"bad\ngood\n",
    "more.json": b"{}",
}
INPUTS = [
    TensorInfo("words", "The words.", vocabulary="vocab.txt"),
    TensorInfo("amount", "How much."),
]
OUTPUTS = [TensorInfo("scores", "The scores.", labels="labels.txt")]


@pytest.fixture(scope="module")
def bare():
    """A model of two inputs, with weights of an odd size."""
    weights = tf.constant(np.arange(26, dtype=np.float32).reshape(13, 2))

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, 13], tf.float32, "words"),
            tf.TensorSpec([1], tf.float32, "amount"),
        ]
    )
    def function(words, amount):
        return {"scores": tf.matmul(words, weights) * amount}

    module = tf.Module()
    module.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], module
    )
    return converter.convert()


def described(bare, **changes):
    arguments = {
        "name": "classifier",
        "description": "Good or bad.",
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "files": FILES,
        "bert_tokenizer": True,
    }
    return with_metadata(bare, **(arguments | changes))


def metadata_of(model):
    """The root table of the metadata in a file."""
    tree = schema.ModelT.InitFromPackedBuf(model)
    (place,) = (
        entry.buffer
        for entry in tree.metadata
        if entry.name == b"TFLITE_METADATA"
    )
    content = bytes(tree.buffers[place].data)
    assert content[4:8] == b"M001"
    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0)
    return Table(content, root)


def string(table, field):
    offset = table.Offset(4 + 2 * field)
    return table.String(table.Pos + offset).decode() if offset else None


def byte(table, field):
    return table.Get(
        number_types.Int8Flags, table.Pos + table.Offset(4 + 2 * field)
    )


def child(table, field):
    offset = table.Offset(4 + 2 * field)
    return Table(table.Bytes, table.Indirect(table.Pos + offset))


def children(table, field):
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return []
    start = table.Vector(offset)
    return [
        Table(table.Bytes, table.Indirect(start + 4 * place))
        for place in range(table.VectorLen(offset))
    ]


def answers(model):
    run = tf.lite.Interpreter(model_content=model).get_signature_runner()
    words = np.linspace(0, 1, 13, dtype=np.float32)
    return run(words=words[np.newaxis], amount=np.float32([2]))["scores"]


def test_packed_files_come_back_byte_for_byte(bare, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(described(bare))
    assert read_packed_files(path) == FILES


def test_the_model_answers_as_before(bare):
    np.testing.assert_array_equal(answers(bare), answers(described(bare)))


def test_tensors_are_described_in_the_models_order(bare):
    graph = metadata_of(described(bare))
    tree = schema.ModelT.InitFromPackedBuf(bare)
    (signature,) = tree.signatureDefs
    names = {t.tensorIndex: t.name.decode() for t in signature.inputs}
    order = [names[place] for place in tree.subgraphs[0].inputs]
    for inputs in (INPUTS, INPUTS[::-1]):
        (graph,) = children(metadata_of(described(bare, inputs=inputs)), 3)
        assert [string(info, 0) for info in children(graph, 2)] == order
    (scores,) = children(graph, 3)
    assert string(scores, 0) == "scores"
    assert string(scores, 1) == "The scores."


def test_labels_and_vocabulary_are_named_where_they_belong(bare):
    root = metadata_of(described(bare))
    (graph,) = children(root, 3)
    (labels,) = children(children(graph, 3)[0], 6)
    # 2 is the schema's TENSOR_AXIS_LABELS, 5 its VOCABULARY.
    assert (string(labels, 0), byte(labels, 2)) == ("labels.txt", 2)
    inputs = {string(info, 0): info for info in children(graph, 2)}
    (vocabulary,) = children(inputs["words"], 6)
    assert (string(vocabulary, 0), byte(vocabulary, 2)) == ("vocab.txt", 5)
    assert children(inputs["amount"], 6) == []
    assert [string(file, 0) for file in children(root, 6)] == ["more.json"]


def test_display_names_stand_behind_the_labels_in_a_language(bare):
    outputs = [
        TensorInfo(
            "scores", "The scores.", "labels.txt", display_names="names.txt"
        )
    ]
    files = FILES | {"names.txt": b"B\nG\n"}
    root = metadata_of(described(bare, outputs=outputs, files=files))
    (graph,) = children(root, 3)
    labels, names = children(children(graph, 3)[0], 6)
    # Who asks for no language takes the first.
    assert (string(labels, 0), string(labels, 3)) == ("labels.txt", None)
    assert (string(names, 0), string(names, 3)) == ("names.txt", "en")
    assert byte(names, 2) == byte(labels, 2) == 2


def test_mediapipe_is_told_to_use_its_bert_tokenizer(bare):
    (graph,) = children(metadata_of(described(bare)), 3)
    (unit,) = children(graph, 5)
    # 4 is the schema's BertTokenizerOptions.
    assert byte(unit, 0) == 4
    (vocabulary,) = children(child(unit, 1), 0)
    assert string(vocabulary, 0) == "vocab.txt"
    plain = metadata_of(described(bare, bert_tokenizer=False))
    assert children(children(plain, 3)[0], 5) == []


def test_weights_stay_aligned(bare):
    model = schema.Model.GetRootAs(described(bare))
    buffers = map(model.Buffers, range(model.BuffersLength()))
    starts = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in buffers
        if buffer.DataLength()
    ]
    assert len(starts) > 2
    assert {start % 16 for start in starts} == {0}


def test_equal_arguments_give_equal_bytes(bare):
    assert described(bare) == described(bare)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": {}}, r"not packed: \['labels.txt', 'vocab.txt'\]"),
        ({"inputs": INPUTS[:1]}, r"inputs are .*Received: \['words'\]"),
        ({"outputs": []}, r"outputs are \['scores'\]"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(bare, changes, message):
    with pytest.raises(ValueError, match=message):
        described(bare, **changes)


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="expected a TFLite model"):
        described(b"something else")


def test_a_file_without_packed_files_is_refused(bare, tmp_path):
    whole = described(bare)
    path = tmp_path / "model.tflite"
    for content in (bare, whole[:-20], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="model.tflite is cut off or no"):
            read_packed_files(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="none.tflite: No such file"):
        read_packed_files(tmp_path / "none.tflite")
