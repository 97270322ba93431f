import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_distill.teacher.predict import (
    Encoded,
    padded_tokens,
    shuffled_batches,
    sorted_batches,
)

lengths_of_texts = st.lists(st.integers(1, 300), max_size=200).map(
    lambda values: np.asarray(values, np.int32)
)


def realistic_lengths(rows, seed=0):
    """Word pieces of reviews; of every four one is cut to 1..5 words."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(2.6, 0.6, rows), 1, 126)
    cropped = rng.random(rows) < 0.25
    lengths[cropped] = rng.integers(1, 6, cropped.sum())
    return (lengths + 2).astype(np.int32)


def encoded(left=False):
    rows = [[5, 6, 7], [8], [9, 10]]
    return Encoded(
        columns={
            "input_ids": [np.asarray(row, np.int32) for row in rows],
            "attention_mask": [np.ones(len(row), np.int32) for row in rows],
        },
        lengths=np.asarray([3, 1, 2], np.int32),
        padding={"input_ids": 1, "attention_mask": 0},
        left=left,
    )


@given(lengths_of_texts, st.integers(16, 1000))
def test_labelling_takes_every_row_once(lengths, tokens):
    batches = list(sorted_batches(lengths, tokens))
    rows = np.concatenate([[], *batches]).astype(int)
    assert sorted(rows) == list(range(len(lengths)))


@given(lengths_of_texts, st.integers(16, 1000))
def test_a_labelling_batch_of_several_rows_keeps_to_its_tokens(lengths, tokens):
    for rows in sorted_batches(lengths, tokens):
        assert len(rows) == 1 or padded_tokens(lengths, rows) <= tokens


@given(lengths_of_texts)
def test_labelling_goes_from_long_to_short(lengths):
    batches = sorted_batches(lengths, 64)
    order = [length for rows in batches for length in lengths[rows]]
    assert order == sorted(order, reverse=True)


@given(lengths_of_texts, st.integers(16, 10_000))
def test_labelling_never_pads_more_than_a_tenth(lengths, tokens):
    for rows in sorted_batches(lengths, tokens):
        assert padded_tokens(lengths, rows) < 1.10 * lengths[rows].sum()


@given(lengths_of_texts, st.integers(16, 1000))
def test_a_family_that_reads_padding_gets_none(lengths, tokens):
    for rows in sorted_batches(lengths, tokens, max_padding=1.0):
        assert len({*lengths[rows].tolist()}) == 1


@pytest.mark.parametrize("rows", [20_000, 3_000, 300])
def test_labelling_pads_less_than_a_tenth_of_the_tokens(rows):
    lengths = realistic_lengths(rows)
    padded = sum(
        padded_tokens(lengths, batch) for batch in sorted_batches(lengths, 8192)
    )
    assert 1.0 <= padded / lengths.sum() < 1.10


def test_padded_tokens_count_the_longest_row_for_all():
    assert padded_tokens(np.asarray([3, 9, 5]), np.asarray([0, 2])) == 10


@given(lengths_of_texts, st.integers(1, 40), st.integers(0, 3))
def test_an_epoch_takes_every_row_once(lengths, size, epoch):
    batches = shuffled_batches(lengths, size, seed=1, epoch=epoch)
    rows = np.concatenate([[], *batches]).astype(int)
    assert sorted(rows) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert all(len(rows) <= size for rows in batches)


def test_epochs_differ_and_are_repeatable():
    lengths = realistic_lengths(500)

    def flat(seed, epoch):
        return np.concatenate(shuffled_batches(lengths, 16, seed, epoch))

    assert np.array_equal(flat(1, 0), flat(1, 0))
    assert not np.array_equal(flat(1, 0), flat(1, 1))
    assert not np.array_equal(flat(1, 0), flat(2, 0))


def test_training_batches_hold_texts_of_like_length():
    lengths = realistic_lengths(4_000)
    batches = shuffled_batches(lengths, 32, seed=0, epoch=0)
    padded = sum(padded_tokens(lengths, rows) for rows in batches)
    rng = np.random.default_rng(0)
    random = np.array_split(rng.permutation(4_000), 125)
    unsorted = sum(padded_tokens(lengths, rows) for rows in random)
    assert padded / lengths.sum() < 1.15 < unsorted / lengths.sum()


def test_training_batches_are_not_ordered_by_length():
    lengths = realistic_lengths(4_000)
    batches = shuffled_batches(lengths, 32, seed=0, epoch=0)
    longest = [int(lengths[rows].max()) for rows in batches]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.4


def test_a_batch_is_padded_on_the_right_with_each_columns_value():
    batch = encoded().batch([1, 2])
    assert batch["input_ids"].tolist() == [[8, 1], [9, 10]]
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["input_ids"].dtype == np.int32


def test_a_batch_is_padded_on_the_left_where_the_tokenizer_does():
    batch = encoded(left=True).batch([0, 1])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [1, 1, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
