"""Our exports, our Keras student and the stock layers, answering."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from serving import serve
from work import Inference, Work, padded

VERSIONS = ("tensorflow", "keras", "numpy")


def build(kind: str, folder: Path, options: dict) -> Inference:
    """Make the contender of that kind."""
    work = Work(folder)

    def prepare(rows: list[int]) -> tf.Tensor:
        return tf.constant(padded([work.rows[row] for row in rows]))

    batches = None
    if kind == "saved_model_text":

        def prepare(rows: list[int]) -> tf.Tensor:
            return tf.constant([work.texts[row] for row in rows])

    if kind == "stock_predict_padded":
        # As they lie, each padded to the longest of all.
        longest = max(map(len, work.rows))
        flat = sorted(row for rows in work.batches for row in rows)
        size = len(work.batches[0])
        batches = [flat[i : i + size] for i in range(0, len(flat), size)]

        def prepare(rows: list[int]) -> np.ndarray:
            texts = [work.rows[row] for row in rows]
            return padded(texts, longest if len(rows) > 1 else 0)

    if kind.startswith("lite"):

        def prepare(rows: list[int]) -> np.ndarray:
            return padded([work.rows[row] for row in rows])

    answer, size = KINDS[kind](work)
    return Inference(
        work,
        prepare,
        answer,
        size,
        VERSIONS,
        options.get("every", 1),
        batches,
    )


def exported(work: Work) -> Any:
    """Return the weights as our exporters take them."""
    from keras_distill.export.student import Exported, StudentWeights

    w = work.weights
    sides = ("forward", "backward")
    weights = StudentWeights(
        vectors=vectors(w),
        kernel=np.concatenate([w[f"{s}_kernel"] for s in sides], axis=1),
        recurrent_kernel=np.stack([w[f"{s}_recurrent"] for s in sides]),
        bias=np.concatenate([w[f"{s}_bias"] for s in sides]),
        dense=(
            (w["hidden_kernel"], w["hidden_bias"]),
            (w["output_kernel"], w["output_bias"]),
        ),
        pair=False,
    )
    labels = [str(place) for place in range(len(w["output_bias"]))]
    return Exported(weights, work.values["vocabulary"], labels, True, 128)


def vectors(weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return all tables side by side."""
    tables = [weights[name] for name in ("static", "trainable")]
    return np.concatenate(tables, axis=1)


def saved_model(work: Work, signature: str, variant: str) -> tuple:
    """Save, load again and answer as a server does."""
    from keras_distill.export.saved_model import SavedStudent, folder_bytes

    if signature == "serving_default":
        import tensorflow_text  # noqa: F401 (registers the tokenizer's ops)
    with tempfile.TemporaryDirectory() as place:
        module = SavedStudent(exported(work), variant)
        tf.saved_model.save(module, place, module.signatures())
        loaded = tf.saved_model.load(place)
        size = folder_bytes(Path(place))
    serve_ids = loaded.signatures[signature]
    name = "ids_a" if signature == "ids" else "text"

    def answer(batch: tf.Tensor) -> np.ndarray:
        return serve_ids(**{name: batch})["logits"].numpy()

    answer.keep_alive = loaded
    return answer, size


def our_student(work: Work) -> tuple:
    """Answer by our Keras model, traced once."""
    from keras_distill.student.predictor import forward_function

    model = our_model(work.weights)
    forward = forward_function(model)
    return (lambda batch: forward({"ids_a": batch}).numpy()), size_of(model)


def our_model(weights: dict[str, np.ndarray]) -> keras.Model:
    """Build our student with the weights."""
    from keras_distill.config import StudentConfig
    from keras_distill.student.models import build_student

    w = weights
    words, width = w["static"].shape
    units = len(w["forward_recurrent"])
    settings = StudentConfig(
        lstm_units=units,
        hidden_units=len(w["hidden_bias"]),
        embedding_dim=width,
        embedding_mode="multichannel",
        dropout=0.0,
    )
    model = build_student(
        settings, words, len(w["output_bias"]), False, w["static"]
    )
    set_weights(model, weights)
    return model


def stock_model(weights: dict[str, np.ndarray]) -> keras.Model:
    """Build the same student of stock layers."""
    words, width = weights["static"].shape
    units = len(weights["forward_recurrent"])
    ids = keras.Input((None,), dtype="int32", name="ids_a")
    tables = [
        keras.layers.Embedding(
            words, width, trainable=name == "trainable", name=f"{name}_vectors"
        )
        for name in ("static", "trainable")
    ]
    embedded = keras.layers.Concatenate()([table(ids) for table in tables])
    output = keras.layers.Bidirectional(
        keras.layers.LSTM(units), name="bilstm"
    )(embedded, mask=keras.ops.not_equal(ids, 0))
    output = keras.layers.Dense(
        len(weights["hidden_bias"]), activation="relu", name="hidden"
    )(output)
    output = keras.layers.Dense(len(weights["output_bias"]), name="logits")(
        output
    )
    model = keras.Model(ids, output)
    set_weights(model, weights)
    return model


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Put the weights into either model; the layers' names are the same."""
    for layer, names in {
        "static_vectors": ["static"],
        "trainable_vectors": ["trainable"],
        "bilstm": [
            f"{side}_{part}"
            for side in ("forward", "backward")
            for part in ("kernel", "recurrent", "bias")
        ],
        "hidden": ["hidden_kernel", "hidden_bias"],
        "logits": ["output_kernel", "output_bias"],
    }.items():
        model.get_layer(layer).set_weights([weights[name] for name in names])


def stock(work: Work) -> tuple:
    """Answer by the stock layers in one traced function."""
    model = stock_model(work.weights)
    forward = tf.function(
        lambda ids: model(ids, training=False),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    return (lambda batch: forward(batch).numpy()), size_of(model)


def stock_predict(work: Work) -> tuple:
    """Answer by `model.predict`, with the stock layers."""
    model = stock_model(work.weights)

    def answer(batch: np.ndarray) -> np.ndarray:
        return model.predict(batch, batch_size=len(batch), verbose=0)

    return answer, size_of(model)


def lite(work: Work, convert: str) -> tuple:
    """Answer by LiteRT on one thread."""
    from keras_distill.export import tflite

    content = getattr(tflite, convert)(exported(work))
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner()
    return (lambda batch: runner(ids_a=batch)["logits"]), len(content)


def size_of(model: keras.Model) -> int:
    """Return the bytes of the weights."""
    return 4 * model.count_params()


KINDS: dict[str, Callable[[Work], tuple]] = {
    "saved_model": lambda work: saved_model(work, "ids", "fast"),
    "saved_model_small": lambda work: saved_model(work, "ids", "small"),
    "saved_model_text": lambda work: saved_model(
        work, "serving_default", "fast"
    ),
    "student": our_student,
    "stock": stock,
    "stock_predict": stock_predict,
    "stock_predict_padded": stock_predict,
    "lite_float32": lambda work: lite(work, "convert_float32"),
    "lite_int8": lambda work: lite(work, "convert_int8"),
}


if __name__ == "__main__":
    serve(build)
