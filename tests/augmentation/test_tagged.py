"""Splitting a text into words, tagging them, putting them together."""

import shutil

import nltk
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tagger import install

from keras_distill.augmentation.tagged import (
    RESOURCE,
    load_tagger,
    rejoin,
    split,
    surface,
)
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError


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


@pytest.fixture
def no_tagger(monkeypatch, tmp_path):
    """No tagger is loaded, none is installed, and there is no network."""
    load_tagger.cache_clear()
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(nltk, "download", lambda *_, **__: False)
    yield
    load_tagger.cache_clear()


def test_words_get_penn_tags(tmp_path, no_tagger):
    install(tmp_path, {"the": "DT", "film": "NN"})
    assert load_tagger("nltk")(["the", "film"]) == ["DT", "NN"]


def test_the_tagger_s_zip_alone_is_enough(tmp_path, no_tagger):
    """As NLTK's downloader leaves it where nothing unpacks it."""
    place = install(tmp_path, {"the": "DT", "film": "NN"})
    shutil.make_archive(str(place), "zip", place.parent, place.name)
    shutil.rmtree(place)
    assert load_tagger("nltk")(["the", "film"]) == ["DT", "NN"]


def test_without_a_tagger_every_tag_is_empty(no_tagger):
    assert load_tagger("none")(["the", "film"]) == ["", ""]


def test_missing_data_is_downloaded(tmp_path, monkeypatch, no_tagger):
    asked = []

    def download(name, quiet):
        asked.append(name)
        install(tmp_path, {"the": "DT"})
        return True

    monkeypatch.setattr(nltk, "download", download)
    assert load_tagger("nltk")(["the"]) == ["DT"]
    assert asked == [RESOURCE]


def test_data_missing_for_good_names_the_command_and_the_way_without(no_tagger):
    with pytest.raises(UserError) as error:
        load_tagger("nltk")
    command = "python -m nltk.downloader averaged_perceptron_tagger_eng"
    assert command in str(error.value)
    assert "--pos-tagger none" in str(error.value)


def test_damaged_data_is_an_error_of_one_line(tmp_path, no_tagger):
    place = install(tmp_path, {"the": "DT"})
    (place / f"{RESOURCE}.weights.json").write_text('{"a": ')
    with pytest.raises(UserError, match="damaged") as error:
        load_tagger("nltk")
    assert "\n" not in str(error.value)
    assert "--pos-tagger none" in str(error.value)
