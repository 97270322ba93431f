"""Adds to a TFLite model what a client must know: words, classes, names."""

from keras_distill.export.bundle import Exported
from keras_distill.export.metadata import (
    LABELS_FILE,
    VOCABULARY_FILE,
    TensorInfo,
    with_metadata,
)
from keras_distill.export.tflite import IDS, TEXT_FILE, TEXTS

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
