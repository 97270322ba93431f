import dataclasses
import json

import pytest

from keras_distill.errors import UserError
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import shard_name, write_shard

RECORDS = [b"one", b"two", b"three"]


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
    folder, manifest = finished
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    del values["labels"]
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="field labels is missing"):
        Manifest.load(folder)


def test_other_labels_are_refused(finished):
    _, manifest = finished
    manifest.expect(labels=["no", "yes"], pair=False)
    with pytest.raises(UserError, match="labels"):
        manifest.expect(labels=["yes", "no"], pair=False)
    with pytest.raises(UserError, match="with pair False, expected True"):
        manifest.expect(labels=["no", "yes"], pair=True)


def test_a_manifest_of_before_there_were_several_teachers_is_read(finished):
    folder, manifest = finished
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    assert values.pop("teachers") == []
    path.write_text(json.dumps(values))
    assert Manifest.load(folder) == manifest
