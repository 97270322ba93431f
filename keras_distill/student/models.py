"""The students: a BiLSTM for sentences, a siamese BiLSTM for pairs."""

import logging
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_distill.config import StudentConfig
from keras_distill.errors import UserError
from keras_distill.student.layers import BiLSTM, PairUnit, WordVectors

logger = logging.getLogger(__name__)

# Kim (2014) and the paper's code draw unknown words' vectors from this
# range; it is about the spread of word2vec's.
_RANDOM_RANGE = 0.25


def build_student(
    settings: StudentConfig,
    vocabulary_size: int,
    num_classes: int,
    pair: bool,
    vectors: np.ndarray | tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """Build an untrained student as a functional model.

    Tang et al. 2019, section 2.2: word vectors, one BiLSTM layer whose two
    last states are concatenated, a ReLU layer, logits. For pairs one shared
    BiLSTM encodes both texts and `PairUnit` joins them.

    Each distinct word of a batch is looked up and projected once, and the
    gradient reaches each row of the tables once.

    Args:
        settings: The architecture: units, vectors' mode and width, dropout.
        vocabulary_size: Rows of the embedding tables; id 0 is padding.
        num_classes: Number of logits.
        pair: Whether there are two texts.
        vectors: float32 `[vocabulary_size, embedding_dim]`, the word
            vectors; two of them for a frozen and a trainable channel that
            start from different ones; None starts one trainable table at
            random, whatever the mode.

    Returns:
        A model of a dictionary of inputs, `ids_a` and for pairs `ids_b`,
        int32 `[batch, None]`, to logits, float32 `[batch, num_classes]`.

    Raises:
        UserError: The vectors' shape does not fit.
    """
    tables = _tables(settings, vocabulary_size, vectors)
    encoder = BiLSTM(settings.lstm_units, name="bilstm")

    def encode(ids: keras.KerasTensor) -> keras.KerasTensor:
        words, positions = ops.unique(ids, sorted=False, return_inverse=True)
        embedded = [table(words) for table in tables]
        if len(embedded) > 1:
            embedded = [ops.concatenate(embedded, axis=-1)]
        return encoder(embedded[0], positions, mask=ops.not_equal(ids, 0))

    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in (["ids_a", "ids_b"] if pair else ["ids_a"])
    }
    encoded = [encode(ids) for ids in inputs.values()]
    output = PairUnit(name="pair_unit")(*encoded) if pair else encoded[0]
    output = keras.layers.Dense(
        settings.hidden_units, activation="relu", name="hidden"
    )(output)
    if settings.dropout:
        output = keras.layers.Dropout(settings.dropout, name="dropout")(output)
    output = keras.layers.Dense(num_classes, name="logits")(output)
    model = keras.Model(inputs, output, name="siamese" if pair else "bilstm")
    if vectors is not None and settings.embedding_mode != "random":
        frozen, trainable = _channels(vectors)
        for table in tables:
            table.embeddings.assign(trainable if table.trainable else frozen)
    return model


def parameters_without_embeddings(model: keras.Model) -> int:
    """Count the parameters outside the embedding tables.

    This is the number that Tang et al. 2019, table 2, gives.
    """
    tables = [layer for layer in model.layers if isinstance(layer, WordVectors)]
    return model.count_params() - sum(table.count_params() for table in tables)


def _channels(vectors: Any) -> tuple[np.ndarray, np.ndarray]:
    return vectors if isinstance(vectors, tuple) else (vectors, vectors)


def _tables(
    settings: StudentConfig, vocabulary_size: int, vectors: Any
) -> list[WordVectors]:
    mode = settings.embedding_mode
    if vectors is None and mode != "random":
        logger.info("no word vectors: one trainable table starts at random")
        mode = "random"
    shape = (vocabulary_size, settings.embedding_dim)
    for table in _channels(vectors) if mode != "random" else ():
        if table.shape != shape:
            raise UserError(
                f"the word vectors have shape {table.shape}, expected {shape} "
                "(vocabulary size, student.embedding_dim)"
            )
    names = {
        "static": ["static_vectors"],
        "non-static": ["trainable_vectors"],
        "random": ["trainable_vectors"],
        "multichannel": ["static_vectors", "trainable_vectors"],
    }[mode]
    return [
        WordVectors(
            *shape,
            embeddings_initializer=keras.initializers.RandomUniform(
                -_RANDOM_RANGE, _RANDOM_RANGE
            ),
            trainable=name == "trainable_vectors",
            name=name,
        )
        for name in names
    ]
