"""The window of MediaPipe's bundle: how many words of a text it reads.

All of it is computed for every text, so that one twice as long takes twice the
time, whatever is asked.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.student.text import StudentTokenizer

# So many of the training texts fit as a whole.
_SHARE = 0.995
_MULTIPLE = 8
# Where the training texts are gone.
_UNKNOWN = 128
_BATCH = 4096


def text_lengths(
    texts: Sequence[str], vocabulary: Sequence[str], lower_case: bool
) -> np.ndarray:
    """Return how many ids each text has, int64 [texts]."""
    tokenizer = StudentTokenizer(vocabulary, lower_case)
    lengths = np.zeros(len(texts), np.int64)
    for start in range(0, len(texts), _BATCH):
        some = [normalize(text) for text in texts[start : start + _BATCH]]
        ids = tokenizer(tf.constant(some))
        lengths[start : start + _BATCH] = ids.row_lengths()
    return lengths


def fitting_window(lengths: np.ndarray) -> int:
    """Return a window for texts: their 99.5th percentile, rounded up.

    It is a multiple of 8; 128 where there are no texts.
    """
    if not len(lengths):
        return _UNKNOWN
    longest = np.quantile(lengths, _SHARE, method="inverted_cdf")
    return int(-(-longest // _MULTIPLE) * _MULTIPLE)


def share_cut(lengths: np.ndarray, window: int) -> float | None:
    """Return the share of texts that are longer; None where there are none."""
    return float(np.mean(lengths > window)) if len(lengths) else None
