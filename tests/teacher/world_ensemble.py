"""Several teachers: chosen, kept, killed, labelling; see test_worlds.py."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import teacher_tiny as tiny
import teachers_world  # noqa: F401 - before TensorFlow

from keras_distill.data.examples import Example, write_examples
from keras_distill.files import read_json, sha256_file, write_json
from keras_distill.metrics import classification_metrics
from keras_distill.teacher import finetune, given
from keras_distill.teacher.__main__ import main
from keras_distill.teacher.checkpoint import load_fine_tuned
from keras_distill.teacher.ensemble import Ensemble
from keras_distill.teacher.members import member_folders
from keras_distill.teacher.predict import Predictor
from keras_distill.transfer_set.labeller import Tokens
from keras_distill.transfer_set.plan import plan_shards
from keras_distill.transfer_set.record import parse, read_shard


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    shape = {"scale": 0.1, "layers": 1}
    # Of one the case is the text's, and not of the other.
    return [
        str(tiny.checkpoint(folder / "first", **shape)),
        str(tiny.checkpoint(folder / "second", False, seed=5, **shape)),
    ]


def prepare(folder, turned=False, **teacher):
    """Write data that a tiny BERT learns in three epochs, and settings.

    `turned`: the classes are in the other order.
    """
    splits = {"train": 128, "select": 40, "dev": 10}
    for seed, (name, count) in enumerate(splits.items()):
        rows = tiny.examples(count, seed, longest=5)
        if turned:
            rows = [Example(e.text_a, None, 1 - e.label, e.id) for e in rows]
        write_examples(folder / "data" / f"{name}.jsonl.gz", rows)
    labels = tiny.LABELS[::-1] if turned else tiny.LABELS
    facts = {"labels": labels, "pair": False, "splits": splits}
    write_json(folder / "data" / "manifest.json", facts)
    tiny.settings(folder, **{"epochs": 3, "batch_size": 16} | teacher)


def rows_of(place):
    """The rows of a grid without what no two runs have in common."""
    rows = read_json(place / "grid.json")["rows"]
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in rows]


@pytest.fixture(scope="module")
def made(pretrained, tmp_path_factory):
    """Two teachers at two rates, interrupted in the third run's first epoch.

    `reference` was not interrupted.
    """
    folder = tmp_path_factory.mktemp("grid")
    prepare(folder, names=pretrained, learning_rates=[3e-2, 1e-9])
    asked = []

    def interrupted(predictor, *arguments, logits=Predictor.logits):
        asked.append(1)
        if len(asked) == 7:
            raise KeyboardInterrupt
        return logits(predictor, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "logits", interrupted)
        assert main(tiny.finetune_arguments(folder, "teacher")) == 130
    work = folder / "teacher" / "work"
    left = sorted(path.name for path in work.iterdir())
    # The first teacher's second rate learns nothing.
    assert left == ["best-0", "grid.json", "resume"]
    for name in ("teacher", "reference"):
        assert main(tiny.finetune_arguments(folder, name)) == 0
    return folder


def test_each_teacher_gives_its_best_run(made, pretrained):
    grid = read_json(made / "teacher" / "grid.json")
    runs = [(r["name"], r["learning_rate"], r["epoch"]) for r in grid["rows"]]
    assert runs == [
        (name, rate, epoch)
        for name in ("first", "second")
        for rate in (3e-2, 1e-9)
        for epoch in (1, 2, 3)
    ]
    assert {row["name"] for row in grid["members"]} == {"first", "second"}
    assert grid["best"] == grid["members"][0]
    for member in grid["members"]:
        of_name = [r for r in grid["rows"] if r["name"] == member["name"]]
        assert member["accuracy"] == max(r["accuracy"] for r in of_name)
    logs = sorted(path.name for path in (made / "logs").iterdir())
    assert logs == [
        *("1-first-lr-0.03", "1-first-lr-1e-09"),
        *("2-second-lr-0.03", "2-second-lr-1e-09"),
    ]


def test_the_members_are_those_that_were_measured(made):
    grid = read_json(made / "teacher" / "grid.json")
    folders = member_folders(made / "teacher")
    assert [place.name for place in folders] == ["teacher", "2"]
    rows = tiny.examples(40, seed=1, longest=5)
    for place, row in zip(folders, grid["members"], strict=True):
        teacher = load_fine_tuned(str(place), tiny.LABELS)
        logits, _ = Predictor(teacher, 32, 256).logits(rows)
        scores = classification_metrics(logits, [e.label for e in rows])
        for name, score in scores.items():
            assert score == pytest.approx(row[name], abs=1e-5)


def test_an_interrupted_grid_ends_as_an_uninterrupted_one(made):
    places = [made / name for name in ("teacher", "reference")]
    assert rows_of(places[0]) == rows_of(places[1])
    for mine, other in zip(*map(member_folders, places), strict=True):
        names = sorted(p.name for p in mine.iterdir() if p.is_file())
        assert names == sorted(p.name for p in other.iterdir() if p.is_file())
        weights = (p / "model.safetensors" for p in (mine, other))
        assert len({*map(sha256_file, weights)}) == 1
    assert not (made / "teacher" / "work").exists()


def test_a_student_keeps_case_as_one_of_its_teachers_does(made):
    folders = member_folders(made / "teacher")
    names = [r["name"] for r in read_json(folders[0] / "grid.json")["members"]]
    lower = [read_json(p / "teacher.json")["lower_case"] for p in folders]
    assert lower[0] is False
    assert lower[1] is (names[1] == "first")


def test_the_best_runs_of_one_teacher_label_together(pretrained, tmp_path):
    rates = {"learning_rates": [1e-9, 3e-2, 2e-2], "ensemble": 2}
    prepare(tmp_path, names=pretrained[:1], **rates)
    assert main(tiny.finetune_arguments(tmp_path)) == 0
    grid = read_json(tmp_path / "teacher" / "grid.json")
    assert "name" not in grid["rows"][0]
    rates = [row["learning_rate"] for row in grid["members"]]
    assert sorted(rates) == [2e-2, 3e-2]
    assert len(member_folders(tmp_path / "teacher")) == 2


def test_too_few_runs_that_do_not_diverge_are_an_error(
    pretrained, tmp_path, capfd
):
    tiny.run_folder(tmp_path)
    rates = {"learning_rates": [3e-2, 1e30], "epochs": 1}
    tiny.settings(tmp_path, names=pretrained[:1], ensemble=2, **rates)
    assert main(tiny.finetune_arguments(tmp_path)) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line == (
        "error: --teacher-ensemble 2: only 1 of the 2 runs did not diverge: "
        "try lower rates with --teacher-lr"
    )


def test_a_second_teacher_that_cannot_read_is_told_before_hours_of_the_first(
    pretrained, tmp_path, monkeypatch, capfd
):
    tiny.run_folder(tmp_path)
    lame = tiny.hollow(tmp_path / "lame")
    tiny.settings(tmp_path, names=[pretrained[0], str(lame)])
    monkeypatch.setattr(finetune._Run, "train", None)
    assert main(tiny.finetune_arguments(tmp_path)) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ") and str(lame) in line


def label(folder, *arguments):
    return main(
        [
            "label",
            *("--config", str(folder / "config.yaml")),
            *("--data", str(folder / "data")),
            *("--output", str(folder / "transfer_set")),
            *("--teacher", str(folder / "teacher")),
            *arguments,
        ]
    )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A transfer set labelled by two, and again when one is another one."""
    folder = tmp_path_factory.mktemp("label")
    place = folder / "transfer_set"
    tiny.run_folder(folder)
    checkpoints = ["/home/me/a", "/home/me/b"]
    tiny.settings(folder, checkpoints=checkpoints)
    tiny.checkpoint(folder / "teacher", names=tiny.LABELS)
    second = folder / "teacher" / "members" / "2"
    tiny.checkpoint(second, names=tiny.LABELS, seed=9)
    members = [{"index": 1}, {"index": 0}]
    write_json(folder / "teacher" / "grid.json", {"members": members})
    rows = iter(tiny.examples(20, seed=10))
    plan_shards([(0, rows)], place, rows_per_shard=20, total=20, seed=0)
    made = SimpleNamespace(folder=folder, place=place)
    made.teachers = [
        load_fine_tuned(str(path), tiny.LABELS)
        for path in (folder / "teacher", second)
    ]
    assert label(folder) == 0
    made.manifest = read_json(place / "manifest.json")
    made.note = read_json(place / "done" / "dev.tfrecord.json")
    made.dev = logits_in(place / "dev.tfrecord")
    # Killed before the manifest, it measures no split again.
    (place / "manifest.json").unlink()
    made.before = (place / "dev.tfrecord").stat().st_mtime_ns
    assert label(folder) == 0
    made.after = (place / "dev.tfrecord").stat().st_mtime_ns
    shutil.rmtree(second)
    tiny.checkpoint(second, names=tiny.LABELS, seed=10)
    assert label(folder) == 0
    made.other = read_json(place / "manifest.json")
    return made


def logits_in(path):
    return parse(list(read_shard(path)), pair=False)["teacher_logits"].numpy()


def test_labels_are_the_mean_of_the_members_own_logits(labelled):
    rows = tiny.examples(10, seed=2)
    own = [Predictor(t, 32, 256).logits(rows)[0] for t in labelled.teachers]
    assert np.abs(own[0] - own[1]).max() > 0.1
    assert np.abs(labelled.dev - (own[0] + own[1]) / 2).max() < 1e-5


def test_each_member_s_scores_are_noted_beside_a_measured_split(labelled):
    rows = tiny.examples(10, seed=2)
    gold = [e.label for e in rows]
    for teacher, noted in zip(
        labelled.teachers, labelled.note["members"], strict=True
    ):
        logits, _ = Predictor(teacher, 32, 256).logits(rows)
        expected = classification_metrics(logits, gold)
        assert noted == pytest.approx(expected, abs=1e-5)
    shard = labelled.manifest["shards"][0]["name"]
    note = read_json(labelled.place / "done" / f"{shard}.json")
    assert note["members"] is None
    assert labelled.after == labelled.before


def test_the_manifest_names_each_teacher_and_tells_when_one_changes(labelled):
    before, after = labelled.manifest, labelled.other
    assert [one["name"] for one in before["teachers"]] == ["b", "a"]
    prints = [
        [one["fingerprint"] for one in manifest["teachers"]]
        for manifest in (before, after)
    ]
    assert prints[0][0] == prints[1][0] and prints[0][1] != prints[1][1]
    assert before["teacher_fingerprint"] != after["teacher_fingerprint"]
    assert before["shards"][0]["sha256"] != after["shards"][0]["sha256"]


class Member:
    """Answers with its own number, a row at a time."""

    def __init__(self, number):
        self.number = number

    def logits(self, examples, on_rows):
        for _ in examples:
            on_rows(1)
        return np.full((len(examples), 2), self.number, "f4"), Tokens(2, 3)


def test_a_row_counts_once_however_many_teachers_read_it():
    told = []
    three = Ensemble([Member(n) for n in (1, 2, 6)])
    logits, tokens = three.logits(range(5), told.append)
    assert (logits == 3.0).all() and logits.dtype == np.float32
    assert (tokens.real, tokens.padded) == (6, 9)
    assert sum(told) == 5 and min(told) >= 0
    assert three.said[:, 0, 0].tolist() == [1, 2, 6]


def nameless(source, folder):
    """Copy a checkpoint and forget what its classes are called."""
    shutil.copytree(source, folder)
    shutil.rmtree(folder / "members", ignore_errors=True)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1"}
    config["label2id"] = {"LABEL_0": 0, "LABEL_1": 1}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.fixture
def turned(made, tmp_path):
    """A good teacher without names, of a task whose classes are turned."""
    name = nameless(made / "teacher", tmp_path / "nameless")
    prepare(tmp_path, turned=True, checkpoints=[name])
    return tmp_path


FLAG = "--teacher-classes LABEL_0=negative,LABEL_1=positive"


def test_a_nameless_checkpoint_of_another_order_stops_run_and_check(
    turned, capfd
):
    check = [
        *("check", "--config", str(turned / "config.yaml")),
        *("--data", str(turned / "data")),
    ]
    for command in (tiny.finetune_arguments(turned), check):
        assert main(command) == 2
        line = capfd.readouterr().err.splitlines()[-1]
        assert line.startswith(f"error: teacher {turned / 'nameless'} has")
        assert "came in another order (p < 0.01): " + FLAG in line
    assert not (turned / "teacher" / "grid.json").exists()
    name = str(turned / "nameless")
    told = FLAG.partition(" ")[2].split(",")
    tiny.settings(turned, checkpoints=[name], classes=told)
    assert main(check) == 0
    assert main(tiny.finetune_arguments(turned)) == 0
    assert "warning" not in capfd.readouterr().err
    best = read_json(turned / "teacher" / "grid.json")["best"]
    assert best["accuracy"] > 0.8
    # From here on its names are the task's.
    config = read_json(turned / "teacher" / "config.json")
    assert config["id2label"] == {"0": "negative", "1": "positive"}


def test_checkpoints_that_were_given_are_taken_as_they_are(
    made, tmp_path, monkeypatch, capfd
):
    random = tiny.checkpoint(tmp_path / "random", names=tiny.LABELS)
    good = nameless(made / "teacher", tmp_path / "nameless")
    prepare(tmp_path, checkpoints=[str(random), good])
    loaded = []

    def load(name, *arguments):
        loaded.append(name)
        if len(loaded) == 2:
            raise KeyboardInterrupt
        return load_fine_tuned(name, *arguments)

    monkeypatch.setattr(given, "load_fine_tuned", load)
    assert main(tiny.finetune_arguments(tmp_path)) == 130
    assert main(tiny.finetune_arguments(tmp_path)) == 0
    # The first was kept.
    assert loaded == [str(random), good, good]
    grid = read_json(tmp_path / "teacher" / "grid.json")
    names = [row["name"] for row in grid["members"]]
    assert names == ["nameless", "random"]
    assert [row["name"] for row in grid["rows"]] == names[::-1]
    assert "is it fine-tuned on this task?" in capfd.readouterr().err
    weights = [
        sha256_file(place / "model.safetensors")
        for place in (*member_folders(tmp_path / "teacher"), random)
    ]
    assert weights[1] == weights[2] != weights[0]
