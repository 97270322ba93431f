"""How numbers, tables and pictures look, wherever they are shown."""

import logging
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

UNKNOWN = "-"
NO_BREAK = "\u00a0"

# Okabe and Ito's palette: told apart without seeing red and green.
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, ORANGE, SKY, BLACK = "#CC79A7", "#E69F00", "#56B4E9", "#000000"
PALETTE = (BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK)
# Of lines that are no data: references, frames, rows without a class.
GREY = "#666666"

_DPI = 150


def percent(value: float | None) -> str:
    """Return a share as a number of percent: 0.8725 is `87.2`."""
    return UNKNOWN if value is None else f"{100 * value:.1f}"


def count(value: int | None) -> str:
    """Return a large number for people: 960,602 is `0.96M`."""
    if value is None:
        return UNKNOWN
    if value < 100_000:
        return f"{value:,}"
    return f"{value / 1e6:.{2 if value < 10e6 else 1}f}M"


def size(value: int | None) -> str:
    """Return a number of bytes for people: 6,912,345 is `6.9 MB`."""
    if value is None:
        return UNKNOWN
    megabytes = value / 1e6
    if megabytes >= 1000:
        return f"{megabytes / 1000:.1f} GB"
    return f"{megabytes:.{0 if megabytes >= 100 else 1}f} MB"


def wrapped(text: str, width: int = 79) -> str:
    """Return one paragraph with line breaks."""
    # Not split(): no-break spaces hold numbers and units together.
    lines = textwrap.fill(
        " ".join(re.split(r"[ \n]+", text.strip())),
        width,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(NO_BREAK, " ")


def aligned(rows: Sequence[Sequence[str]], first_width: int = 0) -> str:
    """Return rows of cells as a table for a terminal.

    The first column stands to the left, the others to the right.

    Args:
        rows: Cells. A row of fewer cells than the first one is a remark: it
            takes the room that it needs and widens no column.
        first_width: Least width of the first column, so that tables below
            each other agree.
    """
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    widths[0] = max(first_width, *(len(row[0]) for row in rows))
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        # strict=False: remarks are shorter.
        for cell, width in zip(others, widths[1:], strict=False):
            cells.append(cell.rjust(width))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def code(text: str) -> str:
    """Return a name as Markdown's inline code, whatever it holds."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def markdown_table(
    header: Sequence[str],
    rows: Iterable[Iterable[str]],
    *,
    numbers: bool = False,
) -> str:
    """Return rows of cells as a Markdown table.

    Args:
        header: The columns' names.
        rows: Cells, as many in a row; a `|` in one is escaped.
        numbers: Whether all columns but the first stand to the right.
    """
    rule = ["---", *["--:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
        for line in (header, rule, *rows)
    )


def can_draw() -> bool:
    """Say whether matplotlib is installed; log it when it is not."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        logger.info("no pictures: matplotlib is not installed")
        return False
    return True


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a width and a height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def widen(axes: "Axes", least: float) -> None:
    """Let the y axis span `least` or more: less makes mountains of rows."""
    low, high = axes.get_ylim()
    missing = max(0.0, least - (high - low)) / 2
    axes.set_ylim(low - missing, high + missing)


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG, atomically, and return its path."""
    with atomic_path(path) as temporary:
        # Without the version of matplotlib equal runs give equal bytes.
        figure.savefig(
            temporary, format="png", dpi=_DPI, metadata={"Software": None}
        )
    return path
