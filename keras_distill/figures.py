"""Writes figures of matplotlib as files."""

from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG, atomically, and return its path."""
    with atomic_path(path) as temporary:
        # Without the version of matplotlib equal runs give equal bytes.
        figure.savefig(
            temporary, format="png", dpi=_DPI, metadata={"Software": None}
        )
    return path
