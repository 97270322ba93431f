import numpy as np
import pytest

from keras_distill.benchmark.measure import (
    sample,
    sorted_batches,
    stratified,
    texts_of_length,
    words_of,
)


def sentences(number, seed=0):
    rng = np.random.default_rng(seed)
    return [("w " * rng.integers(1, 60),) for _ in range(number)]


def lengths(rows, batches):
    return [[len(words_of(rows[place][0])) for place in b] for b in batches]


def test_punctuation_marks_are_words_of_their_own():
    assert words_of("It's good, 10/10!") == [
        *("It", "'", "s", "good", ",", "10", "/", "10", "!")
    ]


class TestSortedBatches:
    def test_every_row_comes_once(self):
        batches = sorted_batches(sentences(100), 32)
        assert [len(batch) for batch in batches] == [32, 32, 32, 4]
        assert sorted(np.concatenate(batches)) == list(range(100))

    def test_lengths_rise_from_batch_to_batch(self):
        rows = sentences(100)
        flat = sum(lengths(rows, sorted_batches(rows, 32)), [])
        assert flat == sorted(flat)

    def test_both_texts_of_a_pair_are_of_like_length_in_a_batch(self):
        one, other = sentences(900), sentences(900, seed=1)
        rows = [a + b for a, b in zip(one, other, strict=True)]
        spreads = [
            max(found) - min(found)
            for batch in sorted_batches(rows, 10)
            for found in (
                [len(words_of(rows[place][column])) for place in batch]
                for column in (0, 1)
            )
        ]
        # Of 10 random rows it would be about 48.
        assert np.mean(spreads) < 10


class TestStratified:
    def test_enough_time_takes_all(self):
        batches = sorted_batches(sentences(100), 8)
        taken = stratified(batches, 100, 8)
        assert np.concatenate(taken).size == 100

    def test_whole_batches_are_taken_where_they_are_enough(self):
        batches = sorted_batches(sentences(1000), 10)
        taken = stratified(batches, 300, 4)
        assert len(taken) == 30
        assert {len(batch) for batch in taken} == {10}

    def test_few_rows_come_from_the_whole_range_of_lengths(self):
        rows = sentences(1000)
        taken = stratified(sorted_batches(rows, 100), 40, 8)
        assert [len(batch) for batch in taken] == [5] * 8
        found = lengths(rows, taken)
        assert np.mean(sum(found, [])) == np.clip(
            np.mean(sum(found, [])), 25, 35
        )
        assert max(found[0]) < 10 and min(found[-1]) > 50

    def test_a_part_of_a_batch_is_as_long_as_the_batch(self):
        # Each batch has rows of 1, 2, ... 60 words: wide, as long texts are.
        rows = [("w " * (place % 60 + 1),) for place in range(600)]
        batches = [np.arange(start, start + 60) for start in range(0, 600, 60)]
        taken = stratified(batches, 48, 8)
        assert [len(batch) for batch in taken] == [6] * 8
        for found in lengths(rows, taken):
            assert abs(np.mean(found) - 30.5) < 1
            assert min(found) < 10 and max(found) > 50

    def test_the_last_batch_may_have_fewer_rows(self):
        batches = sorted_batches(sentences(105), 50)
        taken = stratified(batches, 60, 3)
        assert [len(set(batch)) for batch in taken] == [20, 20, 5]

    def test_one_row_of_each_stratum_is_the_least(self):
        taken = stratified(sorted_batches(sentences(1000), 100), 0, 8)
        assert [len(batch) for batch in taken] == [1] * 8


class TestTextsOfLength:
    def test_texts_have_exactly_so_many_words(self):
        for length in (1, 10, 60):
            made = texts_of_length(sentences(20), 5, length, seed=1)
            assert [len(words_of(text)) for (text,) in made] == [length] * 5

    def test_both_texts_of_a_pair_have_so_many_words(self):
        made = texts_of_length([("a b", "c")] * 3, 4, 7, seed=1)
        assert [tuple(map(len, map(words_of, row))) for row in made] == [
            (7, 7)
        ] * 4

    def test_the_same_seed_gives_the_same_texts(self):
        rows = [(f"a{i} b{i} c{i}",) for i in range(50)]
        one, same, other = (
            texts_of_length(rows, 5, 10, seed) for seed in (1, 1, 2)
        )
        assert one == same != other


class TestTheSampleOfAContender:
    @pytest.fixture
    def batches(self):
        rows = [("w " * (i % 50 + 1),) for i in range(2000)]
        return sorted_batches(rows, 100)

    def at(self, rate):
        """A contender that takes a fixed time for each row."""
        return lambda batches: (sum(map(len, batches)) / rate, 0.0)

    @pytest.mark.parametrize(
        ("rate", "batched", "expected"),
        [
            pytest.param(5000, True, [100] * 20, id="fast: all"),
            pytest.param(800, True, [100] * 8, id="as many as it can"),
            pytest.param(150, True, [100] * 4, id="whole: a little longer"),
            pytest.param(80, True, [10] * 8, id="slow: a part of eight"),
            pytest.param(0.5, True, [8] * 8, id="slowest: no single rows"),
            pytest.param(0.5, False, [1] * 8, id="one text at a time"),
        ],
    )
    def test_it_fits_the_speed(self, batches, rate, batched, expected):
        found = sample(batches, 1.0, batched, self.at(rate))
        assert [len(places) for places in found] == expected

    def test_it_is_of_all_lengths(self, batches):
        found = np.concatenate(sample(batches, 1.0, True, self.at(80)))
        assert np.mean(found % 50 + 1) == pytest.approx(25.5, abs=3)
