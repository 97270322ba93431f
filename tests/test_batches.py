"""Batches of like length."""

import numpy as np

from keras_distill.batches import like_lengths


def test_each_item_comes_once_the_shortest_first_and_ties_in_order():
    batches = list(like_lengths([3, 1, 2, 1, 3], 2))
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0], [4]]


def test_nothing_gives_no_batches():
    assert list(like_lengths(np.zeros(0, int), 4)) == []
