"""How many words of a text MediaPipe's bundle reads."""

import numpy as np
import pytest

from keras_distill.export.window import fitting_window, share_cut, text_lengths
from keras_distill.student.text import SPECIALS


def test_a_text_is_as_long_as_its_ids():
    vocabulary = [*SPECIALS, "a", "film", "##s"]
    texts = ["a film", "", "Films!", "a " * 5000]
    found = text_lengths(texts * 2000, vocabulary, lower_case=True)
    assert found.tolist() == [2, 1, 3, 5000] * 2000
    assert text_lengths([], vocabulary, lower_case=True).shape == (0,)


@pytest.mark.parametrize(
    ("lengths", "window"),
    [
        ([], 128),
        ([1], 8),
        ([8] * 9, 8),
        ([9] * 9, 16),
        # One of 200 may be cut, two may not.
        ([20] * 199 + [500], 24),
        ([20] * 198 + [500] * 2, 504),
    ],
)
def test_all_but_half_a_percent_of_the_texts_fit(lengths, window):
    lengths = np.array(lengths, np.int64)
    assert fitting_window(lengths) == window
    cut = share_cut(lengths, window)
    assert cut is None if not len(lengths) else cut <= 0.005
