"""Vectors of words and sentences; see teacher_process.py."""

import numpy as np
import pytest

# With test_finetune.py: their scenarios share a process.
pytestmark = [pytest.mark.whole, pytest.mark.xdist_group("teacher")]


@pytest.fixture
def facts(scenarios):
    return scenarios["scenario_embed.embedding"]


def test_every_call_ends_well_and_makes_nothing_twice(facts):
    assert facts["codes"] == [0, 0, 0]
    assert facts["kept"] == [1, 1]


def test_a_word_s_vector_is_the_mean_of_its_last_states(facts):
    np.testing.assert_allclose(facts["states"][0], facts["good"], atol=1e-5)


def test_words_differ(facts):
    states = np.array(facts["states"])
    assert states.shape == (4, 16)
    assert np.abs(states[0] - states[1]).max() > 0.1


def test_each_distinct_text_has_one_vector(facts):
    assert facts["sentences"] == [3, 16]
    assert facts["dtype"] == "float16"
