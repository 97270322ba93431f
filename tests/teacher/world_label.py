"""Labelling whole, in parts and again; see test_worlds.py."""

from types import SimpleNamespace

import numpy as np
import pytest
import teacher_tiny as tiny
import teachers_world  # noqa: F401 - before TensorFlow

from keras_distill.benchmark.teacher import _teacher
from keras_distill.config import TeacherConfig
from keras_distill.errors import UserError
from keras_distill.files import read_json, sha256_file
from keras_distill.teacher import predict
from keras_distill.teacher.__main__ import main
from keras_distill.teacher.checkpoint import load_fine_tuned
from keras_distill.teacher.predict import Predictor
from keras_distill.transfer_set.labeller import Labeller, Tokens
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.plan import load_plan, plan_shards, read_input
from keras_distill.transfer_set.record import parse, read_shard, shard_name


def label(folder, *arguments, teacher="teacher"):
    return main(
        [
            "label",
            *("--config", str(folder / "config.yaml")),
            *("--data", str(folder / "data")),
            *("--output", str(folder / "transfer_set")),
            *("--teacher", str(folder / teacher)),
            *arguments,
        ]
    )


def state(place):
    """What tells whether a file was written again, and its content."""
    return {
        path.name: {
            "inode": path.stat().st_ino,
            "mtime": path.stat().st_mtime_ns,
            "sha256": sha256_file(path),
        }
        for path in sorted(place.glob("*.tfrecord"))
    }


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The state of a transfer set that is labelled again and again.

    In part, whole, mended, and by another teacher.
    """
    folder = tmp_path_factory.mktemp("label")
    place = folder / "transfer_set"
    tiny.run_folder(folder)
    tiny.settings(folder)
    tiny.checkpoint(folder / "teacher")
    tiny.checkpoint(folder / "second", seed=9)
    sources = [
        (source, iter(tiny.examples(20, seed=10 + source)))
        for source in range(3)
    ]
    plan_shards(sources, place, rows_per_shard=15, total=60, seed=0)
    plan = list(load_plan(place))
    made = SimpleNamespace(folder=folder, place=place)
    made.names = [shard_name(i, len(plan)) for i in range(len(plan))]
    made.planned = [
        (e.id, e.text_a, source, -1 if e.label is None else e.label)
        for path in plan
        for source, e in read_input(path)
    ]
    assert label(folder, "--shards", "0,2") == 0
    made.left_by_part = sorted(path.name for path in place.iterdir())
    made.part = state(place)
    assert label(folder) == 0
    made.whole = state(place)
    # Three ways to spoil a shard, and none.
    first, second, third, _ = made.names
    data = bytearray((place / first).read_bytes())
    data[100] ^= 1
    (place / first).write_bytes(data)
    (place / second).unlink()
    (place / "done" / f"{third}.json").write_text("{")
    assert label(folder) == 0
    made.mended = state(place)
    Manifest.load(place).verify(place)
    made.manifest = read_json(place / "manifest.json")
    assert label(folder, teacher="second") == 0
    made.by_another = state(place)
    return made


def test_shards_names_the_only_ones_to_be_labelled(labelled):
    first, _, third, _ = labelled.names
    assert labelled.left_by_part == ["done", "inputs", first, third]


def test_a_finished_shard_is_never_labelled_again(labelled):
    for name in (labelled.names[0], labelled.names[2]):
        assert labelled.whole[name] == labelled.part[name]


def test_the_manifest_lists_every_shard_and_split_as_it_is(labelled):
    shards = labelled.manifest["shards"]
    names = [shard["name"] for shard in shards]
    assert names == [*labelled.names, "select.tfrecord", "dev.tfrecord"]
    assert sorted(names) == list(labelled.whole)
    for shard in shards:
        assert shard["sha256"] == labelled.mended[shard["name"]]["sha256"]
    counts = {"original": 20, "augmented": 20, "unlabelled": 20}
    assert labelled.manifest["counts"] == counts
    assert sum(shard["rows"] for shard in shards[:4]) == 60


def test_records_keep_the_planned_rows_in_their_order(labelled):
    found = []
    for name in labelled.names:
        row = parse(list(read_shard(labelled.place / name)), pair=False)
        columns = (row[key].numpy() for key in ("id", "text_a"))
        numbers = (row[key].numpy() for key in ("source", "label"))
        found += [
            (identity.decode(), text.decode(), int(source), int(label))
            for identity, text, source, label in zip(
                *columns, *numbers, strict=True
            )
        ]
    assert len(found) == 60
    assert found == labelled.planned
    # Only original rows have a label.
    assert all((label >= 0) == (source == 0) for *_, source, label in found)


def test_a_damaged_shard_is_made_again_with_the_same_bytes(labelled):
    for name in labelled.names[:3]:
        before, after = labelled.whole[name], labelled.mended[name]
        assert after["sha256"] == before["sha256"]
        assert after["mtime"] != before["mtime"]


def test_mending_leaves_whole_shards_alone(labelled):
    for name in (labelled.names[3], "dev.tfrecord", "select.tfrecord"):
        assert labelled.mended[name] == labelled.whole[name]


def test_another_teacher_labels_every_shard_again(labelled):
    for name, file in labelled.by_another.items():
        assert file["sha256"] != labelled.mended[name]["sha256"]
    before = labelled.manifest["teacher_fingerprint"]
    after = read_json(labelled.place / "manifest.json")["teacher_fingerprint"]
    assert before != after


def test_a_shard_has_a_note_and_the_padding_is_reported(labelled):
    place = labelled.place
    note = read_json(place / "done" / f"{labelled.names[0]}.json")
    assert note["padded_tokens"] >= note["real_tokens"] > 0
    manifest = read_json(place / "manifest.json")
    assert note["teacher_fingerprint"] == manifest["teacher_fingerprint"]
    assert 1.0 <= manifest["padding_ratio"] < 1.10


def test_a_rows_logits_do_not_depend_on_its_batch(labelled):
    teacher = load_fine_tuned(str(labelled.folder / "second"), tiny.LABELS)
    # The rows of the selection split.
    rows = tiny.examples(24, seed=1)
    large, tokens = Predictor(teacher, 32, 8192).logits(rows)
    few = Predictor(teacher, 32, 20)
    small, less = few.logits(rows)
    alone = np.concatenate([few.logits([row])[0] for row in rows])
    shard = labelled.place / "select.tfrecord"
    written = parse(list(read_shard(shard)), pair=False)["teacher_logits"]
    assert np.abs(large - large[::-1]).max() > 0.1
    for other in (small, alone, written.numpy()):
        assert np.abs(large - other).max() < 1e-5
    # Small batches pad less and spend the same tokens.
    assert tokens.real == less.real
    assert tokens.padded >= less.padded >= less.real
    assert few.logits([])[0].shape == (0, 2)


class Broken:
    def logits(self, examples, on_rows):
        return np.full((len(examples), 2), np.nan), Tokens(1, 1)


def test_a_refused_labelling_writes_nothing(labelled, tmp_path):
    before = state(labelled.place)
    for predictor, place, shards, reason in (
        (
            None,
            labelled.place,
            [99],
            "^--shards: there is no shard 99, expected numbers from 0 to 3$",
        ),
        (Broken(), labelled.place, [0], "expected finite numbers"),
        (None, tmp_path, None, "inputs/manifest.json"),
    ):
        with pytest.raises(UserError, match=reason):
            Labeller(predictor, place, "f").shards(shards)
    assert label(labelled.folder, "--shards", "two") == 2
    assert state(labelled.place) == before
    assert list(labelled.place.rglob("*.tmp")) == []


def test_without_folder_package_and_hub_two_ways_to_a_teacher_are_named(
    tmp_path, capsys
):
    tiny.run_folder(tmp_path)
    tiny.settings(tmp_path, names=["bert-of-nowhere"])
    assert main(tiny.finetune_arguments(tmp_path, "nothing")) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("error:")]
    tiny.assert_two_ways_to_a_teacher(line)


def test_the_benchmark_asks_a_teacher_as_it_labels(labelled, monkeypatch):
    fused, traced = predict.fused, []

    def noted(model, kernels):
        traced.append(model)
        return fused(model, kernels)

    monkeypatch.setattr(predict, "fused", noted)
    folder = labelled.folder / "teacher"
    examples = tiny.examples(9)
    one = _teacher(folder, tiny.LABELS, TeacherConfig(), "")
    said = one.ask([[example.text_a for example in examples]])
    assert len(traced) == 1
    teacher = load_fine_tuned(str(folder), tiny.LABELS)
    expected, _ = Predictor(teacher, 128, 8192).logits(examples)
    np.testing.assert_allclose(said, expected, atol=1e-6)
