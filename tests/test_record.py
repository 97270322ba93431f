import math
import subprocess
import sys

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    UNLABELED,
    encode,
    parse,
)

text = st.text(
    st.characters(blacklist_categories=["Cs"]), min_size=0, max_size=30
)
logit = st.floats(width=32, allow_nan=False, allow_infinity=False)


def parse_one(record: bytes, pair: bool, num_classes: int | None = None):
    row = parse(tf.constant([record]), pair, num_classes)
    return {name: value.numpy()[0] for name, value in row.items()}


@settings(max_examples=50, deadline=None)
@given(text, text, st.integers(0, 9), st.lists(logit, min_size=1), text)
def test_a_pair_comes_back_as_it_was(text_a, text_b, label, logits, name):
    example = Example(text_a, text_b, label, name)
    row = parse_one(encode(example, logits, ORIGINAL), pair=True)
    assert row["text_a"].decode() == text_a
    assert row["text_b"].decode() == text_b
    assert row["label"] == label
    assert row["id"].decode() == name
    assert row["source"] == ORIGINAL
    assert row["teacher_logits"].tolist() == logits


def test_a_sentence_has_no_second_text():
    record = encode(Example("a film", id="7"), [1.0, -1.0], ORIGINAL)
    assert "text_b" not in parse_one(record, pair=False)
    assert b"text_b" not in record


def test_an_unknown_label_is_minus_one():
    record = encode(Example("a film"), [1.0, -1.0], ORIGINAL)
    assert parse_one(record, pair=False)["label"] == -1


@pytest.mark.parametrize("source", [AUGMENTED, UNLABELED])
def test_rows_that_are_not_original_never_keep_a_gold_label(source):
    record = encode(Example("a film", label=1), [1.0, -1.0], source)
    row = parse_one(record, pair=False)
    assert row["label"] == -1
    assert row["source"] == source


def test_equal_rows_give_equal_bytes():
    def record(number: int) -> bytes:
        return encode(Example("a", "b", number, "id"), [0.5, 0.25], ORIGINAL)

    assert {record(1) for _ in range(20)} == {record(1)}
    assert record(1) != record(0)


def test_features_are_written_in_alphabetical_order():
    record = encode(Example("x", "y", 1, "z"), [0.5], ORIGINAL)
    names = [b"id", b"label", b"source", b"teacher_logits", b"text_a"]
    places = [record.index(name) for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_an_error_naming_the_row(bad):
    with pytest.raises(UserError, match="row-3"):
        encode(Example("a", id="row-3"), [0.0, bad], ORIGINAL)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="source"):
        encode(Example("a"), [0.0], 3)


def test_no_logits_are_refused():
    with pytest.raises(ValueError, match="empty"):
        encode(Example("a"), [], ORIGINAL)


def test_another_number_of_logits_than_classes_is_an_error():
    record = encode(Example("a"), [0.0, 1.0], ORIGINAL)
    assert parse_one(record, False, 2)["teacher_logits"].tolist() == [0, 1]
    with pytest.raises(tf.errors.InvalidArgumentError):
        parse_one(record, False, 3)


def test_parsing_a_sentence_record_as_a_pair_is_an_error():
    record = encode(Example("a"), [0.0, 1.0], ORIGINAL)
    with pytest.raises(tf.errors.InvalidArgumentError):
        parse_one(record, pair=True)


def test_the_room_brings_in_neither_world_of_keras():
    code = (
        "import sys, keras_distill.transfer_set.record, "
        "keras_distill.transfer_set.record, "
        "keras_distill.transfer_set.plan, "
        "keras_distill.transfer_set.manifest; "
        "assert not [m for m in ('tf_keras', 'transformers') "
        "if m in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
