from collections import Counter

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.errors import UserError
from keras_distill.student import text as module
from keras_distill.student.text import (
    SPECIALS,
    StudentTokenizer,
    WordSplitter,
    build_vocabulary,
    count_words,
    load_vocabulary,
    save_vocabulary,
    select_words,
)

TEXTS = ["A good film", "a bad film", "Café, a good [MASK]", ""]

line = st.text(
    st.characters(blacklist_categories=["Cs"]) | st.sampled_from(" ,é[]"),
    max_size=30,
)


def build(texts=TEXTS, lower_case=True, max_size=100, min_count=1, pieces=None):
    return build_vocabulary(texts, lower_case, max_size, min_count, pieces)


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


def test_a_vocabulary_comes_back_from_disk_as_it_was(tmp_path):
    path = tmp_path / "vocab.txt"
    words = [*SPECIALS, "good", "\u2028odd", "中", "##ing"]
    save_vocabulary(path, words)
    assert load_vocabulary(path) == words
    assert StudentTokenizer(path).vocabulary == words


def test_equal_texts_give_equal_bytes(tmp_path):
    save_vocabulary(tmp_path / "a", build())
    save_vocabulary(tmp_path / "b", build(list(reversed(TEXTS))))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good\nfilm\n", "line 1 is 'good', expected"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\na\n", "line 7 repeats 'a'"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\nb\n", "line 6 is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "line 1"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_named(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_vocabulary(path)
    assert "vocab.txt" in str(caught.value)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(UserError, match="vocab.txt"):
        load_vocabulary(tmp_path / "vocab.txt")


def test_a_word_list_that_is_no_vocabulary_is_not_saved(tmp_path):
    with pytest.raises(UserError):
        save_vocabulary(tmp_path / "vocab.txt", ["good"])
    assert list(tmp_path.iterdir()) == []


def test_equal_counts_are_put_in_code_point_order():
    assert select_words({"b": 1, "a": 1, "B": 1}, 100, 1)[5:] == [
        "B",
        "a",
        "b",
    ]
