"""Batches of like length: little padding, little work."""

from collections.abc import Iterator, Sequence

import numpy as np


def like_lengths(
    lengths: Sequence[int] | np.ndarray, size: int
) -> Iterator[np.ndarray]:
    """Yield the places of all items, those of like length together.

    Args:
        lengths: One number an item.
        size: Items in a batch, at most.

    Yields:
        int64 arrays of at most `size` places, from the shortest items to the
        longest; items of equal length keep their order.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
