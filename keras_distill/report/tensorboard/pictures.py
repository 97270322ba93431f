"""Matplotlib figures as TensorBoard's pictures."""

import io
import warnings
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart without seeing red and green; Okabe and Ito's palette.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
PALETTE = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")

_DPI = 110


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure.

    Args:
        width: In inches, 110 pixels each.
        height: In inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def write_picture(tag: str, figure: "Figure", description: str) -> None:
    """Write a figure to the default event file."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Texts may hold characters that the font lacks; they become boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(content, format="png", dpi=_DPI)
    image = tf.io.decode_png(content.getvalue(), channels=3)
    tf.summary.image(tag, image[tf.newaxis], description=description)


def plain(text: str) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
