"""How often the rows of each class are drawn."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keras_distill.data.examples import Example
from keras_distill.student import dataset as module
from keras_distill.student.balance import MOST_DRAWS, Balance
from keras_distill.student.dataset import training_dataset
from keras_distill.student.text import SPECIALS, StudentTokenizer
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    encode,
    write_shard,
)

TOKENIZER = StudentTokenizer([*SPECIALS, "a", "b", "c"], lower_case=True)
# Of a class that no row has, too.
ROWS = [150, 40, 0, 3, 17]
TOTAL = sum(ROWS)


def class_of(number):
    return int(np.searchsorted(np.cumsum(ROWS), number, side="right"))


def record(number):
    """Row `number`: its number is the first logit, its class the largest.

    Originals have a gold label instead, which the teacher would not give.
    """
    original = number % 3 == 0
    logits = [-1000.0 + number, *[-5000.0] * len(ROWS)]
    place = class_of(number)
    logits[1 + (place + 1 if original else place) % len(ROWS)] = 9.0
    label = 1 + place if original else None
    text = " ".join("abc"[number % 3] * (1 + number % 7))
    return encode(
        Example(text, None, label, str(number)),
        logits,
        ORIGINAL if original else AUGMENTED,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    order = np.random.default_rng(0).permutation(TOTAL)
    paths = [folder / f"train-{place}.tfrecord" for place in range(4)]
    for path, numbers in zip(paths, np.array_split(order, 4), strict=True):
        write_shard(path, map(record, numbers.tolist()))
    return paths


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(module, "_BATCHES_PER_WINDOW", 5)
    monkeypatch.setattr(module, "_SHARDS_AT_ONCE", 2)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 37)


def balance(files, labelled_only=False):
    return Balance.of(files, 1 + len(ROWS), labelled_only)


def batches(files, take=None, labelled_only=False, **options):
    """The numbers of the rows of each batch."""
    settings = {"seed": 1, "repeat": False, **options}
    found = training_dataset(
        files,
        TOKENIZER,
        batch_size=8,
        pair=False,
        num_classes=1 + len(ROWS),
        max_length=10,
        balance=balance(files, labelled_only),
        labelled_only=labelled_only,
        **settings,
    )
    return [
        [int(number) + 1000 for number in targets["teacher_logits"][:, 0]]
        for _, targets in itertools.islice(found.as_numpy_iterator(), take)
    ]


def test_rows_count_by_gold_label_or_else_by_the_teacher(files):
    found = balance(files)
    assert found.rows.tolist() == [0, *ROWS]
    originals = Counter(class_of(n) for n in range(0, TOTAL, 3))
    expected = [0, *(originals[place] for place in range(len(ROWS)))]
    assert balance(files, labelled_only=True).rows.tolist() == expected


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=8).filter(any))
@example([7, 7, 8])
@example([1, 10_000_000])
@example([0, 5])
def test_an_epoch_stays_as_long_and_is_as_balanced_as_it_can_be(rows):
    rows = np.array(rows)
    drawn = Balance(rows).drawn
    assert drawn.sum() == rows.sum()
    assert (drawn <= MOST_DRAWS * rows).all()
    # Who has less than an equal share gives all that it may.
    free = rows > 0
    free &= drawn < MOST_DRAWS * rows
    if free.any():
        assert drawn[free].max() - drawn[free].min() <= 1
        assert (drawn[(rows > 0) & ~free] <= drawn[free].max()).all()


def test_each_epoch_draws_just_so_many_rows_of_each_class(files):
    expected = balance(files).drawn.tolist()
    # 3 rows at most 10 times; the others share 180.
    assert expected == [0, 60, 60, 0, 30, 60]
    for epoch in range(3):
        found = [n for batch in batches(files, epoch=epoch) for n in batch]
        times = Counter(found)
        drawn = Counter(map(class_of, found))
        assert [0, *(drawn[place] for place in range(len(ROWS)))] == expected
        # No row comes twice more often than another of its class.
        for place, rows in enumerate(ROWS):
            numbers = [n for n in range(TOTAL) if class_of(n) == place]
            counts = [times[number] for number in numbers]
            assert not counts or max(counts) - min(counts) <= 1, rows


def test_every_row_has_its_turn(files):
    # 60 of 150 rows an epoch: after 20 of them each was drawn about 8 times.
    times = Counter()
    for epoch in range(20):
        times.update(n for batch in batches(files, epoch=epoch) for n in batch)
    counts = [times[number] for number in range(150)]
    assert sum(counts) == 20 * 60
    assert min(counts) >= 1 and max(counts) <= 16


def test_rows_of_a_class_are_not_drawn_one_after_the_other(files):
    kinds = [len(set(map(class_of, batch))) for batch in batches(files)]
    assert np.mean(kinds) > 2


def test_batches_are_full_and_a_function_of_seed_and_epoch(files):
    first = batches(files)
    sizes = sorted(map(len, first))
    assert sizes == [TOTAL % 8] * (TOTAL % 8 > 0) + [8] * (TOTAL // 8)
    assert batches(files) == first
    assert batches(files, seed=2) != first
    assert batches(files, epoch=1) != first


@pytest.mark.parametrize("skip", [1, 7, 25])
def test_skipping_goes_on_with_the_very_next_batch(files, skip):
    whole = batches(files, 60, repeat=True, epoch=2)
    rest = batches(files, 60 - skip, repeat=True, epoch=2, skip_batches=skip)
    assert rest == whole[skip:]


def test_the_student_on_labels_alone_draws_from_its_own_rows(files):
    found = [n for batch in batches(files, labelled_only=True) for n in batch]
    assert {number % 3 for number in found} == {0}
    assert len(found) == len(range(0, TOTAL, 3))
    drawn = Counter(map(class_of, found))
    expected = balance(files, labelled_only=True).drawn
    assert [drawn[place] for place in range(len(ROWS))] == list(expected[1:])
