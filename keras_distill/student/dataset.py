"""Batches for the student: shuffled, tokenised, bucketed by length.

Training reads a few shards at a time, which are random samples of the set,
shuffles their rows, cuts the stream into windows, sorts each window by length
and cuts it into batches that come in random order. Every draw is a function
of (seed, epoch), so that a run that was killed can go on with the very batch
that was next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from keras_distill.config import StudentConfig
from keras_distill.errors import UserError
from keras_distill.student.text import PAD_ID, UNK_ID, StudentTokenizer
from keras_distill.student.vocabulary import spelled_out
from keras_distill.transfer_set.record import NO_LABEL, ORIGINAL, parse

# Shards whose rows are shuffled together, and a bound on the memory when
# somebody's shards are huge.
_SHARDS_AT_ONCE = 5
_ROWS_AT_ONCE = 250_000
# Enough for pairs of batch 256 too, where both lengths have to be alike:
# 1.15 padded tokens per token (1.35 with 100 batches).
_BATCHES_PER_WINDOW = 400
_FOREVER = 2**31 - 1

# What a random draw is for; no two kinds share a seed.
_OF_SHARDS, _OF_ROWS, _OF_BATCHES, _OF_WORDS, _OF_DRAWS = range(5)

# So many words, the most frequent ones, are always read whole: no text is
# without them.
_ALWAYS_WHOLE = 1000

Row = dict[str, tf.Tensor | tf.RaggedTensor]
# Gets chunks of serialised rows and a key; gives chunks of those drawn.
Draws = Callable[[tf.data.Dataset, tf.Tensor], tf.data.Dataset]


@dataclass(frozen=True)
class Reading:
    """How words are read in training, so that no row of the table is noise.

    At inference a word outside the vocabulary is read in pieces, and what
    does not split is `[UNK]`. Training sees both only if it is made to: now
    and then a word is read as if it were not known. A whole text of `[UNK]`
    has the mean of all rows' logits as its best answer, and a text of words
    that nobody knows is answered so.

    Attributes:
        pieces: int32 [2 * words, (ids)]: each word as itself, then each word
            as its pieces.
        piece_rate: Chance that a word beyond the most frequent ones is read
            in pieces.
        unknown_rate: Chance that a word, and that a whole text, is read as
            `[UNK]`.
    """

    pieces: tf.RaggedTensor
    piece_rate: float
    unknown_rate: float

    @classmethod
    def of(
        cls, settings: StudentConfig, vocabulary: Sequence[str]
    ) -> "Reading | None":
        """Return how a student's training reads; None for word by word."""
        pieces = any(word.startswith("##") for word in vocabulary)
        rate = settings.piece_rate if pieces else 0.0
        if not rate and not settings.unknown_rate:
            return None
        whole = [[number] for number in range(len(vocabulary))]
        parts = spelled_out(vocabulary) if rate else whole
        parts = [*whole[:_ALWAYS_WHOLE], *parts[_ALWAYS_WHOLE:]]
        table = tf.ragged.constant(whole + parts, dtype=tf.int32)
        return cls(table, rate, settings.unknown_rate)

    def __call__(self, ids: tf.RaggedTensor, key: tf.Tensor) -> tf.RaggedTensor:
        """Read texts anew.

        Args:
            ids: int32 [batch, (len)].
            key: int64 [2], the only source of chance.

        Returns:
            int32 [batch, (len)], no shorter than before.
        """
        flat = ids.flat_values
        words, texts = tf.unstack(
            tf.random.experimental.stateless_split(key, 2)
        )
        draws = tf.random.stateless_uniform([tf.size(flat)], words)
        row = tf.random.stateless_uniform([ids.nrows()], texts)
        unknown = tf.gather(row < self.unknown_rate, ids.value_rowids())
        unknown |= draws < self.unknown_rate
        split = draws >= 1 - self.piece_rate
        known = tf.cast(self.pieces.nrows() // 2, tf.int32)
        flat = tf.where(split, flat + known, flat)
        flat = tf.where(unknown, UNK_ID, flat)
        read = tf.gather(self.pieces, flat)
        return ids.with_values(read).merge_dims(1, 2)


def training_dataset(
    files: Sequence[Path],
    tokenizer: StudentTokenizer,
    *,
    batch_size: int,
    pair: bool,
    num_classes: int,
    max_length: int,
    seed: int,
    reading: Reading | None = None,
    labelled_only: bool = False,
    balance: Draws | None = None,
    shuffle: bool = True,
    repeat: bool = True,
    epoch: int = 0,
    skip_batches: int = 0,
) -> tf.data.Dataset:
    """Return training batches.

    Every row comes exactly once per epoch, unless `balance` draws otherwise.
    All batches of an epoch have `batch_size` rows, save one that holds the
    remainder.

    Args:
        files: The shards.
        tokenizer: Turns text into ids.
        batch_size: Rows in a batch.
        pair: Whether rows have two texts.
        num_classes: Number of teacher logits.
        max_length: Longer texts lose their tail.
        seed: Another seed shuffles, and reads, otherwise.
        reading: How words are read; None is as at inference.
        labelled_only: Keep original rows with a gold label only.
        balance: Draws rows from an epoch's chunks, by a key; see `Balance`.
        shuffle: Random batches of like length; otherwise the rows as they
            lie on disk.
        repeat: Go on with epoch + 1, epoch + 2, ... without an end.
        epoch: The first epoch.
        skip_batches: Batches of the first epoch that were seen before a
            restart; passed over without being tokenised.

    Returns:
        Pairs (inputs, targets). inputs: `ids_a` (and `ids_b` for pairs)
        int32 [batch, len], 0 is padding. targets: `label` int32 [batch], -1
        when unknown; `teacher_logits` float32 [batch, classes].

    Raises:
        UserError: A file is missing, or there is none.
    """
    names = _existing(files)
    window = _BATCHES_PER_WINDOW if shuffle else 1

    def one_epoch(index: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.constant(seed, tf.int64), index])
        of_words = _fold(key, _OF_WORDS)

        def draw(kind: int) -> tf.Tensor | None:
            return _fold(key, kind) if shuffle else None

        records = _records(_shuffled(names, draw(_OF_SHARDS)), draw(_OF_ROWS))
        if labelled_only:
            records = records.map(labelled_rows)
        if balance is not None:
            of_draws = _fold(key, _OF_DRAWS)
            records = balance(records, _fold(of_draws, 0))
            # It gives the rows of a class one after the other.
            records = _mixed(records, _fold(of_draws, 1))
        skip = tf.where(index == epoch, tf.cast(skip_batches, tf.int64), 0)
        batches = (
            records.unbatch()
            .batch(window * batch_size)
            .enumerate()
            .skip(skip // window)
            .map(
                lambda number, serialized: (
                    number,
                    _read_anew(
                        _tokenised(
                            serialized, tokenizer, pair, num_classes, max_length
                        ),
                        reading,
                        _fold(of_words, number),
                        max_length,
                    ),
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .flat_map(
                lambda number, row: _cut(
                    row, batch_size, shuffle, draw(_OF_BATCHES), number
                )
            )
        )
        return batches.skip(skip % window)

    epochs = tf.data.Dataset.range(epoch, _FOREVER if repeat else epoch + 1)
    return _untuned(epochs.flat_map(one_epoch))


def evaluation_dataset(
    file: Path,
    tokenizer: StudentTokenizer,
    *,
    batch_size: int,
    pair: bool,
    num_classes: int,
    max_length: int,
    sort: bool = True,
) -> tf.data.Dataset:
    """Return the batches of one file, each row once.

    As `training_dataset` gives them; targets hold one tensor more: `row`
    int64 [batch], the place in the file. `sort` puts rows of like length
    together, which is faster; otherwise they keep the order of the file.
    """
    window = _BATCHES_PER_WINDOW * batch_size

    def tokenised(number: tf.Tensor, serialized: tf.Tensor) -> Row:
        row = _tokenised(serialized, tokenizer, pair, num_classes, max_length)
        place = tf.range(tf.size(serialized, tf.int64))
        return {**row, "row": number * window + place}

    return _untuned(
        tf.data.TFRecordDataset(_existing([file]))
        .batch(window)
        .enumerate()
        .map(tokenised, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .flat_map(lambda row: _cut(row, batch_size, sort))
    )


def _untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches that are made ahead by a fixed number of threads.

    TensorFlow's tuner sleeps for up to a minute between two looks, and the
    end of an iterator, thus of a process, waits for it to wake.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _records(names: tf.Tensor, key: tf.Tensor | None) -> tf.data.Dataset:
    """Return chunks of serialised rows, string [rows], shuffled inside."""
    chunks = (
        tf.data.Dataset.from_tensor_slices(names)
        .batch(_SHARDS_AT_ONCE)
        .flat_map(
            lambda group: tf.data.TFRecordDataset(group).batch(_ROWS_AT_ONCE)
        )
    )
    return _mixed(chunks, key)


def _mixed(chunks: tf.data.Dataset, key: tf.Tensor | None) -> tf.data.Dataset:
    """Shuffle the rows of each chunk."""
    if key is None:
        return chunks
    return chunks.enumerate().map(
        lambda number, chunk: _shuffled(chunk, _fold(key, number))
    )


def labelled_rows(serialized: tf.Tensor) -> tf.Tensor:
    """Keep the original rows that have a gold label."""
    number = tf.io.FixedLenFeature([], tf.int64)
    row = tf.io.parse_example(serialized, {"label": number, "source": number})
    keep = (row["label"] != NO_LABEL) & (row["source"] == ORIGINAL)
    return tf.boolean_mask(serialized, keep)


def _tokenised(
    serialized: tf.Tensor,
    tokenizer: StudentTokenizer,
    pair: bool,
    num_classes: int,
    max_length: int,
) -> Row:
    fields = parse(serialized, pair, num_classes)
    row = {
        "label": fields["label"],
        "teacher_logits": fields["teacher_logits"],
        "ids_a": tokenizer(fields["text_a"])[:, :max_length],
    }
    if pair:
        row["ids_b"] = tokenizer(fields["text_b"])[:, :max_length]
    return row


def _read_anew(
    row: Row, reading: Reading | None, key: tf.Tensor, max_length: int
) -> Row:
    if reading is None:
        return row
    return row | {
        name: reading(row[name], _fold(key, number))[:, :max_length]
        for number, name in enumerate(("ids_a", "ids_b"))
        if name in row
    }


def _cut(
    row: Row,
    batch_size: int,
    sort: bool,
    key: tf.Tensor | None = None,
    number: tf.Tensor | int = 0,
) -> tf.data.Dataset:
    """Cut a window into batches, of like length and in random order."""
    size = tf.size(row["label"], tf.int64)
    batches = -(-size // batch_size)
    order = _by_length(row, batches, batch_size) if sort else tf.range(size)
    starts = tf.range(batches) * batch_size
    if key is not None:
        starts = _shuffled(starts, _fold(key, number))

    def batch(start: tf.Tensor) -> tuple[Row, Row]:
        rows = order[start : start + batch_size]
        values = {name: tf.gather(value, rows) for name, value in row.items()}
        inputs = {
            name: values.pop(name).to_tensor(PAD_ID)
            for name in ("ids_a", "ids_b")
            if name in values
        }
        return inputs, values

    return tf.data.Dataset.from_tensor_slices(starts).map(batch)


def _by_length(row: Row, batches: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Return an order in which neighbours have like lengths.

    Rows of equal length keep the random order in which they came.
    """
    order = tf.argsort(row["ids_a"].row_lengths(), stable=True)
    order = tf.cast(order, tf.int64)
    if "ids_b" not in row:
        return order
    # Each text of a pair is padded for itself. So the window is cut into
    # sqrt(batches) stripes by the first text's length, each is sorted by
    # the second's, and both lengths vary little inside a batch.
    root = tf.sqrt(tf.cast(batches, tf.float64))
    stripe = tf.cast(tf.math.ceil(root), tf.int64) * batch_size
    place = tf.range(tf.size(order, tf.int64))
    length = tf.gather(row["ids_b"].row_lengths(), order)
    rank = (place // stripe) * (tf.reduce_max(length) + 1) + length
    return tf.gather(order, tf.argsort(rank, stable=True))


def _shuffled(values: tf.Tensor, key: tf.Tensor | None) -> tf.Tensor:
    """Shuffle the rows of a tensor by nothing but the key."""
    if key is None:
        return values
    draws = tf.random.stateless_uniform([tf.size(values)], key)
    return tf.gather(values, tf.argsort(draws, stable=True))


def _fold(key: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(
        key, tf.cast(number, tf.int64)
    )


def _existing(files: Sequence[Path]) -> tf.Tensor:
    if not files:
        raise UserError("there are no records to read: no file was given")
    for path in files:
        if not Path(path).is_file():
            raise UserError(f"cannot read {path}: no such file")
    return tf.constant([str(path) for path in files])
