"""Makes students smaller: fewer words, narrower vectors; in numpy.

What comes out is a student as any other, so that every form is made of it in
the same way. Narrowing keeps of the words' vectors what the LSTM reads of
them: at full width nothing is lost, below it as little as a linear map can
lose.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from keras_distill.export.bundle import Exported
from keras_distill.student.text import SPECIALS, UNK_ID

# What an int8 file holds beside weights and packed files: graph, metadata,
# small matrices in float32. Measured: 16 to 20 kB.
_GRAPH_BYTES = 24_000
# The converter's scale (float32) and zero point (int64) of a matrix's column.
_COLUMN_BYTES = 12
# So often is a word taken to occur that was never seen.
_RARE = 0.5


def int8_bytes(exported: Exported) -> int:
    """Estimate the size of `student_int8.tflite`, a little too high."""
    width = exported.weights.vectors.shape[1]
    return _fixed_bytes(exported) + width * _bytes_per_width(exported)


def file_bytes(exported: Exported, bytes_per_weight: int) -> int:
    """Estimate the size of a TFLite file of word ids, a little too high.

    Args:
        exported: The student.
        bytes_per_weight: 4, 2 (float16) or 1 (int8).
    """
    if bytes_per_weight == 1:
        return int8_bytes(exported)
    weights = bytes_per_weight * exported.weights.size
    return weights + _packed_bytes(exported) + _GRAPH_BYTES


def column_bytes(exported: Exported) -> int:
    """Return what the scales of the matrices take in an int8 file."""
    weights = exported.weights
    columns = 2 * 8 * weights.units  # The kernel's, the recurrent kernels'.
    columns += sum(bias.size for _, bias in weights.dense)
    return _COLUMN_BYTES * columns


def widest(exported: Exported, budget_bytes: int) -> int:
    """Return the greatest width at which a student's int8 file fits.

    Args:
        exported: The student.
        budget_bytes: What `int8_bytes` may not exceed.

    Returns:
        At most the width that it has; 0 or less when none fits.
    """
    room = budget_bytes - _fixed_bytes(exported)
    width = exported.weights.vectors.shape[1]
    return min(width, room // _bytes_per_width(exported))


def cut_vocabulary(exported: Exported, lines: int) -> Exported:
    """Drop a student's rarest words.

    Special tokens stay, and with word pieces all of these and all single
    characters: what is dropped is read in pieces then. Without pieces it
    is read as [UNK].

    Args:
        exported: The student; its words stand in order of frequency.
        lines: Lines that the vocabulary shall have; more if more have to
            stay.

    Returns:
        The student with the words that are left, in their order.
    """
    vocabulary = exported.vocabulary
    if lines >= len(vocabulary):
        return exported
    pieces = any(word.startswith("##") for word in vocabulary)
    stays = np.array(
        [
            word in SPECIALS
            or (pieces and (word.startswith("##") or len(word) == 1))
            for word in vocabulary
        ]
    )
    room = max(0, lines - int(stays.sum()))
    kept = stays.copy()
    kept[np.flatnonzero(~stays)[:room]] = True
    return replace(
        exported,
        weights=replace(
            exported.weights, vectors=exported.weights.vectors[kept]
        ),
        vocabulary=[
            word for word, stay in zip(vocabulary, kept, strict=True) if stay
        ],
    )


def narrowed(
    exported: Exported,
    width: int,
    counts: Mapping[str, int] | None = None,
) -> Exported:
    """Give a student narrower vectors.

    The principal axes of the words' projections, `vectors @ kernel`, which
    is all that the LSTM reads of them: of all students with vectors of that
    width this one has the nearest projections, in the mean of their squared
    distances over the running words.

    Args:
        exported: The student.
        width: Numbers in a vector, at least 1; more than the student has
            are as many.
        counts: How often words occur; None when it is not known.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1. Received: {width}")
    weights = exported.weights
    # kernel = right @ basis with rows of basis at right angles: distances
    # of vectors @ right are those of the projections.
    basis, right = np.linalg.qr(weights.kernel.astype(np.float64).T)
    vectors = weights.vectors @ right.T
    importance = _importance(exported.vocabulary, counts)
    _, axes = np.linalg.eigh((vectors.T * importance) @ vectors)
    # eigh has the smallest first.
    axes = axes[:, ::-1][:, :width] @ _rotation(min(width, len(axes)))
    return replace(
        exported,
        weights=replace(
            weights,
            vectors=(vectors @ axes).astype(np.float32),
            kernel=(axes.T @ basis.T).astype(np.float32),
        ),
    )


def _rotation(width: int) -> np.ndarray:
    """Return a rotation that is always the same, float64 [width, width].

    Along principal axes a few numbers of a vector are large. Whole numbers
    of 8 bits with one scale a word are more exact when all are alike.
    """
    rng = np.random.default_rng(0)
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def _importance(
    vocabulary: list[str], counts: Mapping[str, int] | None
) -> np.ndarray:
    """Return what each word's error weighs, float64 [lines]."""
    if counts is None:
        # Zipf's law: a word's rank is its line.
        return 1 / np.arange(1, len(vocabulary) + 1)
    seen = np.array([counts.get(word, 0) for word in vocabulary], np.float64)
    known = set(vocabulary)
    # All others are read as [UNK].
    seen[UNK_ID] += sum(
        count for word, count in counts.items() if word not in known
    )
    return np.maximum(seen, _RARE)


def _bytes_per_width(exported: Exported) -> int:
    """Return what one more number in each vector costs."""
    return len(exported.vocabulary) + exported.weights.kernel.shape[1]


def _fixed_bytes(exported: Exported) -> int:
    """Return the bytes of an int8 file that do not depend on the width."""
    weights = exported.weights
    vectors, kernel = weights.vectors.size, weights.kernel.size
    # Each bias has four bytes, and so has each word's scale.
    biases = weights.bias.size + sum(bias.size for _, bias in weights.dense)
    scales = len(exported.vocabulary)
    return (
        weights.size
        - vectors
        - kernel
        + 3 * biases
        + 4 * scales
        + column_bytes(exported)
        + _packed_bytes(exported)
        + _GRAPH_BYTES
    )


def _packed_bytes(exported: Exported) -> int:
    files = (
        exported.vocabulary_file(),
        exported.labels_file(),
        exported.text_file(),
    )
    return sum(map(len, files))
