import argparse

import pytest

from keras_distill.arguments import count, not_negative, positive


def test_numbers_are_read():
    assert count("12") == 12
    assert positive("0.5") == 0.5
    assert not_negative("0") == 0.0


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (count, "0", "a whole number of at least 1"),
        (count, "1.5", "a whole number of at least 1"),
        (positive, "0", "a positive number"),
        (positive, "inf", "a positive number"),
        (positive, "nan", "a positive number"),
        (positive, "much", "a positive number"),
        (not_negative, "-1", "a number from 0"),
        (not_negative, "inf", "a number from 0"),
    ],
)
def test_anything_else_is_answered_with_what_was_expected(read, text, expected):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    assert str(caught.value) == f"found {text!r}, expected {expected}"
