"""From noised words back to natural text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation.spelling import Speller
from keras_distill.augmentation.tagged import load_tagger, tag_examples
from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize


def spell(text, changes=None, keep=None):
    """Spell `text` with words at some places replaced, then cropped.

    `None` as the new word is the mask; `keep` is (first word, how many).
    """
    changes = changes or {}
    text = normalize(text)
    part = tag_examples([Example(text)], False, load_tagger("none"))
    (side,) = part.sides
    vocabulary = part.vocabulary + [
        word for word in changes.values() if word not in part.vocabulary
    ]
    vocabulary = list(dict.fromkeys(w for w in vocabulary if w))
    speller = Speller(vocabulary)
    noised = side.words.copy()[None]
    for place, word in changes.items():
        noised[0, place] = (
            speller.mask if word is None else vocabulary.index(word)
        )
    first, size = keep or (0, len(side.words))
    (spelled,) = speller.spell(
        side, noised, np.array([[first]]), np.array([[size]])
    )
    return spelled


@settings(deadline=None)
@given(st.text(max_size=60))
def test_an_untouched_text_is_spelled_as_it_was(text):
    assert spell(text) == normalize(text)


PIECES = st.sampled_from(
    [
        *["film", "can", "not", "Do", "n't", "it", "'s", "'ll", "U.S."],
        *[",", ".", "...", "--", "?", "!", ":", "(", ")", '"', "'", "``"],
        *["''", "$", "5", "%", "cannot", "gon", "na", "ca", "wo", "[", "]"],
        *["dogs", "-lrb-", "a-b", "3.5", "#", "*", "@", "I", "'m", "\\"],
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=10), st.data())
def test_what_is_spelled_is_normalised_text(pieces, data):
    text = normalize(" ".join(pieces))
    part = tag_examples([Example(text)], False, load_tagger("none"))
    total = len(part.sides[0].words)
    words = st.none() | st.sampled_from(part.vocabulary)
    changes = data.draw(
        st.dictionaries(st.integers(0, total - 1), words)
        if total
        else st.just({})
    )
    first = data.draw(st.integers(0, max(total - 1, 0)))
    size = data.draw(st.integers(min(1, total), total - first))
    spelled = spell(text, changes, (first, size))
    assert normalize(spelled) == spelled
    assert bool(spelled) == bool(size)


def test_a_mask_is_a_word_of_its_own():
    text = "It's a good film, really."
    assert spell(text, {3: None}) == "It's a [MASK] film, really."


def test_a_mask_in_place_of_punctuation_stands_apart():
    assert spell("fine, really.", {1: None}) == "fine [MASK] really."


def test_punctuation_stays_at_a_masked_word():
    assert spell("fine, really.", {0: None, 2: None}) == "[MASK], [MASK]."


def test_a_possessive_stays_at_a_masked_word():
    assert spell("John's film", {0: None}) == "[MASK]'s film"


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("we don't like it", 1, "we [MASK] not like it"),
        ("we can't like it", 1, "we [MASK] not like it"),
        ("WE WON'T", 1, "WE [MASK] NOT"),
        ("we'll see", 0, "[MASK] will see"),
        ("I'm here", 0, "[MASK] am here"),
        ("they've gone", 0, "[MASK] have gone"),
    ],
)
def test_a_contraction_without_its_host_is_written_out(text, place, expected):
    assert spell(text, {place: None}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("we can't go", "we can [MASK] go"),
        ("Won't go", "Will [MASK] go"),
        ("we don't go", "we do [MASK] go"),
    ],
)
def test_a_host_without_its_contraction_is_written_out(text, expected):
    place = 2 if text.startswith("we") else 1
    assert spell(text, {place: None}) == expected


def test_a_contraction_drawn_after_an_auxiliary_leans_on_it():
    assert spell("it is fine; don't", {2: "n't"}) == "it isn't; don't"


def test_an_auxiliary_drawn_before_a_contraction_holds_it():
    assert spell("we don't; can't", {1: "ca"}) == "we can't; can't"


def test_a_contraction_drawn_after_another_word_is_written_out():
    assert spell("fine films; don't", {1: "n't"}) == "fine not; don't"


def test_a_crop_that_starts_with_a_contraction_writes_it_out():
    assert spell("we don't like it", keep=(2, 3)) == "not like it"


def test_a_crop_that_ends_before_a_contraction_writes_the_host_out():
    assert spell("we can't like it", keep=(0, 2)) == "we can"


def test_a_place_name_is_not_taken_for_half_a_contraction():
    assert spell("born in la, ca") == "born in la, ca"


def test_quotes_and_brackets_hold_on_to_changed_words():
    text = 'a "fine" (old) film'
    assert spell(text, {2: None, 5: None}) == 'a "[MASK]" ([MASK]) film'


def test_can_before_a_drawn_not_becomes_cannot():
    assert spell("we can see; not", {2: "not"}) == "we cannot; not"


def test_many_texts_at_once_are_each_spelled_alone():
    texts = ["it's fine.", "", "we can't", "no"]
    part = tag_examples(
        [Example(text) for text in texts], False, load_tagger("none")
    )
    (side,) = part.sides
    speller = Speller(part.vocabulary)
    noised = np.stack([side.words, side.words])
    noised[1, side.lengths[0] - 1] = speller.mask
    size = np.stack([side.lengths, side.lengths])
    assert speller.spell(side, noised, np.zeros((2, 4), int), size) == [
        *texts,
        *["it's fine [MASK]", "", "we can't", "no"],
    ]
