"""A new run takes over the stages of another that it would make alike."""

import contextlib
import dataclasses
import filecmp
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs

from keras_distill import files, pipeline
from keras_distill.config import STAGES, config_from_dict
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_text
from keras_distill.pipeline import Pipeline
from keras_distill.run import RUNS

PAPER = [name for name in STAGES if name != "vectors"]
TAKEN = [name for name in PAPER if name != "report"]
AFTER_ALPHA = ["student", "export", "report"]
ALPHA = {"student": {"alpha": 0.1}}


@pytest.fixture
def made(monkeypatch):
    """Stages that write a file; return the names of those that were made."""
    names = []

    def work(name):
        def write(run, place):
            names.append(name)
            write_text(place / "inner" / "result", f"{name} {len(names)}")
            write_text(place / ".half", "not whole")

        return write

    monkeypatch.setattr(
        pipeline,
        "_STAGES",
        tuple(
            dataclasses.replace(
                stage, work=work(stage.name), intact=lambda run, place: True
            )
            for stage in pipeline._STAGES
        ),
    )
    monkeypatch.setattr(pipeline, "check_tagger", lambda config: None)
    return names


@pytest.fixture
def other(tmp_path, made):
    """A finished run, with what TensorBoard shows of it."""
    path = tmp_path / "other"
    Pipeline(config_from_dict({}), path).run()
    logs = ["teacher/lr-2e-05", "report", "tuning/0001", *RUNS.values()]
    for name in [*logs, f"{RUNS['student']}-seed-43"]:
        write_text(path / "logs" / name / "events.tfevents.1", name)
    made.clear()
    return path


def snapshot(folder):
    """Every file with its bytes, time and place on the disk."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def again(path, other, values=ALPHA, **more):
    Pipeline(config_from_dict(values), path).run(reuse=other, **more)


def inode(folder, stage):
    return (folder / stage / "inner" / "result").stat().st_ino


def test_another_alpha_makes_the_student_and_nothing_before_it(
    tmp_path, other, made, caplog
):
    before = snapshot(other)
    with caplog.at_level(logging.INFO):
        again(tmp_path / "new", other)
    assert made == AFTER_ALPHA
    for name in set(TAKEN) - {*AFTER_ALPHA}:
        line = f"{name}: taken from {other}"
        assert caplog.messages.count(line) == 1
        # A line a stage.
        assert f"{name}: done before, skipped" not in caplog.messages
    why = f"student: not taken from {other}: alpha was 0.0, now 0.1"
    assert why in caplog.messages
    assert snapshot(other) == before
    # The next start is as that of any finished run.
    made.clear()
    again(tmp_path / "new", other)
    Pipeline(config_from_dict(ALPHA), tmp_path / "new").run()
    assert made == [] and snapshot(other) == before


def test_what_is_taken_is_linked_and_says_where_it_is_from(
    tmp_path, other, made
):
    new = tmp_path / "new"
    again(new, other)
    assert inode(new, "teacher") == inode(other, "teacher")
    record = read_json(new / "teacher" / "stage.json")
    assert record == {
        **read_json(other / "teacher" / "stage.json"),
        "taken_from": str(other),
    }
    assert "taken_from" not in read_json(new / "student" / "stage.json")
    assert sorted(p.name for p in (new / ".work").iterdir()) == ["lock"]
    assert not [p for p in new.rglob(".*") if p.name != ".work"]


def test_equal_settings_take_all_but_the_report(tmp_path, other, made):
    again(tmp_path / "new", other, {})
    assert made == ["report"]


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"seed": 7}, PAPER),
        (
            {"teacher": {"epochs": 9}},
            [name for name in PAPER if name not in ("data", "augment")],
        ),
        ({"baseline": {"patience": 3}}, ["baseline", "report"]),
    ],
)
def test_what_does_not_depend_on_the_change_is_taken(
    tmp_path, other, made, change, expected
):
    again(tmp_path / "new", other, change)
    assert made == expected


def test_curves_of_what_is_taken_come_along_as_copies(tmp_path, other, made):
    new = tmp_path / "new"
    # Of a training that was begun here and is not gone on with.
    write_text(new / "logs" / "teacher" / "lr-1" / "events.tfevents.0", "old")
    again(new, other)
    found = {p.parent.name for p in (new / "logs").rglob("events.*")}
    assert found == {"lr-2e-05", RUNS["baseline"]}
    name = f"logs/{RUNS['baseline']}/events.tfevents.1"
    assert (new / name).read_bytes() == (other / name).read_bytes()
    assert (new / name).stat().st_ino != (other / name).stat().st_ino


def test_without_links_between_the_disks_it_is_copied(
    tmp_path, other, made, monkeypatch
):
    def link(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    new = tmp_path / "new"
    again(new, other)
    assert made == AFTER_ALPHA
    assert inode(new, "teacher") != inode(other, "teacher")
    file = Path("teacher") / "inner" / "result"
    assert filecmp.cmp(new / file, other / file, shallow=False)


def test_a_full_disk_is_one_line_and_leaves_nothing_half(
    tmp_path, other, made, monkeypatch
):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(UserError, match="No space left on device") as caught:
        again(tmp_path / "new", other)
    assert f"data cannot be taken from {other}" in str(caught.value)
    new = tmp_path / "new"
    assert sorted(p.name for p in new.iterdir()) == [".work", "config.yaml"]
    assert [p.name for p in (new / ".work").iterdir()] == ["lock"]


def test_a_part_takes_what_it_needs_and_no_more(tmp_path, other, made):
    new = tmp_path / "new"
    again(new, other, stages=["teacher"])
    assert made == []
    folders = {path.parent.name for path in new.glob("*/stage.json")}
    assert folders == {"data", "teacher"}
    again(new, other, stages=["student"])
    assert made == ["student"]
    folders = {path.parent.name for path in new.glob("*/stage.json")}
    assert folders == {
        *("data", "teacher", "augmented", "transfer_set", "vocabulary"),
        "student",
    }


def test_a_part_that_needs_what_the_other_lacks_is_refused(
    tmp_path, other, made
):
    shutil.rmtree(other / "transfer_set")
    with pytest.raises(UserError, match="vocabulary needs label, which"):
        again(tmp_path / "new", other, stages=["vocabulary"])
    assert not (tmp_path / "new").exists()


def test_labels_are_not_taken_without_the_teacher_that_gave_them(
    tmp_path, other, made
):
    shutil.rmtree(other / "teacher")
    again(tmp_path / "new", other)
    assert made == [n for n in PAPER if n not in ("data", "augment")]


def test_what_was_made_here_before_may_stay_where_it_is_the_same(
    tmp_path, other, made
):
    """As when somebody stops a run and adds the flag."""
    new = tmp_path / "new"
    Pipeline(config_from_dict(ALPHA), new).run(["data"])
    (new / "data" / "inner" / "result").write_bytes(
        (other / "data" / "inner" / "result").read_bytes()
    )
    # Measured of the data for other settings, beside it.
    write_text(new / "data" / "forecast.json", "{}")
    made.clear()
    again(new, other)
    assert made == AFTER_ALPHA


def test_a_teacher_that_was_trained_here_labels_here(tmp_path, other, made):
    new = tmp_path / "new"
    again(new, other, stages=["data"])
    Pipeline(config_from_dict(ALPHA), new).run(["teacher"])
    made.clear()
    again(new, other)
    assert made == ["label", "vocabulary", "student", "baseline"] + [
        *("export", "report")
    ]


def test_a_stage_with_other_settings_is_replaced_where_that_is_asked_for(
    tmp_path, other, made
):
    new = tmp_path / "new"
    Pipeline(config_from_dict({"teacher": {"epochs": 9}}), new).run()
    made.clear()
    with pytest.raises(UserError, match="add --redo"):
        again(new, other)
    again(new, other, redo=True)
    assert made == AFTER_ALPHA
    assert inode(new, "teacher") == inode(other, "teacher")


def test_an_interrupted_stage_s_work_makes_room(tmp_path, other, made):
    new = tmp_path / "new"
    run = Pipeline(config_from_dict(ALPHA), new)
    write_text(run.place("teacher") / "work" / "checkpoint", "half")
    again(new, other)
    assert made == AFTER_ALPHA
    assert [p.name for p in (new / ".work").iterdir()] == ["lock"]


KILLED = """
import os, signal, sys
from pathlib import Path
from keras_distill import reuse
from keras_distill.files import write_json
from keras_distill.run import RunFolder, Stage

def stages(calls=None):
    def work(run, place):
        calls.append(1)
        for name in ("a", "b", "c"):
            (place / name).write_text(name)
    return [Stage("cake", "cakes", (), work, logs="cake*")]

old, new, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
made = []
if not old.exists():
    folder = RunFolder(old, stages(made), {"cake": {}})
    (old / "logs" / "cake-1").mkdir(parents=True)
    (old / "logs" / "cake-1" / "events").write_text("curve")
    (old / "config.yaml").write_text("")
    with folder.lock():
        folder.make("cake")
count = 0
def dying(event, args):
    global count
    if event in ("os.link", "os.rename", "shutil.copyfile", "os.mkdir"):
        count += 1
        if count == most:
            os.kill(os.getpid(), signal.SIGKILL)
run = RunFolder(new, stages(made), {"cake": {}})
source = reuse.Reused(run, old)
sys.addaudithook(dying)
with run.lock():
    for name in source.names({"cake"}):
        source.take(name)
print(count)
"""


def test_killed_anywhere_a_stage_is_taken_whole_or_not_at_all(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"

    def taken(most):
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(old), str(new), str(most)],
            cwd=tiny_runs.ROOT,
            capture_output=True,
            text=True,
        )

    whole = {"a", "b", "c", "stage.json"}
    most = int(taken(0).stdout)
    assert most > 5
    for place in range(1, most + 1):
        shutil.rmtree(new)
        assert taken(place).returncode == -9
        cakes = new / "cakes"
        assert not cakes.exists() or {p.name for p in cakes.iterdir()} == whole
        assert taken(0).returncode == 0
        assert {path.name for path in cakes.iterdir()} == whole
        assert (new / "logs" / "cake-1" / "events").read_text() == "curve"
        assert [path.name for path in (new / ".work").iterdir()] == ["lock"]
        names = {path.name for path in new.iterdir()}
        assert names == {"cakes", "logs", ".work"}


def test_a_run_that_is_changed_meanwhile_is_not_taken_from(
    tmp_path, other, made, monkeypatch
):
    linked = files._link

    def redone(source, target):
        with contextlib.suppress(FileNotFoundError):
            (other / "data" / "stage.json").unlink()
        linked(source, target)

    monkeypatch.setattr(files, "_link", redone)
    with pytest.raises(UserError, match="data cannot be taken from"):
        again(tmp_path / "new", other)
    assert not (tmp_path / "new" / "data").exists()


# What a person gets wrong


def train(*arguments):
    return tiny_runs.run_here("train.py", *arguments)


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_what_is_no_run_folder_is_one_line(tmp_path, check):
    result = train(
        *("--reuse", tmp_path, "--output-dir", tmp_path / "run", *check)
    )
    assert result.returncode == 2
    assert result.stderr == (
        f"error: --reuse {tmp_path}: found no config.yaml, expected the "
        "folder of a run of train.py\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_run_takes_nothing_from_itself(tmp_path):
    write_text(tmp_path / "config.yaml", "")
    place = tmp_path / "." / "x" / ".."
    (tmp_path / "x").mkdir()
    result = train("--reuse", place, "--output-dir", tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith(
        "is the run folder itself, expected another one; without --reuse the "
        "same command goes on, --redo makes anew what changed"
    )


# The teacher by a relative or an absolute path, the data too


def test_where_a_checkpoint_or_a_table_lies_does_not_matter(
    tmp_path, made, monkeypatch
):
    teacher = tmp_path / "bert"
    for name in ("config.json", "model.safetensors"):
        write_text(teacher / name, name)
    write_text(tmp_path / "train.csv", "text,label\n")
    monkeypatch.setattr(pipeline, "check_teacher", lambda *_: None)
    monkeypatch.setattr(pipeline, "summary", lambda *_, **__: "")

    def values(folder, **student):
        return {
            "task": "custom",
            "data": {"train_file": str(folder / "train.csv")},
            "teacher": {"checkpoints": [str(folder / "bert")]},
            "student": student,
        }

    Pipeline(config_from_dict(values(tmp_path)), tmp_path / "other").run()
    made.clear()
    monkeypatch.chdir(tmp_path)
    again(Path("new"), Path("other"), values(Path(), alpha=0.1))
    assert made == AFTER_ALPHA


# --check


def test_a_check_says_what_would_be_taken_and_takes_nothing(
    tmp_path, other, made, monkeypatch
):
    read = []

    def summary(run, config, data, keep, taken=()):
        read.append((data, sorted(path.name for path in taken)))
        return "the summary"

    monkeypatch.setattr(pipeline, "summary", summary)
    monkeypatch.setattr(pipeline, "run_child", lambda *_: read.append("child"))
    shown = []
    run = Pipeline(config_from_dict(ALPHA), tmp_path / "new")
    run.check_run(False, shown.append, reuse=other)
    names = [name for name in TAKEN if name not in AFTER_ALPHA]
    assert shown == [
        "\n".join(f"{name}: would be taken from {other}" for name in names),
        "the summary",
    ]
    # No teacher is to be asked, and the data is read where it lies.
    folders = [pipeline_folder(name) for name in names]
    assert read == [(other / "data", sorted(folders))]
    assert made == [] and not (tmp_path / "new").exists()


def pipeline_folder(name):
    return {stage.name: stage.folder for stage in pipeline._STAGES}[name]


def test_a_run_without_finished_stages_gives_nothing(
    tmp_path, other, made, caplog
):
    for record in other.glob("*/stage.json"):
        record.unlink()
    with caplog.at_level(logging.INFO):
        again(tmp_path / "new", other)
    assert made == PAPER
    assert f"nothing is taken from {other}" in caplog.messages[0]


# Whatever is linked is replaced and not written into


@pytest.mark.whole
def test_a_second_run_fine_tunes_no_teacher_and_leaves_the_first_as_it_is(
    sst2_run, tmp_path
):
    def hashes(folder):
        return {
            path: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    first = sst2_run.path
    before = hashes(first)
    new = tmp_path / "new"
    command = sst2_run.again("--alpha", "0.1", "--reuse", first, path=new)
    result = tiny_runs.run_here(*command)
    assert result.returncode == 0, result.stderr
    for name in ("data", "teacher", "augment", "label", "vocabulary"):
        assert f"{name}: taken from {first}" in result.stderr
    assert "teacher: started" not in result.stderr
    results = read_json(new / "results.json")
    assert results["taken_stages"] == {
        name: str(first)
        for name in (
            *("data", "teacher", "augment", "label", "vocabulary"),
            "baseline",
        )
    }
    assert "Taken over, made before: data" in " ".join(result.stdout.split())
    assert "taken over from another run" in (new / "README.md").read_text()
    # What writes into a finished run: a shard that is labelled again, an
    # export.
    next((new / "transfer_set").glob("train-*.tfrecord")).unlink()
    for more in (
        (*command, "--stages", "label"),
        ("-m", "keras_distill.export", new, "--forms", "student_int8"),
    ):
        result = tiny_runs.run_here(*more)
        assert result.returncode == 0, result.stderr
    assert hashes(first) == before
