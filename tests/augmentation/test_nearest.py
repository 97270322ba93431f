"""The search: exact, ties by place, excluded ones never, cells near to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation import nearest as searches
from keras_distill.augmentation.nearest import (
    largest,
    nearest,
    open_vectors,
)
from keras_distill.errors import UserError

NOTHING = np.zeros((0, 2), np.int64)


def vectors_of(seed, rows, width=8):
    return np.random.default_rng(seed).normal(size=(rows, width))


def by_hand(vectors, queries, targets, excluded, k):
    """Compare each with each, in Python."""
    pairs = set(map(tuple, excluded.tolist()))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for q, query in enumerate(queries):
        order = sorted(
            (-round(float(unit[query] @ unit[target]), 4), t)
            for t, target in enumerate(targets)
            if (q, t) not in pairs
        )
        chosen = [t for _, t in order[:k]]
        found.append(chosen + [-1] * (k - len(chosen)))
    return found


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.integers(1, 12), st.integers(0, 12), st.data())
def test_the_search_is_what_comparing_each_with_each_finds(
    seed, queries, targets, data
):
    # Of few values, so that there are ties.
    vectors = np.random.default_rng(seed).integers(1, 3, (30, 2)) * 1.0
    rng = np.random.default_rng(seed)
    asked, among = rng.integers(0, 30, queries), rng.integers(0, 30, targets)
    pairs = st.tuples(
        st.integers(0, queries - 1), st.integers(0, max(targets - 1, 0))
    )
    excluded = sorted(data.draw(st.sets(pairs, max_size=20)) if targets else [])
    excluded = np.array(excluded, np.int64).reshape(-1, 2)
    k = data.draw(st.integers(1, 5))
    found = nearest(vectors, asked, among, excluded, k, seed=0)
    assert found.tolist() == by_hand(vectors, asked, among, excluded, k)


@pytest.mark.parametrize("name", ["_BLOCK", "_QUERIES"])
def test_blocks_leave_no_seam(monkeypatch, name):
    vectors = vectors_of(1, 200).astype(np.float16)
    rows = np.arange(200)
    same = np.stack([rows, rows], axis=1)
    whole = nearest(vectors, rows, rows, same, 7, 0)
    monkeypatch.setattr(searches, name, 64)
    assert nearest(vectors, rows, rows, same, 7, 0).tolist() == whole.tolist()


def test_the_largest_are_the_first_of_equals():
    columns, values = largest(np.float32([[1, 3, 3, 2], [0, 0, 0, 0]]), 3)
    assert columns.tolist() == [[1, 2, 3], [0, 1, 2]]
    assert values.tolist() == [[3, 3, 2], [0, 0, 0]]


def test_vectors_that_are_zero_or_not_finite_are_near_to_nothing():
    vectors = np.array([[1, 0], [0, 0], [np.nan, 1], [1, 1], [np.inf, 0]])
    found = nearest(vectors, np.array([0]), np.arange(1, 5), NOTHING, 1, 0)
    assert found.tolist() == [[2]]


def clustered(rows, width=16, groups=40):
    rng = np.random.default_rng(5)
    homes = rng.normal(size=(groups, width))
    return homes[rng.integers(0, groups, rows)] + 0.35 * rng.normal(
        size=(rows, width)
    )


def recall(found, exact):
    return np.mean(
        [
            len(set(a) & set(b)) / len(b)
            for a, b in zip(found.tolist(), exact.tolist(), strict=True)
        ]
    )


def test_cells_find_most_of_what_the_exact_search_finds(monkeypatch):
    vectors = clustered(3000)
    queries, targets = np.arange(500), np.arange(500, 3000)
    # The three nearest are taken already.
    exact = nearest(vectors, queries, targets, NOTHING, 13, 0)
    taken = np.stack([np.repeat(queries, 3), exact[:, :3].ravel()], axis=1)
    monkeypatch.setattr(searches, "EXACT_UP_TO", 1000)
    found = nearest(vectors, queries, targets, taken, 10, 0)
    again = nearest(vectors, queries, targets, taken, 10, 0)
    other = nearest(vectors, queries, targets, taken, 10, 1)
    assert recall(found, exact[:, 3:]) > 0.9
    assert found.tolist() == again.tolist()
    assert found.tolist() != other.tolist()
    pairs = set(map(tuple, taken.tolist()))
    assert not any(
        (q, t) in pairs for q, row in enumerate(found.tolist()) for t in row
    )


def test_all_cells_together_are_the_exact_search(monkeypatch):
    vectors = vectors_of(3, 300)
    rows = np.arange(300)
    same = np.stack([rows, rows], axis=1)
    exact = nearest(vectors, rows, rows, same, 6, 0)
    monkeypatch.setattr(searches, "EXACT_UP_TO", 50)
    monkeypatch.setattr(searches, "_PROBES", 17)
    assert nearest(vectors, rows, rows, same, 6, 0).tolist() == exact.tolist()


def test_a_missing_file_of_vectors_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.npy"):
        open_vectors(tmp_path / "nowhere.npy", 3, "words")


@pytest.mark.parametrize(
    "content", [b"", b"no array", np.zeros((2, 4)), np.zeros(3), np.eye(3) > 0]
)
def test_vectors_of_another_form_are_an_error(tmp_path, content):
    path = tmp_path / "vectors.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(UserError, match=r"vectors\.npy"):
        open_vectors(path, 3, "words")
