"""Which words a student knows, and how the others split."""

from collections import Counter

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.student import vocabulary as module
from keras_distill.student.text import (
    SPECIALS,
    StudentTokenizer,
    WordSplitter,
    save_vocabulary,
)
from keras_distill.student.vocabulary import (
    count_words,
    cut_words,
    first_words,
    is_piece,
    learned_pieces,
    select_words,
    spelled_out,
    split_word,
    unsplit,
)

TEXTS = ["A good film", "a bad film", "Café, a good [MASK]", ""]

line = st.text(
    st.characters(blacklist_categories=["Cs"]) | st.sampled_from(" ,é[]"),
    max_size=30,
)


def build(
    texts=TEXTS,
    lower_case=True,
    max_size=100,
    min_count=1,
    open_words=(),
    pieces=(),
):
    counts = count_words(texts, lower_case)
    return select_words(counts, max_size, min_count, open_words, pieces)


def test_special_tokens_come_first_then_words_by_frequency():
    assert build() == [
        *SPECIALS,
        "a",
        "film",
        "good",
        ",",
        "bad",
        "cafe",
    ]


def test_a_cased_vocabulary_keeps_case_and_accents():
    assert build(lower_case=False) == [
        *SPECIALS,
        "a",
        "film",
        "good",
        ",",
        "A",
        "Café",
        "bad",
    ]


def test_the_size_cap_counts_special_tokens():
    assert build(max_size=7) == [*SPECIALS, "a", "film"]


def test_rare_words_are_left_out():
    assert build(min_count=2) == [*SPECIALS, "a", "film", "good"]


def test_mask_is_counted_but_has_its_one_row():
    assert count_words(TEXTS, True)["[MASK]"] == 1
    assert build().count("[MASK]") == 1


def test_pieces_come_last_and_beyond_the_cap():
    pieces = ["[PAD]", "a", "z", "##ing", "whole", "##", "##z", "##ing"]
    words = build(max_size=6, pieces=pieces)
    assert words == [*SPECIALS, "a", "z", "##ing", "##z"]
    tokenizer = StudentTokenizer(words)
    ids = tokenizer(tf.constant(["azing"])).to_list()[0]
    assert [words[i] for i in ids] == ["a", "##z", "##ing"]


def test_words_too_long_to_be_looked_up_get_no_row():
    assert build(["x" * 101 + " " + "y" * 100]) == [*SPECIALS, "y" * 100]


@settings(max_examples=20, deadline=None)
@given(st.lists(line, max_size=6), st.booleans())
def test_counts_are_those_of_the_split_texts(texts, lower_case):
    split = WordSplitter(lower_case)(tf.constant(texts, tf.string)).to_list()
    expected = Counter(word.decode() for row in split for word in row)
    assert count_words(texts, lower_case) == expected


@settings(max_examples=15, deadline=None)
@given(st.lists(line, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_texts_does_not_matter(texts, random):
    shuffled = list(texts)
    random.shuffle(shuffled)
    assert build(texts) == build(shuffled)


def test_counting_in_pieces_changes_nothing(monkeypatch):
    texts = [f"word{i % 70} other{i % 13}, x" for i in range(90)]
    expected = count_words(texts, True)
    monkeypatch.setattr(module, "_MAX_CHUNKS", 10)
    monkeypatch.setattr(module, "_SPLIT_AT_ONCE", 3)
    assert count_words(texts, True) == expected


def test_beyond_the_bound_the_rarest_words_are_forgotten(monkeypatch, caplog):
    monkeypatch.setattr(module, "_MAX_WORDS", 5)
    texts = ["often often twice twice", *(f"once{i}" for i in range(10))]
    assert count_words(texts, True) == {"often": 2, "twice": 2}
    assert "forgotten" in caplog.text


def test_equal_texts_give_equal_bytes(tmp_path):
    save_vocabulary(tmp_path / "a", build())
    save_vocabulary(tmp_path / "b", build(list(reversed(TEXTS))))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_equal_counts_are_put_in_code_point_order():
    assert select_words({"b": 1, "a": 1, "B": 1}, 100, 1)[5:] == [
        "B",
        "a",
        "b",
    ]


def test_open_words_follow_while_there_is_room():
    opened = ["film", "splendid", "awful", "dire"]
    words = build(max_size=13, open_words=opened, pieces=["##s", "q"])
    assert words[5:11] == ["a", "film", "good", ",", "bad", "cafe"]
    assert words[11:] == ["splendid", "awful", "##s", "q"]


def test_a_smaller_vocabulary_loses_open_words_then_rare_ones():
    words = [*SPECIALS, "often", "rare", "opened", "x", "##y"]
    kept = [words[row] for row in cut_words(words, 9)]
    assert kept == [*SPECIALS, "often", "rare", "x", "##y"]
    kept = [words[row] for row in cut_words(words, 1)]
    assert kept == [*SPECIALS, "x", "##y"]
    assert len(cut_words([*SPECIALS, "a", "b"], 6)) == 6


@pytest.mark.parametrize("pieces", [[], ["##s", "q", "##t"]])
def test_a_search_finds_the_vocabulary_that_a_smaller_size_would_make(pieces):
    counts = {"often": 9, "a": 5, "rare": 2, "once": 1}
    whole = select_words(counts, 100, 1, ["opened"], pieces)
    for size in range(6, 12):
        kept = [whole[row] for row in first_words(whole, size)]
        smaller = select_words(counts, size, 1, ["opened"], pieces)
        assert kept[:size] == smaller[:size]
        if pieces:
            assert {"##s", "##t", "q"} <= set(kept)


def test_only_words_that_are_read_whole_stay():
    words = ["good", "Good", "e-mail", "café", "don't", "", "no t"]
    assert unsplit(words, lower_case=True) == ["good"]
    assert unsplit(words, lower_case=False) == ["good", "Good", "café"]


PIECES = ["un", "##do", "##ne", "u", "##n", "##d", "##o", "##e", "d", "o"]
small_words = st.text("undoex", min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(small_words)
def test_a_word_splits_as_the_tokenizer_splits_it(word):
    known = [*SPECIALS, *PIECES]
    ids = StudentTokenizer(known)(tf.constant([word])).to_list()[0]
    expected = [known[i] for i in ids]
    parts = [word] if word in PIECES else split_word(word, set(known))
    assert (parts or ["[UNK]"]) == expected


def test_a_reading_in_pieces_never_is_the_word_itself():
    words = [*SPECIALS, "undone", "un", "##done", "##d", "xyz", "u", "##n"]
    readings = spelled_out(words)
    read = {words[i]: [words[j] for j in r] for i, r in enumerate(readings)}
    assert read["undone"] == ["un", "##done"]
    assert read["un"] == ["u", "##n"]
    assert read["xyz"] == ["[UNK]"]
    for kept in (*SPECIALS, "##done", "u", "##n"):
        assert read[kept] == [kept]


def test_learned_pieces_split_every_word_of_the_text_and_are_equal_again():
    counts = {"walking": 3, "walked": 5, "talking": 2, "été": 1, "[MASK]": 9}
    pieces = learned_pieces(counts)
    assert pieces == learned_pieces(dict(reversed(counts.items())))
    assert all(map(is_piece, pieces))
    for word in ("walking", "talked", "éta"):
        assert split_word(word, set(pieces))


def test_learned_pieces_do_without_words():
    assert learned_pieces({}) == []
