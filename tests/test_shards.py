import dataclasses

import pytest
import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.transfer_set.manifest import Manifest, ShardInfo, check_shard
from keras_distill.transfer_set.record import (
    inspect_shard,
    read_shard,
    shard_name,
    write_shard,
)

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
    assert check_shard(path, info)


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
    assert not check_shard(path, info)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "shard"
    info = write_shard(path, RECORDS)
    data = bytearray(path.read_bytes())
    data[13] ^= 1
    path.write_bytes(data)
    assert not check_shard(path, info)
    assert inspect_shard(path) is None
    with pytest.raises(UserError, match="damaged"):
        list(read_shard(path))


def test_a_missing_shard_is_noticed(tmp_path):
    path = tmp_path / "shard"
    assert not check_shard(path, ShardInfo("shard", 0, ""))
    assert inspect_shard(path) is None
    with pytest.raises(UserError, match="no such file"):
        list(read_shard(path))


def test_a_whole_shard_describes_itself(tmp_path):
    path = tmp_path / "shard"
    info = write_shard(path, RECORDS)
    assert inspect_shard(path) == info


def test_a_shard_that_does_not_exist_has_no_name():
    assert shard_name(3, 12) == "train-00003-of-00012.tfrecord"
    with pytest.raises(ValueError):
        shard_name(12, 12)


@pytest.fixture
def finished(tmp_path):
    shards = [
        write_shard(tmp_path / shard_name(0, 2), RECORDS),
        write_shard(tmp_path / shard_name(1, 2), RECORDS[:1]),
        write_shard(tmp_path / "dev.tfrecord", RECORDS[:2]),
        write_shard(tmp_path / "dev_mismatched.tfrecord", []),
    ]
    manifest = Manifest(
        teacher_fingerprint="abc",
        labels=["no", "yes"],
        pair=False,
        counts={"original": 3, "augmented": 1, "unlabelled": 0},
        shards=shards,
        settings={"n_iter": 2},
        seed=3,
        padding_ratio=1.05,
    )
    manifest.save(tmp_path)
    return tmp_path, manifest


def test_a_manifest_comes_back_as_it_was(finished):
    folder, manifest = finished
    loaded = Manifest.load(folder)
    assert loaded == manifest
    loaded.verify(folder)


def test_a_manifest_knows_the_files_of_each_split(finished):
    folder, manifest = finished
    assert manifest.files(folder, "train") == [
        folder / shard_name(0, 2),
        folder / shard_name(1, 2),
    ]
    assert manifest.files(folder, "dev") == [folder / "dev.tfrecord"]
    assert manifest.files(folder, "test") == []
    assert manifest.rows("train") == 4
    assert manifest.rows("dev") == 2


def test_a_damaged_shard_is_named(finished):
    folder, manifest = finished
    (folder / "dev.tfrecord").write_bytes(b"?")
    with pytest.raises(UserError, match="dev.tfrecord is damaged"):
        manifest.verify(folder)


def test_a_missing_shard_is_named(finished):
    folder, manifest = finished
    (folder / shard_name(1, 2)).unlink()
    with pytest.raises(UserError, match="train-00001-of-00002.* is missing"):
        manifest.verify(folder)


def test_an_unfinished_transfer_set_says_so(tmp_path):
    with pytest.raises(UserError, match="no finished transfer set"):
        Manifest.load(tmp_path)


def test_a_manifest_of_another_schema_is_refused(finished):
    folder, manifest = finished
    dataclasses.replace(manifest, schema_version=0).save(folder)
    with pytest.raises(UserError, match="schema_version is 0"):
        Manifest.load(folder)


def test_a_manifest_without_a_field_names_it(finished):
    import json

    folder, manifest = finished
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    del values["labels"]
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="field labels is missing"):
        Manifest.load(folder)


def test_another_teacher_or_other_labels_are_refused(finished):
    _, manifest = finished
    manifest.expect(labels=["no", "yes"], pair=False)
    manifest.expect(teacher_fingerprint="abc")
    with pytest.raises(UserError, match="labels"):
        manifest.expect(labels=["yes", "no"])
    with pytest.raises(UserError, match="teacher_fingerprint 'abc'"):
        manifest.expect(teacher_fingerprint="abd")
