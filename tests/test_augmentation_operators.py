"""The three operators: rates and invariants."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation.tagged import FrequencyTable, Sentences
from keras_distill.augmentation.variants import crop, mask_and_replace

COUNTS = Counter(
    {
        ("NN", "film"): 6,
        ("NN", "plot"): 3,
        ("NN", "love"): 1,
        ("VB", "love"): 4,
        ("VB", "see"): 4,
        ("DT", "the"): 2,
    }
)
TABLE = FrequencyTable(COUNTS)
MASK = len(TABLE.words)


def sentences(*pairs):
    words = [TABLE.word_rows[word] for _, word in pairs]
    tags = [TABLE.tag_rows[tag] for tag, _ in pairs]
    return Sentences(
        np.array(words, np.int32),
        np.array(tags, np.int32),
        np.zeros(len(pairs), bool),
        np.array([len(pairs)]),
    )


def noise(source, rows, p_mask, p_pos, seed=0):
    return mask_and_replace(
        source,
        rows,
        p_mask=p_mask,
        p_pos=p_pos,
        mask=MASK,
        table=TABLE,
        rng=np.random.default_rng(seed),
    )


def near(rate, expected, n):
    """Within five standard errors."""
    error = (expected * (1 - expected) / n) ** 0.5
    return abs(rate - expected) <= 5 * error


def test_a_tenth_of_the_words_is_masked():
    noised = noise(sentences(("NN", "film"), ("DT", "the")), 50_000, 0.1, 0.1)
    assert near((noised == MASK).mean(), 0.1, noised.size)


def test_a_tenth_of_the_words_is_replaced():
    noised = noise(sentences(("VB", "see")), 100_000, 0.1, 0.1)
    # Half of the replacements draw the same word again.
    changed = (noised != TABLE.word_rows["see"]) & (noised != MASK)
    assert near(changed.mean(), 0.05, noised.size)


def test_masking_and_replacing_exclude_each_other():
    # Were the two drawn apart, half of the masks would be replaced again.
    noised = noise(sentences(("VB", "see")), 100_000, 0.5, 0.5)
    assert near((noised == MASK).mean(), 0.5, noised.size)
    assert near((noised == TABLE.word_rows["love"]).mean(), 0.25, noised.size)


def test_probability_one_changes_every_word_and_zero_none():
    source = sentences(("NN", "film"), ("VB", "see"), ("DT", "the"))
    assert (noise(source, 100, 1.0, 0.0) == MASK).all()
    assert (noise(source, 100, 0.0, 0.0) == source.words).all()


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_a_replacement_has_the_tag_of_the_word_it_replaces(seed, p, share):
    source = sentences(*COUNTS)
    noised = noise(source, 20, p * share, p * (1 - share), seed)
    for row in noised:
        for word, tag in zip(row, source.tags, strict=True):
            if word != MASK:
                pair = (TABLE.tags[tag], TABLE.words[word])
                assert pair in COUNTS


def test_replacements_follow_the_token_frequencies_of_the_tag():
    tags = np.full(100_000, TABLE.tag_rows["NN"])
    drawn = TABLE.draw(tags, np.random.default_rng(1))
    for word, share in (("film", 0.6), ("plot", 0.3), ("love", 0.1)):
        rate = (drawn == TABLE.word_rows[word]).mean()
        assert near(rate, share, len(drawn)), word


def test_a_saved_table_draws_the_same_words(tmp_path):
    TABLE.save(tmp_path / "table.tsv.gz")
    loaded = FrequencyTable.load(tmp_path / "table.tsv.gz")
    tags = np.arange(300) % 3
    np.testing.assert_array_equal(
        loaded.draw(tags, np.random.default_rng(2)),
        TABLE.draw(tags, np.random.default_rng(2)),
    )
    assert loaded.words == TABLE.words
    assert loaded.tags == TABLE.tags


def chosen(lengths, rows, p_ngram=0.25, max_ngram=5, seed=0):
    return crop(
        np.array(lengths),
        rows,
        p_ngram=p_ngram,
        max_ngram=max_ngram,
        rng=np.random.default_rng(seed),
    )


def test_a_quarter_of_the_texts_is_cropped():
    _, size = chosen([9], 100_000)
    assert near((size < 9).mean(), 0.25, size.size)


def test_ngrams_are_of_every_length_up_to_five_equally_often():
    _, size = chosen([9], 100_000, p_ngram=1.0)
    assert set(np.unique(size)) == {1, 2, 3, 4, 5}
    for n in range(1, 6):
        assert near((size == n).mean(), 0.2, size.size), n


def test_every_position_of_an_ngram_is_equally_likely():
    first, size = chosen([7], 200_000, p_ngram=1.0)
    for n in range(1, 6):
        starts = first[size == n]
        for position in range(7 - n + 1):
            rate = (starts == position).mean()
            assert near(rate, 1 / (7 - n + 1), len(starts)), (n, position)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=8),
    st.integers(1, 9),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_what_is_kept_lies_inside_the_text(lengths, longest, p, seed):
    first, size = chosen(lengths, 10, p, longest, seed)
    assert (first >= 0).all()
    assert (first + size <= np.array(lengths)).all()
    for column, length in enumerate(lengths):
        kept = size[:, column]
        assert ((kept == length) | (kept <= longest)).all()
        assert (kept >= min(length, 1)).all()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_text_shorter_than_the_ngram_is_kept_whole(length):
    _, size = chosen([length], 50_000, p_ngram=1.0)
    assert near((size == length).mean(), (6 - length) / 5, size.size)
