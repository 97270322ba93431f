"""The students as Keras models, for sentences and for pairs."""

import logging
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_distill.config import StudentConfig, check_kind
from keras_distill.errors import UserError
from keras_distill.student.formulas import NGRAMS, hashed_pairs
from keras_distill.student.kinds import KINDS, Kind, LinearLogits
from keras_distill.student.layers import PairUnit, WordVectors

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

    The default is that of Tang et al. 2019, section 2.2: word vectors, one
    BiLSTM layer whose two last states are concatenated, a ReLU layer, logits.
    For pairs one shared BiLSTM encodes both texts and `PairUnit` joins them.
    `kinds.KINDS` has the others.

    Each distinct word of a batch is looked up and projected once, and the
    gradient reaches each row of the tables once.

    Args:
        settings: The architecture: kind, units, vectors' mode and width,
            dropout.
        vocabulary_size: Rows of the embedding tables; id 0 is padding.
        num_classes: Number of logits.
        pair: Whether there are two texts.
        vectors: float32 `[vocabulary_size, embedding_dim]`, the word
            vectors; two of them for a frozen and a trainable channel that
            start from different ones; None starts one trainable table at
            random, whatever the mode. A linear student has none.

    Returns:
        A model of a dictionary of inputs, `ids_a` and for pairs `ids_b`,
        int32 `[batch, None]`, to logits, float32 `[batch, num_classes]`.

    Raises:
        UserError: The vectors' shape does not fit, or the kind takes no
            such texts.
    """
    check_kind(settings.kind, pair)
    kind = KINDS[settings.kind]
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in (["ids_a", "ids_b"] if pair else ["ids_a"])
    }
    if kind.reader is None:
        output = _linear(inputs["ids_a"], vocabulary_size, num_classes)
        return keras.Model(inputs, output, name=settings.kind)
    tables = _tables(settings, vocabulary_size, vectors)
    output = _encoded(kind, settings, tables, list(inputs.values()))
    if kind.hidden or pair:
        output = keras.layers.Dense(
            settings.hidden_units, activation="relu", name="hidden"
        )(output)
    if settings.dropout:
        output = keras.layers.Dropout(settings.dropout, name="dropout")(output)
    output = keras.layers.Dense(num_classes, name="logits")(output)
    name = "siamese" if pair and settings.kind == "bilstm" else settings.kind
    model = keras.Model(inputs, output, name=name)
    if vectors is not None and settings.embedding_mode != "random":
        frozen, trainable = _channels(vectors)
        for table in tables:
            table.embeddings.assign(trainable if table.trainable else frozen)
    return model


def kind_of(model: keras.Model) -> str:
    """Return the kind of a student that `build_student` has made."""
    return "bilstm" if model.name == "siamese" else model.name


def _encoded(
    kind: Kind,
    settings: StudentConfig,
    tables: list[WordVectors],
    texts: list[keras.KerasTensor],
) -> keras.KerasTensor:
    """Return the encoding of one text, or of two together."""
    reader = kind.reader(settings)
    pool = kind.pool and kind.pool()

    def encode(ids: keras.KerasTensor) -> keras.KerasTensor:
        words, positions = ops.unique(ids, sorted=False, return_inverse=True)
        embedded = [table(words) for table in tables]
        if len(embedded) > 1:
            embedded = [ops.concatenate(embedded, axis=-1)]
        read = reader(embedded[0], positions, mask=ops.not_equal(ids, 0))
        return pool(read, ids) if pool else read

    encoded = [encode(ids) for ids in texts]
    if kind.compare:
        return kind.compare(settings)(*encoded, *texts)
    if len(encoded) == 2:
        return PairUnit(name="pair_unit")(*encoded)
    return encoded[0]


def _linear(
    ids: keras.KerasTensor, vocabulary_size: int, num_classes: int
) -> keras.KerasTensor:
    """Return logits as sums of rows: of words, and of pairs of words."""
    of_words, of_pairs = (
        WordVectors(
            rows, num_classes, embeddings_initializer="zeros", name=name
        )
        for rows, name in ((vocabulary_size, "words"), (NGRAMS, "pairs"))
    )
    return LinearLogits(name="logits")(
        of_words(ids), of_pairs(hashed_pairs(ids)), ids
    )


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
