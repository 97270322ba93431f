"""The paper's procedure over the examples of one part, and its operators."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation import variants
from keras_distill.augmentation.tagged import (
    FrequencyTable,
    Sentences,
    load_tagger,
    tag_examples,
)
from keras_distill.augmentation.variants import (
    Augmenter,
    Corpus,
    crop,
    mask_and_replace,
)
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize

LONG = "an old man walks his small brown dog along the quiet river bank"
OTHER = "two young girls buy sweet green apples from a tall street vendor"


def by_vowel(words):
    """Tag words by their first letter: a tagger without data."""
    return ["V" if word[0].lower() in "aeiou" else "C" for word in words]


def augment(examples, tagger=by_vowel, seed=0, **changes):
    pair = examples[0].text_b is not None
    part = tag_examples(examples, pair, tagger)
    augmenter = Augmenter(
        FrequencyTable(part.counts()), AugmentationConfig(**changes)
    )
    return list(augmenter.rows(part, np.random.default_rng(seed)))


def test_ids_name_the_source_and_the_iteration():
    rows = augment([Example(LONG, id="x")], n_iter=30)
    assert rows
    for name, _ in rows:
        assert re.fullmatch(r"x-a([12]?\d)", name)
    assert len({name for name, _ in rows}) == len(rows)


def test_pairs_cycle_first_only_second_only_both():
    rows = augment(
        [Example(LONG, LONG, id="x")], n_iter=30, p_mask=0.6, p_ngram=0
    )
    assert len(rows) == 30
    for name, text in rows:
        touched = tuple(side != LONG for side in text.split("\t"))
        iteration = int(name.removeprefix("x-a"))
        cycle = [(True, False), (False, True), (True, True)]
        assert touched == cycle[iteration % 3]


def test_the_two_texts_of_a_pair_are_noised_apart():
    rows = augment([Example(LONG, LONG, id="x")], n_iter=60)
    both = [t.split("\t") for n, t in rows if int(n[3:]) % 3 == 2]
    assert any(first != second for first, second in both)


def test_no_text_of_an_example_comes_twice_nor_its_original():
    examples = [Example("a fine film", id=str(i)) for i in range(50)]
    rows = augment(examples, n_iter=200)
    for i in range(50):
        texts = [t for name, t in rows if name.startswith(f"{i}-")]
        assert len(texts) == len(set(texts)) > 5
        assert "a fine film" not in texts


def test_the_original_is_known_again_in_its_treebank_spelling():
    rows = augment(
        [Example(normalize("it 's n't a film , really ."), id="x")],
        n_iter=300,
        p_mask=0.05,
        p_ngram=0,
        p_pos=0,
    )
    assert rows
    assert all("[MASK]" in text for _, text in rows)


def test_two_examples_may_share_a_generated_text():
    rows = augment(
        [Example("fine film", id=str(i)) for i in range(2)], n_iter=100
    )
    zero = {t for name, t in rows if name.startswith("0-")}
    one = {t for name, t in rows if name.startswith("1-")}
    assert zero & one


def test_without_operators_nothing_is_generated():
    assert not augment([Example(LONG)], p_mask=0, p_pos=0, p_ngram=0)
    assert not augment([Example(LONG)], n_iter=0)


def test_an_empty_text_gives_nothing():
    assert not augment([Example("", id="x")], n_iter=20)


def test_a_pair_with_one_empty_text_varies_the_other():
    rows = augment([Example(LONG, "", id="x")], n_iter=30)
    assert rows
    assert all(text.endswith("\t") for _, text in rows)


def test_a_crop_is_a_run_of_the_sentence_s_words():
    rows = augment(
        [Example(LONG, id="x")], n_iter=500, p_mask=0, p_pos=0, p_ngram=1
    )
    texts = {text for _, text in rows}
    words = LONG.split()
    assert texts == {
        " ".join(words[start : start + n])
        for n in range(1, 6)
        for start in range(len(words) - n + 1)
    }


def test_a_replaced_word_has_the_tag_of_the_word_it_replaces():
    examples = [Example(LONG, id="0"), Example(OTHER, id="1")]
    rows = augment(examples, n_iter=200, p_mask=0, p_pos=0.5, p_ngram=0)
    sources = {"0": LONG, "1": OTHER}
    changes = 0
    for name, text in rows:
        source = sources[name[0]].split()
        assert by_vowel(text.split()) == by_vowel(source)
        changes += text.split() != source
    assert changes == len(rows) > 300


def test_without_a_tagger_words_are_masked_and_cropped_only():
    rows = augment(
        [Example(LONG, id="x")],
        load_tagger("none"),
        n_iter=200,
        p_pos=0.9,
        p_ngram=0,
        pos_tagger="none",
    )
    assert rows
    for _, text in rows:
        words = zip(text.split(), LONG.split(), strict=True)
        assert all(new in ("[MASK]", old) for new, old in words)


def test_large_parts_are_drawn_in_batches_without_a_seam(monkeypatch):
    monkeypatch.setattr(variants, "_WORDS_PER_BATCH", 200)
    examples = [Example((LONG, OTHER)[i % 2], id=str(i)) for i in range(20)]
    rows = augment(examples, n_iter=10, p_pos=0, p_ngram=0)
    seen = [int(name.split("-")[0]) for name, _ in rows]
    assert seen == sorted(seen)
    assert set(seen) == set(range(20))
    for name, text in rows:
        source = (LONG, OTHER)[int(name.split("-")[0]) % 2].split()
        words = zip(text.split(), source, strict=True)
        assert all(new in ("[MASK]", old) for new, old in words)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.text(
            st.sampled_from("aBé don't (it's) \"x\" ,. $5% -`[]\\/"),
            max_size=30,
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
    st.integers(0, 99),
)
def test_every_generated_text_is_new_normalised_and_on_one_line(
    texts, pair, seed
):
    texts = [normalize(text) for text in texts]
    examples = [
        Example(text, texts[0] if pair else None, id=str(i))
        for i, text in enumerate(texts)
    ]
    rows = augment(examples, seed=seed, n_iter=9, p_mask=0.3, p_pos=0.3)
    for name, row in rows:
        example = examples[int(name.split("-")[0])]
        columns = row.split("\t")
        originals = [example.text_a, example.text_b][: len(columns)]
        assert len(columns) == 1 + pair
        assert columns != originals
        for text in columns:
            assert normalize(text) == text
            assert "\n" not in text


@pytest.mark.parametrize("pair", [False, True])
def test_a_saved_part_draws_the_same_rows(tmp_path, pair):
    examples = [
        Example(LONG, OTHER if pair else None, id="0"),
        Example("", "" if pair else None, id="1"),
    ]
    part = tag_examples(examples, pair, by_vowel)
    part.save(tmp_path / "part.npz")
    loaded = type(part).load(tmp_path / "part.npz")
    augmenter = Augmenter(FrequencyTable(loaded.counts()), AugmentationConfig())
    assert loaded.counts() == part.counts()
    assert list(augmenter.rows(loaded, np.random.default_rng(3))) == list(
        augmenter.rows(part, np.random.default_rng(3))
    )


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
    corpus = Corpus(AugmentationConfig(p_mask=p_mask, p_pos=p_pos), TABLE, MASK)
    words = np.broadcast_to(source.words, (rows, len(source.words)))
    rng = np.random.default_rng(seed)
    return mask_and_replace(words, source, corpus, rng)


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
