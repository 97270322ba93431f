"""The work that all contenders share: texts, ids, weights, in one folder."""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import contest  # (puts the package on the path)
import numpy as np

# What contenders read the work with.
sys.path.insert(0, str(contest.CONTENDERS))
from work import padded  # noqa: E402

WORDS, WIDTH, UNITS, HIDDEN, CLASSES = 15_000, 300, 150, 200, 2
# Longest text in words, as the student cuts it.
MAX_LENGTH = 128


def add_arguments(options: argparse.ArgumentParser) -> None:
    """Add what every contest can be told."""
    options.add_argument("--data-dir", type=Path, help="GLUE (SST-2/train.tsv)")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument(
        "--threads", type=int, default=0, help="for each; default: all cores"
    )


def add_student(options: argparse.ArgumentParser) -> None:
    """Add the student's shape, and where its peers are."""
    options.add_argument("--words", type=int, default=WORDS)
    options.add_argument("--units", type=int, default=UNITS)
    options.add_argument(
        "--peers", type=Path, help="a Python that has the peers installed"
    )


def read_texts(data_dir: Path | None, rows: int) -> list[str]:
    """Return random sentences of SST-2, or of the embedded corpus.

    The embedded corpus is repeated where it does not suffice.
    """
    from keras_distill.data.glue import read_glue
    from keras_distill.data.splits import read_corpus

    if data_dir is None:
        examples = read_corpus("train")
    else:
        examples = read_glue("sst2", data_dir / "SST-2" / "train.tsv")
    order = np.random.default_rng(0).permutation(len(examples))
    return [examples[place].text_a for place in np.resize(order, rows)]


def vocabulary_of(texts: Sequence[str], words: int = WORDS) -> list[str]:
    """Return a vocabulary of exactly that size: real words, then fillers."""
    from keras_distill.student.vocabulary import count_words, select_words

    vocabulary = select_words(count_words(texts, True), words, 1)
    fillers = (f"filler{number}" for number in itertools.count())
    return [*vocabulary, *itertools.islice(fillers, words - len(vocabulary))]


def token_ids(
    texts: Sequence[str], vocabulary: Sequence[str]
) -> list[np.ndarray]:
    """Return the students' ids, one int32 array a text."""
    import tensorflow as tf

    from keras_distill.student.text import StudentTokenizer

    tokenizer = StudentTokenizer(vocabulary, True, MAX_LENGTH)
    ragged = tokenizer(tf.constant(texts))
    return np.split(ragged.flat_values.numpy(), ragged.row_splits.numpy()[1:-1])


def random_weights(
    words: int = WORDS, width: int = WIDTH, units: int = UNITS
) -> dict[str, np.ndarray]:
    """Return a multichannel student's weights as Keras would start them.

    Speed does not depend on them. Keras' order and gates (i, f, c, o).
    """
    rng = np.random.default_rng(0)

    def uniform(scale: float, *shape: int) -> np.ndarray:
        return rng.uniform(-scale, scale, shape).astype(np.float32)

    vectors = uniform(0.25, words, width)
    bias = np.repeat(np.float32([0, 1, 0, 0]), units)
    weights = {"static": vectors, "trainable": vectors.copy()}
    for side in ("forward", "backward"):
        weights[f"{side}_kernel"] = uniform(
            np.sqrt(6 / (2 * width + 4 * units)), 2 * width, 4 * units
        )
        weights[f"{side}_recurrent"] = uniform(
            np.sqrt(1.5 / units), units, 4 * units
        )
        weights[f"{side}_bias"] = bias
    weights["hidden_kernel"] = uniform(0.1, 2 * units, HIDDEN)
    weights["hidden_bias"] = np.zeros(HIDDEN, np.float32)
    weights["output_kernel"] = uniform(0.17, HIDDEN, CLASSES)
    weights["output_bias"] = np.zeros(CLASSES, np.float32)
    return weights


def write_work(
    folder: Path,
    options: argparse.Namespace,
    vocabulary: list[str],
    ids: list[np.ndarray],
    batches: list[list[int]],
    texts: Sequence[str] = (),
    singles: Sequence[int] = (),
) -> list[np.ndarray]:
    """Write what `contenders/work.py` reads; return the padded batches."""
    weights = random_weights(options.words, units=options.units)
    np.savez(folder / "weights.npz", **weights)
    work = {
        "vocabulary": vocabulary,
        "ids": [row.tolist() for row in ids],
        "batches": batches,
        "texts": texts,
        "singles": singles,
    }
    (folder / "work.json").write_text(json.dumps(work))
    return [padded([ids[row] for row in rows]) for rows in batches]


def flops_per_batch(ids: np.ndarray, folded: bool, train: bool) -> float:
    """Count the operations that a batch needs, two a multiply-add.

    The recurrent product of each real word in both directions, the
    projection of each distinct word (none where it is folded into the
    table), the two dense layers of each row. Training needs each product
    twice more, for its two gradients; the frozen half of a vector has none.

    Args:
        ids: `[batch, len]`, 0 is padding.
        folded: Whether projections are looked up.
        train: Whether gradients are made.
    """
    recurrent = 2 * 2 * UNITS * 4 * UNITS * np.count_nonzero(ids)
    distinct = len(np.setdiff1d(ids, [0]))
    projection = 2 * 2 * WIDTH * 8 * UNITS * distinct
    dense = 2 * len(ids) * (2 * UNITS * HIDDEN + HIDDEN * CLASSES)
    if train:
        # 2.5: forward, the kernel's gradient, half of the vectors'.
        return 3 * recurrent + 2.5 * projection + 3 * dense
    return recurrent + dense + (0 if folded else projection)
