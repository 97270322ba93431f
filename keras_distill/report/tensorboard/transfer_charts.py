"""Pictures of the transfer set: lengths, sources, augmented texts."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_distill.augmentation.generate import MANIFEST, read_augmented
from keras_distill.data.examples import Example
from keras_distill.data.splits_io import read_examples
from keras_distill.report.tensorboard.pictures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    new_figure,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = {"original": BLUE, "augmented": ORANGE, "unlabelled": GREEN}
_MOST_BINS = 40
# So many originals are shown, and so many variants of each.
_ORIGINALS, _VARIANTS = 6, 3
_ROWS_TO_LOOK_AT = 2000
_WIDTH, _LINES = 80, 3


def transfer_set_chart(
    lengths: Mapping[str, np.ndarray], counts: Mapping[str, int]
) -> "Figure":
    """Draw how long the texts are, and where they come from.

    Args:
        lengths: By source words of a row, of the rows that were read.
        counts: By source the rows of the whole transfer set.
    """
    figure = new_figure(9.5, 4)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    everything = np.concatenate(list(lengths.values()))
    # A few very long texts would press all others to the axis.
    most = max(int(np.percentile(everything, 99.5)), 2)
    width = -(-most // _MOST_BINS)
    edges = np.arange(0.5, most + width + 0.5, width)
    for name, values in lengths.items():
        left.hist(
            np.minimum(values, edges[-1] - 0.5),
            edges,
            weights=np.full(len(values), 100 / len(values)),
            histtype="step",
            linewidth=2,
            color=_COLORS[name],
            label=f"{name} (median {np.median(values):.0f})",
        )
    left.set_xlabel("words in a row")
    left.set_ylabel("percent of the source's rows")
    left.set_title(
        f"lengths, of {len(everything):,} rows; the last bin holds longer ones",
        fontsize=10,
    )
    left.legend(frameon=False, fontsize=9)
    names = [name for name in _COLORS if counts.get(name)]
    total = sum(counts.values())
    bars = right.barh(
        names,
        [counts[name] for name in names],
        color=[_COLORS[name] for name in names],
    )
    right.bar_label(
        bars,
        [f" {counts[n]:,} ({100 * counts[n] / total:.1f}%)" for n in names],
        fontsize=9,
    )
    right.invert_yaxis()
    right.set_xlim(0, 1.45 * max(counts.values()))
    right.set_xticks([])
    right.set_title(f"sources, of {total:,} rows", fontsize=10)
    left.spines[["top", "right"]].set_visible(False)
    right.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def augmentation_examples(run_dir: Path) -> list[tuple[str, list[str]]]:
    """Find training texts and what augmentation made of them.

    Args:
        run_dir: A run folder.

    Returns:
        Original and variants, at most six originals from the beginning of
        the file; the texts of a pair have ` / ` between them. Empty when
        nothing was augmented or the text is gone.
    """
    folder = Path(run_dir) / "augmented"
    data = Path(run_dir) / "data" / "train.jsonl.gz"
    if not (folder / MANIFEST).is_file() or not data.is_file():
        return []
    variants: dict[str, list[str]] = {}
    rows = itertools.islice(read_augmented(folder), _ROWS_TO_LOOK_AT)
    for example in rows:
        source = example.id.rpartition("-a")[0]
        variants.setdefault(source, []).append(_text(example))
    # Those with most variants show most.
    chosen = sorted(variants, key=lambda name: -len(variants[name][:_VARIANTS]))
    wanted = set(chosen[:_ORIGINALS])
    found = []
    for example in read_examples(data):
        if example.id in wanted:
            found.append((_text(example), variants[example.id][:_VARIANTS]))
            if len(found) == len(wanted):
                break
    return found


def augmentation_table(
    examples: Sequence[tuple[str, Sequence[str]]],
) -> "Figure":
    """Draw originals on the left and their variants on the right.

    Args:
        examples: As `augmentation_examples` gives them.
    """
    rows = [
        (_wrapped(original), [_wrapped(variant) for variant in variants])
        for original, variants in examples
    ]
    heights = [
        max(_lines(left), sum(map(_lines, right)) + 0.25 * len(right)) + 0.9
        for left, right in rows
    ]
    total = sum(heights) + 1.6
    figure = new_figure(11.5, 0.19 * total + 0.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(total, 0)
    style = {"va": "top", "parse_math": False, "fontsize": 9}
    for x, name in ((0.0, "original"), (0.5, "augmented")):
        axes.text(x, 0.1, name, weight="bold", **style)
    place = 1.6
    for (left, right), height in zip(rows, heights, strict=True):
        axes.axhline(place - 0.35, color=GREY, linewidth=0.6, alpha=0.6)
        axes.text(0, place, left, color=BLUE, **style)
        below = place
        for variant in right:
            axes.text(0.5, below, variant, color="#222222", **style)
            below += _lines(variant) + 0.25
        place += height
    return figure


def _text(example: Example) -> str:
    parts = [example.text_a, example.text_b]
    return " / ".join(part for part in parts if part is not None)


def _wrapped(text: str) -> str:
    return textwrap.fill(
        shortened(text, _WIDTH * _LINES - 20), _WIDTH, max_lines=_LINES
    )


def _lines(text: str) -> int:
    return text.count("\n") + 1
