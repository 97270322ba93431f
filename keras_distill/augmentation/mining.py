"""Beyond the paper: new pairs out of the texts of old ones.

A pair's two texts are noised apart by the paper's operators, which leaves
them as related as they were. Here a first text meets other second texts: its
nearest ones, which are the hard cases, and random ones.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.augmentation.generate import (
    EXAMPLES_PER_PART,
    chance,
    finished,
    known_part,
    part_path,
    write_manifest,
    write_part,
)
from keras_distill.augmentation.nearest import nearest, open_vectors
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import read_examples
from keras_distill.data.reported import Reported
from keras_distill.files import write_array
from keras_distill.progress import progress

logger = logging.getLogger(__name__)

SOURCE = "mined"
_NUMBER = 3
_NEAREST = "nearest.npy"
# More random ones are drawn than are wanted, since some are pairs already.
_SPARE = 8


def mine_file(
    data: Path,
    output_dir: Path,
    settings: AugmentationConfig,
    seed: int,
    vectors: Path,
) -> dict[str, Any]:
    """Make pairs of texts that train does not pair.

    For each distinct first text there are up to `settings.mined`: two
    thirds, rounded up, with the nearest second texts by the cosine of their
    vectors, the rest with random ones. Two texts that train pairs, in either
    order, or that are equal but for case, are no new pair; a text that
    occurs in a reported split is not used. A call that was interrupted goes
    on where it stopped, as `generate.augment_file` does.

    Args:
        data: The folder that the data stage left, of a task of pairs.
        output_dir: Where parts and manifest go, in the form of
            `generate.augment_file`; ids are `m0`, `m1`, ...
        settings: How many pairs.
        seed: Seed of all draws.
        vectors: The folder with `sentences.npy`, a vector for each distinct
            text of train in the order of their first appearance, row by row
            and the first text before the second.

    Returns:
        The manifest, as `generate.augment_file` has it, with `source`.

    Raises:
        UserError: The data or the vectors are missing or damaged, or the
            disk is full.
    """
    work = output_dir / "work"
    manifest = finished(output_dir)
    if manifest is None:
        texts = _Texts.read(data)
        array = open_vectors(
            vectors / "sentences.npy", texts.distinct, "distinct texts of train"
        )
        near = _nearest(texts, array, settings, seed, work / _NEAREST)
        parts = []
        with progress(len(texts.firsts), "mining pairs", "texts") as bar:
            for low in range(0, len(texts.firsts), EXAMPLES_PER_PART):
                some = slice(low, low + EXAMPLES_PER_PART)
                path = part_path(output_dir, len(parts))
                rng = chance(seed, len(parts), _NUMBER)
                parts.append(
                    known_part(path, pair=True)
                    or write_part(
                        path, _rows(texts, near, some, settings.mined, rng)
                    )
                )
                bar.update(len(near[some]))
        manifest = write_manifest(
            output_dir, SOURCE, settings, seed, True, len(texts.firsts), parts
        )
    shutil.rmtree(work, ignore_errors=True)
    return manifest


@dataclass(frozen=True)
class _Texts:
    """The texts of train's pairs; of those equal but for case the first.

    Attributes:
        firsts: The first texts.
        seconds: The second texts.
        first_rows: int64 [firsts], their places among all distinct texts.
        second_rows: int64 [seconds], likewise.
        paired: int64 [pairs, 2], places in `firsts` and `seconds` of texts
            that make no new pair, sorted.
        distinct: Number of distinct texts, also of those that are not used.
    """

    firsts: list[str]
    seconds: list[str]
    first_rows: np.ndarray
    second_rows: np.ndarray
    paired: np.ndarray
    distinct: int

    @classmethod
    def read(cls, data: Path) -> "_Texts":
        rows: dict[str, int] = {}
        folds: dict[str, int] = {}
        columns: tuple[list[str], list[str]] = ([], [])
        places: tuple[dict[int, int], dict[int, int]] = ({}, {})
        reported = Reported(data)
        pairs = []
        unused = set()
        for example in read_examples(data / "train.jsonl.gz"):
            pair = []
            texts = (example.text_a, example.text_b or "")
            for text, column, place in zip(texts, columns, places, strict=True):
                rows.setdefault(text, len(rows))
                folded = text.casefold()
                fold = folds.setdefault(folded, len(folds))
                pair.append(fold)
                if fold in place or fold in unused:
                    continue
                if not text or reported.has_text(text):
                    unused.add(fold)
                    continue
                place[fold] = len(column)
                column.append(text)
            pairs.append(pair)
        if unused:
            logger.info(
                "%d texts that are empty or reported on are not paired anew",
                len(unused),
            )
        first_of, second_of = (_as_array(place, len(folds)) for place in places)
        a, b = np.array(pairs, np.int64).reshape(-1, 2).T
        same = np.arange(len(folds))
        paired = np.concatenate(
            [
                np.stack([first_of[x], second_of[y]], axis=1)
                for x, y in ((a, b), (b, a), (same, same))
            ]
        )
        paired = np.unique(paired[(paired >= 0).all(axis=1)], axis=0)
        first_rows, second_rows = (
            np.array([rows[text] for text in column], np.int64)
            for column in columns
        )
        return cls(*columns, first_rows, second_rows, paired, len(rows))


def _as_array(places: dict[int, int], size: int) -> np.ndarray:
    """Return the values by key, -1 where there is none."""
    array = np.full(size, -1, np.int64)
    array[np.array(list(places), np.int64)] = list(places.values())
    return array


def _nearest(
    texts: _Texts,
    vectors: np.ndarray,
    settings: AugmentationConfig,
    seed: int,
    path: Path,
) -> np.ndarray:
    """Find the nearest second texts, once; an interrupted run has them."""
    if not path.is_file():
        logger.info(
            "looking for the nearest of %s second texts of %s first ones",
            f"{len(texts.seconds):,}",
            f"{len(texts.firsts):,}",
        )
        found = nearest(
            vectors,
            texts.first_rows,
            texts.second_rows,
            texts.paired,
            -(-2 * settings.mined // 3),
            seed,
        )
        write_array(path, found)
    return np.load(path, mmap_mode="r")


def _rows(
    texts: _Texts,
    near: np.ndarray,
    some: slice,
    mined: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, str]]:
    """Yield the new rows of some of the first texts."""
    found = np.asarray(near[some])
    seconds = len(texts.seconds)
    if not seconds:
        return
    shape = len(found), mined - near.shape[1] + _SPARE
    drawn = rng.integers(0, seconds, shape)
    firsts = np.arange(some.start, some.start + len(found))
    low, high = np.searchsorted(
        texts.paired[:, 0], [some.start, some.start + len(found)]
    )
    # No two pairs have the same number.
    known = np.isin(
        firsts[:, None] * seconds + drawn,
        texts.paired[low:high] @ np.array([seconds, 1]),
    )
    candidates = np.concatenate([found, np.where(known, -1, drawn)], axis=1)
    for row, chosen in enumerate(candidates.tolist(), some.start):
        new = [second for second in dict.fromkeys(chosen) if second >= 0]
        for k, second in enumerate(new[:mined]):
            text = f"{texts.firsts[row]}\t{texts.seconds[second]}"
            yield f"m{row * mined + k}", text
