"""The texts that a benchmark asks about, and the batches they come in."""

import random
import re
from collections.abc import Sequence

import numpy as np

# Words and punctuation marks, about as BERT's tokenizer splits them.
_WORD = re.compile(r"\w+|[^\w\s]")

Row = tuple[str, ...]


def words(text: str) -> list[str]:
    """Split a text into words and punctuation marks."""
    return _WORD.findall(text)


def sorted_batches(rows: Sequence[Row], batch_size: int) -> list[np.ndarray]:
    """Cut rows into batches of like length, short ones first.

    Pairs are sorted by the first text's length, and in broad stripes of that
    by the second's.

    Args:
        rows: The texts of each row, one or two.
        batch_size: Rows in a batch; the last one may hold fewer.

    Returns:
        int64 places of the rows; every row comes once.
    """
    lengths = np.array([[len(words(text)) for text in row] for row in rows])
    order = np.argsort(lengths[:, 0], kind="stable")
    if lengths.shape[1] > 1:
        batches = -(-len(order) // batch_size)
        width = int(np.ceil(np.sqrt(batches))) * batch_size
        stripe = np.arange(len(order)) // width
        order = order[np.lexsort((lengths[order, 1], stripe))]
    return [
        order[start : start + batch_size]
        for start in range(0, len(order), batch_size)
    ]


def stratified(
    batches: Sequence[np.ndarray], most_rows: int, strata: int
) -> list[np.ndarray]:
    """Take batches from the whole range of lengths, for what is slow.

    Args:
        batches: As `sorted_batches` gives them.
        most_rows: Take about so many rows, at least one from each stratum.
        strata: Take at least from so many places; where whole batches would
            be fewer, some rows of more batches are taken, from all over
            each: the first ones are its shortest.

    Returns:
        Some batches, whole if `most_rows` allows; all of them if it allows
        that.
    """
    if most_rows >= sum(map(len, batches)):
        return list(batches)
    largest = max(map(len, batches))
    count = min(len(batches), max(strata, most_rows // largest))
    size = min(largest, max(1, most_rows // count))
    places = (np.arange(count) + 0.5) * len(batches) / count
    return [_spread(batches[int(place)], size) for place in places]


def _spread(batch: np.ndarray, size: int) -> np.ndarray:
    size = min(size, len(batch))
    places = (np.arange(size) + 0.5) * len(batch) / size
    return batch[places.astype(int)]


def texts_of_length(
    rows: Sequence[Row], number: int, length: int, seed: int
) -> list[Row]:
    """Make texts of one length out of the rows' own words.

    Rows in random order are joined and cut, so that the words stand as in
    running text and are as common as there.

    Args:
        rows: The texts of each row, one or two.
        number: Make so many.
        length: Words in a text; of a pair, in each of the two.
        seed: Same seed, same texts.

    Returns:
        Rows of as many texts as the given ones have.
    """
    rng = random.Random(seed)
    stream: list[str] = []
    made = []
    for _ in range(number):
        texts = []
        for column in range(len(rows[0])):
            while len(stream) < length:
                stream += words(rng.choice(rows)[column])
            texts.append(" ".join(stream[:length]))
            del stream[:length]
        made.append(tuple(texts))
    return made
