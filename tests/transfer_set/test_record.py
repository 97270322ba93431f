import math
import subprocess
import sys

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import ShardInfo
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    UNLABELED,
    encode,
    parse,
    read_rows,
    read_shard,
    read_texts,
    shard_name,
    write_shard,
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
        encode(Example("a"), [0.0], 99)


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


@pytest.mark.whole
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


RECORDS = [b"one", b"two", b"three"]


def test_a_shard_gives_back_its_records_in_order(tmp_path):
    path = tmp_path / shard_name(0, 1)
    info = write_shard(path, iter(RECORDS))
    assert list(read_shard(path)) == RECORDS
    assert (info.name, info.rows) == (path.name, 3)


def test_equal_records_give_equal_checksums(tmp_path):
    first = write_shard(tmp_path / "a", RECORDS)
    again = write_shard(tmp_path / "b", RECORDS)
    other = write_shard(tmp_path / "c", RECORDS[:2])
    assert first.sha256 == again.sha256 != other.sha256


def test_a_failure_half_way_leaves_nothing(tmp_path):
    def records():
        yield b"one"
        raise RuntimeError("the teacher died")

    with pytest.raises(RuntimeError, match="the teacher died"):
        write_shard(tmp_path / "shard", records())
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_shard_that_was_there(tmp_path):
    path = tmp_path / "shard"
    info = write_shard(path, RECORDS)

    def records():
        yield b"other"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(path, records())
    assert info.is_whole(tmp_path)


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch):
    def refuse(self, record):
        raise tf.errors.ResourceExhaustedError(
            None, None, "x; No space left on device"
        )

    monkeypatch.setattr(tf.io.TFRecordWriter, "write", refuse)
    with pytest.raises(UserError, match="shard: No space left on device"):
        write_shard(tmp_path / "shard", RECORDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_truncated_shard_is_noticed(tmp_path, keep):
    path = tmp_path / "shard"
    info = write_shard(path, RECORDS)
    path.write_bytes(path.read_bytes()[:keep])
    assert not info.is_whole(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "shard"
    info = write_shard(path, RECORDS)
    data = bytearray(path.read_bytes())
    data[13] ^= 1
    path.write_bytes(data)
    assert not info.is_whole(tmp_path)
    with pytest.raises(UserError, match="damaged"):
        list(read_shard(path))


def test_a_missing_shard_is_noticed(tmp_path):
    path = tmp_path / "shard"
    assert not ShardInfo("shard", 0, "").is_whole(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        list(read_shard(path))


def test_a_shard_that_does_not_exist_has_no_name():
    assert shard_name(3, 12) == "train-00003-of-00012.tfrecord"
    with pytest.raises(ValueError):
        shard_name(12, 12)


@pytest.mark.parametrize("pair", [False, True])
def test_texts_and_rows_are_read_in_the_order_of_the_files(tmp_path, pair):
    files, expected = [], []
    for shard in range(2):
        examples = [
            Example(f"a {shard} {i}", f"b {i}" if pair else None, i % 2, str(i))
            for i in range(5)
        ]
        files.append(tmp_path / shard_name(shard, 2))
        write_shard(
            files[-1], [encode(e, [0.5, shard], ORIGINAL) for e in examples]
        )
        expected += examples
    sides = [[e.text_a for e in expected], [e.text_b for e in expected]]
    sides = sides[: 1 + pair]

    every = read_rows(files, pair, 2)
    some = read_rows(files, pair, 2, limit=7)

    assert every.columns == sides
    assert every.labels.tolist() == [e.label for e in expected]
    assert every.teacher_logits[:, 1].tolist() == [0] * 5 + [1] * 5
    assert some.columns == [side[:7] for side in sides]
    assert list(read_texts(files, pair)) == [
        text for row in zip(*sides, strict=True) for text in row
    ]


def test_rows_of_another_form_are_an_error_naming_the_file(tmp_path):
    path = tmp_path / "shard"
    write_shard(path, [encode(Example("a", id="1"), [0.5, 0.5], ORIGINAL)])
    with pytest.raises(UserError, match="shard: .* the 3 logits"):
        read_rows([path], False, 3)
