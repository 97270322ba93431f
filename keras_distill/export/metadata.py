"""Metadata and files that are packed into a TFLite file."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_distill.errors import UserError
from keras_distill.export.display_names import shown
from keras_distill.export.student import IDS, TEXTS, Exported

VOCABULARY_FILE, LABELS_FILE = "vocab.txt", "labels.txt"
# What a client must know to make the ids.
TEXT_FILE = "text.json"
# What is shown of the classes, line by line; only where a user chose it.
DISPLAY_NAMES_FILE = "display_names.txt"

_NAME = "TFLITE_METADATA"
_MODEL_IDENTIFIER, _METADATA_IDENTIFIER = b"TFL3", b"M001"
# The first version of the schema that has all fields used here.
_PARSER_VERSION = "1.1.0"
# As the schema counts them.
_UNKNOWN, _AXIS_LABELS, _VOCABULARY = 0, 2, 5
_FEATURE_PROPERTIES, _BERT_TOKENIZER = 1, 4
# MediaPipe asks for display names of this language unless told otherwise.
_LOCALE = "en"
# TFLite reads weights in place, and some kernels want them aligned.
_ALIGNMENT = 16
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DESCRIPTIONS = {
    IDS[0]: "Word ids of the text, int32 [batch, len], padded with 0.",
    IDS[1]: "Word ids of the second text, int32 [batch, len].",
    TEXTS[0]: "The text, string [batch].",
    TEXTS[1]: "The second text, string [batch].",
    "logits": "Logits of the classes, float32 [batch, classes].",
    "probabilities": "Probabilities of the classes, in labels.txt's order.",
}
_OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True)
class TensorInfo:
    """What a reader is told about an input or an output.

    `labels` is the packed file that names the places of its last axis,
    `vocabulary` the one that its numbers are lines of, `display_names` the one
    that says what to show of those places.
    """

    name: str
    description: str
    labels: str | None = None
    vocabulary: str | None = None
    display_names: str | None = None


def class_names(
    exported: Exported, outputs: Mapping[str, str]
) -> tuple[list[TensorInfo], dict[str, bytes]]:
    """Return the outputs of a student, and the files that name its classes.

    `outputs` are descriptions by name.
    """
    files = {LABELS_FILE: exported.labels_file()}
    display_names = None
    if content := exported.display_names_file():
        display_names = DISPLAY_NAMES_FILE
        files[display_names] = content
    infos = [
        TensorInfo(name, text, LABELS_FILE, display_names=display_names)
        for name, text in outputs.items()
    ]
    return infos, files


def packed(exported: Exported, model: bytes, takes_text: bool) -> bytes:
    """Add metadata and the packed files to a bare model.

    Args:
        exported: The student.
        model: The model of `tflite`.
        takes_text: Whether it takes raw text; otherwise word ids.

    Returns:
        The model with `vocab.txt`, `labels.txt` and `text.json` inside, and
        `display_names.txt` where there are some.
    """
    outputs, names = class_names(
        exported, {name: _DESCRIPTIONS[name] for name in _OUTPUTS}
    )
    vocabulary = None if takes_text else VOCABULARY_FILE
    return with_metadata(
        model,
        name="student",
        description=described(exported),
        inputs=[
            TensorInfo(name, _DESCRIPTIONS[name], vocabulary=vocabulary)
            for name in (TEXTS if takes_text else IDS)[: exported.texts]
        ],
        outputs=outputs,
        files={
            VOCABULARY_FILE: exported.vocabulary_file(),
            **names,
            TEXT_FILE: exported.text_file(),
        },
        bert_tokenizer=False,
    )


def described(exported: Exported) -> str:
    """Return a file's description of itself."""
    kind = "pairs of texts" if exported.pair else "texts"
    names = shown(exported.labels, exported.display_names)
    return f"Sorts {kind} into: {', '.join(names)}."


def with_metadata(
    model: bytes,
    *,
    name: str,
    description: str,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    files: Mapping[str, bytes],
    bert_tokenizer: bool,
) -> bytes:
    """Add metadata and files to a converted model with one signature.

    For TFLite it stays the same model, for who looks for one it is a zip.
    Inputs and outputs are those of the signature, in any order.
    `bert_tokenizer` tells MediaPipe to make the inputs with its BertTokenizer
    from the packed `vocab.txt`. Equal arguments give equal bytes.
    """
    if model[4:8] != _MODEL_IDENTIFIER:
        raise ValueError("expected a TFLite model. Received: something else")
    infos = (*inputs, *outputs)
    named = {
        file
        for info in infos
        for file in (info.labels, info.vocabulary, info.display_names)
    }
    named |= {VOCABULARY_FILE if bert_tokenizer else None}
    named -= {None}
    if missing := sorted(named - set(files)):
        raise ValueError(
            f"the metadata names files that are not packed: {missing}"
        )
    tree = schema.ModelT.InitFromPackedBuf(model)
    metadata = _metadata(
        name,
        description,
        _in_model_order(tree, inputs, "inputs"),
        _in_model_order(tree, outputs, "outputs"),
        [file for file in files if file not in named],
        bert_tokenizer,
    )
    own = schema.BufferT(np.frombuffer(metadata, np.uint8))
    tree.buffers = [
        _AlignedBuffer(buffer.data, buffer.offset, buffer.size)
        for buffer in (*tree.buffers, own)
    ]
    entry = schema.MetadataT(_NAME, len(tree.buffers) - 1)
    tree.metadata = [*(tree.metadata or ()), entry]
    builder = flatbuffers.Builder(len(model) + len(metadata) + 4096)
    builder.Finish(tree.Pack(builder), _MODEL_IDENTIFIER)
    return _packed(bytes(builder.Output()), files)


def read_packed_files(path: Path | str) -> dict[str, bytes]:
    """Read the contents of the files that `with_metadata` packed, by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot read {path}: {reason}") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"{path} is cut off or no export of a student: expected "
            "vocab.txt and labels.txt packed at its end"
        ) from error


class _AlignedBuffer(schema.BufferT):
    """A buffer that keeps its alignment, which Python's packer forgets."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        """Write the buffer, return its place."""
        if self.data is not None:
            builder.Prep(_ALIGNMENT, len(self.data))
        return super().Pack(builder)


def _metadata(
    name: str,
    description: str,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    other_files: Sequence[str],
    bert_tokenizer: bool,
) -> bytes:
    """Return the flatbuffer of a ModelMetadata.

    A table of the schema is a tuple here, its fields in the schema's order; a
    vector is a list; a number is a field of one byte.
    """
    vocabulary = _file(VOCABULARY_FILE, _VOCABULARY)
    tokenizer = (_BERT_TOKENIZER, ([vocabulary],))
    subgraph = (
        None,
        None,
        list(map(_tensor, inputs)),
        list(map(_tensor, outputs)),
        None,
        [tokenizer] if bert_tokenizer else None,
    )
    others = [_file(file, _UNKNOWN) for file in other_files]
    model = (
        *(name, description, None, [subgraph]),
        *(None, None, others or None, _PARSER_VERSION),
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(_written(builder, model), _METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(info: TensorInfo) -> tuple:
    kinds = {_AXIS_LABELS: info.labels, _VOCABULARY: info.vocabulary}
    # The labels first: those are what a reader takes who asks for no language.
    files = [_file(file, kind) for kind, file in kinds.items() if file]
    if info.display_names:
        files.append((*_file(info.display_names, _AXIS_LABELS), _LOCALE))
    content = (_FEATURE_PROPERTIES, ())
    return info.name, info.description, None, content, None, None, files or None


def _file(name: str, kind: int) -> tuple:
    return name, None, kind


def _written(builder: flatbuffers.Builder, value: str | list | tuple) -> int:
    """Write a string, a vector or a table, return its place."""
    if isinstance(value, str):
        return builder.CreateString(value)
    # Children are written before what holds them.
    places = [
        _written(builder, child) if isinstance(child, str | list | tuple) else 0
        for child in value
    ]
    if isinstance(value, list):
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    builder.StartObject(len(value))
    for slot, (child, place) in enumerate(zip(value, places, strict=True)):
        if isinstance(child, int):
            builder.PrependInt8Slot(slot, child, 0)
        elif child is not None:
            builder.PrependUOffsetTRelativeSlot(slot, place, 0)
    return builder.EndObject()


def _in_model_order(
    tree: schema.ModelT, infos: Sequence[TensorInfo], side: str
) -> list[TensorInfo]:
    """Sort descriptions as the model's tensors are; readers count them."""
    (signature,) = tree.signatureDefs
    graph = tree.subgraphs[signature.subgraphIndex]
    names = {
        tensor.tensorIndex: tensor.name.decode()
        for tensor in getattr(signature, side)
    }
    ordered = [names.get(place) for place in getattr(graph, side)]
    known = {info.name: info for info in infos}
    if None in ordered or set(ordered) != set(known):
        raise ValueError(
            f"the model's {side} are {ordered}. Received: {list(known)}"
        )
    return [known[name] for name in ordered]


def _packed(model: bytes, files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO(model)
    # Appending counts from the file's start, as a zip's readers do. Not
    # compressed: MediaPipe's reader takes stored files alone.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return stream.getvalue()
