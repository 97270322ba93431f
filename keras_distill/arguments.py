"""Types of command-line arguments, with messages that say what was expected."""

import argparse
import math


def count(text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a whole number of at least 1"
        )
    return value


def positive(text: str) -> float:
    """Read a finite number above 0.

    Raises:
        ArgumentTypeError: It is none.
    """
    value = _finite(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a positive number"
        )
    return value


def not_negative(text: str) -> float:
    """Read a finite number that is 0 or more.

    Raises:
        ArgumentTypeError: It is none.
    """
    value = _finite(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a number from 0"
        )
    return value


def _finite(text: str) -> float:
    """Return the number, not-a-number where there is none or no finite one."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
