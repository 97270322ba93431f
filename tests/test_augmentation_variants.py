"""The paper's procedure over the examples of one part."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation.tagged import (
    FrequencyTable,
    load_tagger,
    tag_examples,
)
from keras_distill.augmentation.variants import Augmenter
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
        [Example("it 's n't a film , really .", id="x")],
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
    from keras_distill.augmentation import variants

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
        assert columns != [normalize(text) for text in originals]
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
