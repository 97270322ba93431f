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
from keras_distill.export.student import IDS, TEXTS, Exported
from keras_distill.export.tflite import TEXT_FILE

VOCABULARY_FILE, LABELS_FILE = "vocab.txt", "labels.txt"

_NAME = "TFLITE_METADATA"
_MODEL_IDENTIFIER, _METADATA_IDENTIFIER = b"TFL3", b"M001"
# The first version of the schema that has all fields used here.
_PARSER_VERSION = "1.1.0"
# As the schema counts them.
_UNKNOWN, _AXIS_LABELS, _VOCABULARY = 0, 2, 5
_FEATURE_PROPERTIES, _BERT_TOKENIZER = 1, 4
# TFLite reads weights in place, and some kernels want them aligned.
_ALIGNMENT = 16
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class TensorInfo:
    """What a reader is told about an input or an output.

    `labels` is the packed file that names the places of its last axis,
    `vocabulary` the one that its numbers are lines of.
    """

    name: str
    description: str
    labels: str | None = None
    vocabulary: str | None = None


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
    named = {file for info in infos for file in (info.labels, info.vocabulary)}
    named |= {VOCABULARY_FILE if bert_tokenizer else None}
    named -= {None}
    if missing := sorted(named - set(files)):
        raise ValueError(
            f"the metadata names files that are not packed: {missing}"
        )
    tree = schema.ModelT.InitFromPackedBuf(model)
    metadata = _Metadata(files, named).build(
        name,
        description,
        _in_model_order(tree, inputs, "inputs"),
        _in_model_order(tree, outputs, "outputs"),
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


class _Metadata:
    """Writes the flatbuffer of the metadata."""

    def __init__(self, files: Mapping[str, bytes], named: set[str]) -> None:
        self._builder = flatbuffers.Builder(1024)
        self._others = [file for file in files if file not in named]

    def build(
        self,
        name: str,
        description: str,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        bert_tokenizer: bool,
    ) -> bytes:
        builder = self._builder
        # A table's children are written before the table itself.
        tensors = [
            _vector(builder, [self._tensor(info) for info in infos])
            for infos in (inputs, outputs)
        ]
        units = [self._tokenizer()] if bert_tokenizer else []
        subgraph = _table(
            builder, None, None, *tensors, None, _vector(builder, units)
        )
        others = [self._file(file, _UNKNOWN) for file in self._others]
        model = _table(
            builder,
            builder.CreateString(name),
            builder.CreateString(description),
            None,
            _vector(builder, [subgraph]),
            None,
            None,
            _vector(builder, others),
            builder.CreateString(_PARSER_VERSION),
        )
        builder.Finish(model, _METADATA_IDENTIFIER)
        return bytes(builder.Output())

    def _tensor(self, info: TensorInfo) -> int:
        builder = self._builder
        kinds = {_AXIS_LABELS: info.labels, _VOCABULARY: info.vocabulary}
        files = [
            self._file(file, kind)
            for kind, file in kinds.items()
            if file is not None
        ]
        content = _table(builder, _Byte(_FEATURE_PROPERTIES), _table(builder))
        return _table(
            builder,
            builder.CreateString(info.name),
            builder.CreateString(info.description),
            None,
            content,
            None,
            None,
            _vector(builder, files),
        )

    def _tokenizer(self) -> int:
        vocabulary = self._file(VOCABULARY_FILE, _VOCABULARY)
        options = _table(self._builder, _vector(self._builder, [vocabulary]))
        return _table(self._builder, _Byte(_BERT_TOKENIZER), options)

    def _file(self, name: str, kind: int) -> int:
        name = self._builder.CreateString(name)
        return _table(self._builder, name, None, _Byte(kind))


class _Byte(int):
    """A field that is a number itself and not the place of a table."""


def _table(builder: flatbuffers.Builder, *fields: int | None) -> int:
    """Write a table of the fields in the schema's order."""
    builder.StartObject(len(fields))
    for slot, field in enumerate(fields):
        if isinstance(field, _Byte):
            builder.PrependInt8Slot(slot, field, 0)
        elif field is not None:
            builder.PrependUOffsetTRelativeSlot(slot, field, 0)
    return builder.EndObject()


def _vector(builder: flatbuffers.Builder, tables: Sequence[int]) -> int | None:
    """Write a vector of tables, nothing where there are none."""
    if not tables:
        return None
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()


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


_DESCRIPTIONS = {
    IDS[0]: "Word ids of the text, int32 [batch, len], padded with 0.",
    IDS[1]: "Word ids of the second text, int32 [batch, len].",
    TEXTS[0]: "The text, string [batch].",
    TEXTS[1]: "The second text, string [batch].",
    "logits": "Logits of the classes, float32 [batch, classes].",
    "probabilities": "Probabilities of the classes, in labels.txt's order.",
}


def packed(exported: Exported, model: bytes, takes_text: bool) -> bytes:
    """Add metadata and the packed files to a bare model.

    Args:
        exported: The student.
        model: The model of `tflite`.
        takes_text: Whether it takes raw text; otherwise word ids.

    Returns:
        The model with `vocab.txt`, `labels.txt` and `text.json` inside.
    """
    names = TEXTS if takes_text else IDS
    inputs = names if exported.pair else names[:1]
    return with_metadata(
        model,
        name="student",
        description=_description(exported),
        inputs=[
            TensorInfo(
                name,
                _DESCRIPTIONS[name],
                vocabulary=None if takes_text else VOCABULARY_FILE,
            )
            for name in inputs
        ],
        outputs=[
            TensorInfo(name, _DESCRIPTIONS[name], labels=LABELS_FILE)
            for name in ("logits", "probabilities")
        ],
        files={
            VOCABULARY_FILE: exported.vocabulary_file(),
            LABELS_FILE: exported.labels_file(),
            TEXT_FILE: exported.text_file(),
        },
        bert_tokenizer=False,
    )


def _description(exported: Exported) -> str:
    kind = "pairs of texts" if exported.pair else "texts"
    return f"Sorts {kind} into: {', '.join(exported.labels)}."
