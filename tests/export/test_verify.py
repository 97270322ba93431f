"""Which answers of an exported file are taken for the student's."""

import numpy as np
import pytest

from keras_distill.export.verify import check_logits

TEXTS = 40
# Of the largest logit, 4.
TOLERANCE, LIMIT = 0.1, 0.4


def off(texts, far):
    expected = np.tile(np.array([[4.0, -1.0]], np.float32), (TEXTS, 1))
    found = expected.copy()
    found[:texts, 1] += far
    return check_logits(expected, found, TOLERANCE, "a file")


def test_rounding_may_add_up_in_one_text_of_twenty():
    assert off(TEXTS, 0.9 * LIMIT) == pytest.approx(0.9 * LIMIT)
    assert off(2, 4 * LIMIT) == pytest.approx(4 * LIMIT)


@pytest.mark.parametrize(
    "texts, far", [(3, 1.1 * LIMIT), (1, 6 * LIMIT), (1, np.nan)]
)
def test_a_file_that_reads_otherwise_is_refused(texts, far):
    with pytest.raises(RuntimeError, match=rf"{texts} of {TEXTS} texts"):
        off(texts, far)


def test_other_classes_are_refused():
    with pytest.raises(RuntimeError, match=r"have shape \(2, 3\)"):
        check_logits(np.zeros((2, 2)), np.zeros((2, 3)), TOLERANCE, "a file")
