"""Command-line arguments: what is wrong with one is a line that helps."""

import argparse
import functools
import math
from pathlib import Path
from typing import NoReturn


def one_line_errors(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Make a parser tell an error in one line, without all of its flags.

    Args:
        parser: The parser; it is changed.

    Returns:
        The same parser. It still ends the process with exit code 2.
    """
    parser.error = functools.partial(_refuse, parser)
    return parser


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    line = " ".join(message.splitlines())
    parser.exit(2, f"error: {line} (see {parser.prog} --help)\n")


def path(text: str) -> Path:
    """Read a path that is not empty, as an unset variable's is.

    Raises:
        ArgumentTypeError: It is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("found nothing, expected a path")
    return Path(text)


def whole(text: str) -> int:
    """Read a whole number.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a whole number"
        ) from error


def number(text: str) -> float:
    """Read a finite number.

    Raises:
        ArgumentTypeError: It is none.
    """
    value = _finite(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number")
    return value


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
