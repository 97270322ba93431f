"""The paper's three operators, drawn for many sentences at once."""

import numpy as np

from keras_distill.augmentation.frequencies import FrequencyTable
from keras_distill.augmentation.tagged import Sentences


def mask_and_replace(
    sentences: Sentences,
    rows: int,
    *,
    p_mask: float,
    p_pos: float,
    mask: int,
    table: FrequencyTable,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mask words, or replace them by words with the same tag.

    Tang et al. 2019, section 3.3: each word draws X from U[0, 1]. It
    becomes `[MASK]` when X < p_mask, another word of its tag when
    p_mask <= X < p_mask + p_pos, and stays otherwise.

    Args:
        sentences: The texts; words and tags are rows of `table`.
        rows: How many times each text is drawn anew.
        p_mask: Probability of masking a word.
        p_pos: Probability of replacing a word.
        mask: The id of `[MASK]`.
        table: Where replacements are drawn from.
        rng: Source of chance.

    Returns:
        int32 [rows, words], the words' ids.
    """
    chance = rng.random((rows, len(sentences.words)), dtype=np.float32)
    noised = np.where(chance < np.float32(p_mask), mask, sentences.words)
    noised = noised.astype(np.int32, copy=False)
    replaced = (chance >= np.float32(p_mask)) & (
        chance < np.float32(p_mask + p_pos)
    )
    places = np.flatnonzero(replaced)
    if len(places):
        tags = sentences.tags[places % len(sentences.words)]
        noised.ravel()[places] = table.draw(tags, rng)
    return noised


def crop(
    lengths: np.ndarray,
    rows: int,
    *,
    p_ngram: float,
    max_ngram: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose what remains of each text: a random n-gram, or all of it.

    Tang et al. 2019, section 3.3: with probability p_ngram, n is drawn from
    1..max_ngram and one of the text's n-grams is kept. A text shorter than
    n is kept whole.

    Args:
        lengths: Integer array [texts], words in each text.
        rows: How many times each text is drawn anew.
        p_ngram: Probability of keeping an n-gram only.
        max_ngram: The longest n-gram.
        rng: Source of chance.

    Returns:
        Two int64 arrays [rows, texts]: the first word kept and how many.
    """
    shape = (rows, len(lengths))
    cropped = rng.random(shape) < p_ngram
    size = rng.integers(1, max_ngram + 1, shape)
    size = np.where(cropped, np.minimum(size, lengths), lengths)
    return rng.integers(0, lengths - size + 1), size
