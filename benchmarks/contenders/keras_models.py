"""Our student and the same one of stock layers, with the work's weights."""

import keras
import numpy as np

VERSIONS = ("tensorflow", "keras", "numpy")


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
    model = keras.Model({"ids_a": ids}, output)
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
