"""Nearest neighbours by cosine: exact for many, by cells for very many."""

import math
from pathlib import Path

import numpy as np

from keras_distill.errors import UserError

# Above so many targets the search goes by cells.
EXACT_UP_TO = 100_000
# Cells that a query looks into.
_PROBES = 4
# Numbers in a block of similarities, and queries that are asked at once.
_BLOCK = 1 << 24
_QUERIES = 1 << 17
# Products of matrices differ in their last digits from shape to shape:
# similarities that differ by less are equal, and the index decides.
_DIGITS = 5
# Lower than any cosine.
_NONE = np.float32(-2)


def open_vectors(path: Path, rows: int, of: str) -> np.ndarray:
    """Map an array of vectors into memory.

    Args:
        path: The `.npy` file.
        rows: How many vectors it is to hold.
        of: What they are the vectors of, for messages.

    Returns:
        Floats [rows, width], read-only.

    Raises:
        UserError: The file is missing, is no array, or is one of another
            form.
    """
    try:
        vectors = np.load(path, mmap_mode="r")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot read {path}: {reason}") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not an array: {error}") from error
    if vectors.ndim != 2 or len(vectors) != rows or vectors.dtype.kind != "f":
        raise UserError(
            f"{path} holds {vectors.dtype} {list(vectors.shape)}, expected a "
            f"vector for each of {rows:,} {of}"
        )
    return vectors


def unit_rows(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some of the vectors, float32, of length 1 (or 0)."""
    chosen = np.asarray(vectors[rows]).astype(np.float32, copy=False)
    norms = np.linalg.norm(chosen, axis=1, keepdims=True)
    # What is not finite is near to nothing.
    known = np.isfinite(norms) & (norms > 0)
    return np.where(known, chosen, 0) / np.where(known, norms, 1)


def nearest(
    vectors: np.ndarray,
    queries: np.ndarray,
    targets: np.ndarray,
    excluded: np.ndarray,
    k: int,
    seed: int,
) -> np.ndarray:
    """Find the targets with the largest cosine to each query.

    Exact for up to `EXACT_UP_TO` targets. More are dealt to cells, about the
    square root of their number, by the nearest of as many random centroids;
    a query then sees the targets of its four nearest cells only. Memory
    grows with the targets' vectors in float32 where the search is exact, and
    with the largest cell's otherwise.

    Args:
        vectors: Floats [rows, width], such as a memory map.
        queries: int [queries], rows of `vectors`.
        targets: int [targets], rows of `vectors`.
        excluded: int [pairs, 2], a query's and a target's place, sorted by
            query: not to be found for each other.
        k: How many to find.
        seed: Of the centroids.

    Returns:
        int32 [queries, k], places in `targets`, the nearest first and the
        lower place first among equals; -1 where there are no more.
    """
    cells = _Cells(vectors, targets, seed)
    starts = np.searchsorted(excluded[:, 0], np.arange(len(queries) + 1))
    found = np.full((len(queries), k), -1, np.int32)
    if not len(targets):
        return found
    for low in range(0, len(queries), _QUERIES):
        asked = unit_rows(vectors, queries[low : low + _QUERIES])
        probed = cells.probe(asked)
        values = np.full((len(asked) * probed.shape[1], k), _NONE)
        places = np.zeros(values.shape, np.int32)
        # Cell by cell, so that each is fetched once for all who ask.
        order = np.argsort(probed, axis=None, kind="stable")
        edges = np.searchsorted(
            probed.ravel()[order], np.arange(cells.count + 1)
        )
        for cell in np.unique(probed):
            members, table = cells.content(cell)
            slots = order[edges[cell] : edges[cell + 1]]
            step = max(1, _BLOCK // max(len(members), 1))
            for start in range(0, len(slots) if len(members) else 0, step):
                some = slots[start : start + step]
                who = some // probed.shape[1]
                similarity = asked[who] @ table.T
                row, pair = _spans(starts[low + who], starts[low + who + 1])
                target = excluded[pair, 1]
                inside = cells.home[target] == cell
                column = np.searchsorted(members, target[inside])
                similarity[row[inside], column] = _NONE
                columns, best = largest(similarity, k)
                places[some, : columns.shape[1]] = members[columns]
                values[some, : columns.shape[1]] = best
        shape = len(asked), -1
        values, places = values.reshape(shape), places.reshape(shape)
        first = np.lexsort((places, -values))[:, :k]
        found[low : low + _QUERIES] = np.where(
            np.take_along_axis(values, first, 1) > _NONE,
            np.take_along_axis(places, first, 1),
            -1,
        )
    return found


def largest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find each row's largest values, which are rounded.

    Returns:
        Two arrays [rows, at most k]: the columns, the lower one first among
        equals, and their values.
    """
    rows, k = len(values), min(k, values.shape[1])
    least = np.partition(values, -k, axis=1)[:, [-k]]
    # All that may be equal to the last one when rounded.
    row, column = np.nonzero(values >= least - np.float32(0.1**_DIGITS))
    rounded = np.round(values[row, column], _DIGITS)
    order = np.lexsort((column, -rounded, row))
    counts = np.bincount(row, minlength=rows)
    chosen = order[(np.cumsum(counts) - counts)[:, None] + np.arange(k)]
    return column[chosen], rounded[chosen]


class _Cells:
    """The targets, each in the cell of its nearest centroid.

    Attributes:
        count: Number of cells; one where the search is exact.
        home: int [targets], the cell of each.
    """

    def __init__(
        self, vectors: np.ndarray, targets: np.ndarray, seed: int
    ) -> None:
        self._vectors, self._targets = vectors, targets
        few = len(targets) <= EXACT_UP_TO
        self.count = 1 if few else math.isqrt(len(targets))
        self.home = np.zeros(len(targets), np.int32)
        if not few:
            rng = np.random.default_rng(seed)
            chosen = rng.choice(len(targets), self.count, replace=False)
            self._centroids = unit_rows(vectors, targets[np.sort(chosen)])
            for low in range(0, len(targets), _QUERIES):
                some = unit_rows(vectors, targets[low : low + _QUERIES])
                closest = self._closest(some, 1)
                self.home[low : low + _QUERIES] = closest[:, 0]
        self._order = np.argsort(self.home, kind="stable")
        self._bounds = np.searchsorted(
            self.home[self._order], np.arange(self.count + 1)
        )

    def probe(self, queries: np.ndarray) -> np.ndarray:
        """Return the cells to look into, [queries, probes]."""
        if self.count == 1:
            return np.zeros((len(queries), 1), np.int64)
        return self._closest(queries, _PROBES)

    def content(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a cell's targets, in order, and their vectors."""
        members = self._order[self._bounds[cell] : self._bounds[cell + 1]]
        return members, unit_rows(self._vectors, self._targets[members])

    def _closest(self, queries: np.ndarray, k: int) -> np.ndarray:
        step = max(1, _BLOCK // self.count)
        return np.concatenate(
            [
                largest(queries[low : low + step] @ self._centroids.T, k)[0]
                for low in range(0, len(queries), step)
            ]
        )


def _spans(
    starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers in each span, after the number of their span."""
    counts = ends - starts
    row = np.repeat(np.arange(len(counts)), counts)
    skipped = np.repeat(starts - np.cumsum(counts) + counts, counts)
    return row, skipped + np.arange(len(row))
