import numpy as np
import pytest

from keras_distill.timing.bench import Bench
from keras_distill.timing.settings import Settings
from keras_distill.timing.texts import sorted_batches


class Worker:
    """Takes a fixed time for each row."""

    def __init__(self, rate):
        self.rate = rate

    def ask(self, do, name, batches):
        return {"seconds": sum(map(len, batches)) / self.rate}


@pytest.fixture
def sample(tmp_path):
    """Return the sizes of the batches that a contender gets."""
    rows = [("w " * (i % 50 + 1),) for i in range(2000)]
    batches = sorted_batches(rows, 100)
    settings = Settings(batch_size=100, seconds=1.0)
    bench = Bench(tmp_path, tmp_path, rows, batches, settings)

    def sizes(rate, batched=True):
        found = bench._sample(Worker(rate), "any", batched)
        return [len(places) for places in found]

    return sizes


def test_what_is_fast_gets_all_batches(sample):
    assert sample(5000) == [100] * 20


def test_what_needs_longer_gets_as_many_whole_batches_as_it_can(sample):
    assert sample(800) == [100] * 8


def test_whole_batches_may_take_a_little_longer(sample):
    assert sample(150) == [100] * 4


def test_what_is_slow_gets_a_part_of_eight_batches(sample):
    assert sample(80) == [10] * 8


def test_the_slowest_gets_more_than_single_rows(sample):
    assert sample(0.5) == [8] * 8


def test_what_takes_one_text_at_a_time_needs_no_more(sample):
    assert sample(0.5, batched=False) == [1] * 8


def test_the_sample_is_of_all_lengths(tmp_path):
    rows = [("w " * (i % 50 + 1),) for i in range(2000)]
    batches = sorted_batches(rows, 100)
    settings = Settings(batch_size=100, seconds=1.0)
    bench = Bench(tmp_path, tmp_path, rows, batches, settings)
    found = np.concatenate(bench._sample(Worker(80), "any", True))
    assert np.mean(found % 50 + 1) == pytest.approx(25.5, abs=3)
