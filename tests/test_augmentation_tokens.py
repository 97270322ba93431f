"""Splitting a text into words and putting it together again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation.tagged import rejoin, split, surface
from keras_distill.data.normalize import normalize


def join(words, glued):
    return "".join(
        ("" if glue or not i else " ") + surface(word)
        for i, (word, glue) in enumerate(zip(words, glued, strict=True))
    )


def whole_words(text):
    words, glued = split(text)
    return rejoin(words, ["X"] * len(words), glued)[0]


@settings(deadline=None)
@given(st.text(max_size=60))
def test_the_words_of_any_text_join_to_that_text(text):
    text = normalize(text)
    words, glued = split(text)
    assert join(words, glued) == text
    words, tags, glued = rejoin(words, [""] * len(words), glued)
    assert join(words, glued) == text
    assert len(tags) == len(words)


@pytest.mark.parametrize(
    "text",
    [
        'He said "well, I can\'t" (twice)... and left.',
        "It cost $5, or 50% off -- 'tis John's dogs' fault!",
        "http://a.b/c at 10:30 e.g. in the U.S. etc. and so on",
    ],
)
def test_natural_text_joins_to_itself(text):
    assert join(*split(text)) == text


def test_contractions_and_punctuation_are_words_of_their_own():
    words, _ = split("I don't like it, but it's fine.")
    assert words == [
        *["I", "do", "n't", "like", "it", ","],
        *["but", "it", "'s", "fine", "."],
    ]


def test_quotes_know_their_side():
    assert split('a "fine" film')[0] == ["a", "``", "fine", "''", "film"]


def test_a_full_stop_inside_the_text_is_a_word():
    assert split("I left. They stayed.")[0] == [
        *["I", "left", ".", "They", "stayed", "."]
    ]


def test_words_that_nobody_writes_in_halves_stay_whole():
    assert whole_words("I cannot, gonna don't") == [
        *["I", "cannot", ",", "gonna", "do", "n't"]
    ]


def test_a_rejoined_word_keeps_the_tag_of_its_first_half():
    words, tags, glued = rejoin(
        ["I", "can", "not"], ["PRP", "MD", "RB"], [False, False, True]
    )
    assert (words, tags) == (["I", "cannot"], ["PRP", "MD"])
    assert glued == [False, False]


def test_an_empty_text_has_no_words():
    assert split("") == ([], [])
