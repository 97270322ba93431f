"""Opens a SavedModel alone and answers for texts: the exporter's proof.

Run as a file, never imported: the process must hold nothing but TensorFlow
and tensorflow-text, as a server of the model does.

    python -P reopen.py SAVED_MODEL TEXTS.json ANSWERS.npz
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 (registers the ops of the graph)


def main(saved_model: str, texts_file: str, answers_file: str) -> None:
    """Answer for the texts of a JSON object, `text` and for pairs `text_b`."""
    with open(texts_file, encoding="utf-8") as stream:
        texts = json.load(stream)
    loaded = tf.saved_model.load(saved_model)
    serve = loaded.signatures["serving_default"]
    answers = serve(
        **{name: tf.constant(column) for name, column in texts.items()}
    )
    if "keras_distill" in sys.modules:
        raise RuntimeError("the SavedModel needs keras_distill")
    arrays = {name: value.numpy() for name, value in answers.items()}
    np.savez(answers_file, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
