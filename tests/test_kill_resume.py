"""Killed anywhere and started again, a run ends as if nothing had happened.

Each stage is hit in a copy of a finished run that holds what the stage
needs, and compared with that run afterwards. The tiny teacher and student
have no dropout, so what is not equal byte for byte is equal up to the order
of floating-point sums; TOLERANCE is what that may come to.
"""

import csv
import random

import keras
import numpy as np
import pytest
import tiny_runs

from keras_distill.config import STAGES
from keras_distill.export.forms import exported_forms
from keras_distill.files import read_json
from keras_distill.student import models  # noqa: F401 - registers layers

pytestmark = pytest.mark.whole

# Of losses, metrics and weights.
TOLERANCE = 1e-3

HINT = "interrupted; the same command goes on from here\n"
PREFIX = {
    "teacher": ["data"],
    "label": ["data", "teacher", "augmented"],
    "student": ["data", "teacher", "augmented", "transfer_set", "vocabulary"],
}
PREFIX["report"] = [*PREFIX["student"], "student", "baseline"]


def contents(folder):
    """Every file's bytes, but for what tells times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "stage.json"
    }


def close(first, second):
    return np.allclose(first, second, rtol=TOLERANCE, atol=TOLERANCE)


def goes_on(*command, run=tiny_runs.run_here):
    """What goes on does not depend on being a process of its own."""
    result = run(*command)
    assert result.returncode == 0, result.stderr
    return result


# Augmentation


@pytest.fixture(scope="module")
def big_table(tmp_path_factory):
    """A table that is augmented in two parts."""
    folder = tmp_path_factory.mktemp("big")
    rng = random.Random(0)
    rows = [
        f"the {rng.choice(tiny_runs.THINGS)} was {i} times better,{i % 2}"
        for i in range(5_000)
    ]
    (folder / "big.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return folder


def augment(folder, name, workers):
    return (
        *(
            "train.py",
            "--task",
            "custom",
            "--recipe",
            "paper",
            "--train-file",
            folder / "big.csv",
        ),
        *("--pos-tagger", "none", "--n-iter", "1"),
        *("--set", f"augmentation.workers={workers}"),
        *("--stages", "data,augment", "--output-dir", folder / name),
    )


@pytest.fixture(scope="module")
def whole_text(big_table):
    goes_on(*augment(big_table, "whole", 2), run=tiny_runs.run)
    return contents(big_table / "whole" / "augmented")


@pytest.mark.parametrize(
    "place, when",
    [
        ("*/data-*/train.jsonl.gz", "before"),
        ("*/frequencies.tsv.gz", "before"),
        ("*/part-00001.tsv.gz", "before"),
        ("*/augment-*/manifest.json", "after"),
        ("*/augment-*/stage.json", "after"),
    ],
)
def test_augmented_text_is_equal_byte_for_byte(
    big_table, whole_text, place, when
):
    name = place.rpartition("/")[2]
    command = augment(big_table, name, 1)
    tiny_runs.killed(place, 1, when, *command)
    path = big_table / name
    assert not (path / "augmented").exists()
    goes_on(*command)
    assert contents(path / "augmented") == whole_text
    assert sorted(p.name for p in path.iterdir()) == [
        *(".work", "augmented", "config.yaml", "data")
    ]
    assert [p.name for p in (path / ".work").iterdir()] == ["lock"]


def test_augmented_text_is_equal_with_worker_processes(big_table, whole_text):
    command = augment(big_table, "workers", 2)
    # Between the workers' two passes; this process, not a worker, writes it.
    tiny_runs.killed("*/work/frequencies.tsv.gz", 1, "after", *command)
    goes_on(*command, run=tiny_runs.run)
    assert contents(big_table / "workers" / "augmented") == whole_text


# Teacher


@pytest.fixture(scope="module")
def teacher(sst2_run, tmp_path_factory):
    """Killed in the second epoch, interrupted in a later one, continued."""
    path = sst2_run.copy(
        tmp_path_factory.mktemp("teacher") / "run", *PREFIX["teacher"]
    )
    command = sst2_run.again("--stages", "teacher", path=path)
    # The measurement of the epoch is on disk, its checkpoint is not.
    tiny_runs.killed("*/grid.json", 2, "after", *command)
    assert not (path / "teacher").exists()
    code, written = tiny_runs.interrupted("*/grid.json", 2, *command)
    assert not (path / "teacher").exists()
    result = goes_on(*command)
    return path, code, written, result


def test_a_killed_teacher_goes_on_from_its_checkpoint(teacher):
    _, _, written, result = teacher
    # 63 rows in batches of 4; only the first epoch was whole.
    assert "resumed at step 16\n" in written
    assert "epoch 1:" not in written
    assert "epoch 2:" in written
    assert "resumed at step" in result.stderr
    assert "epoch 2:" not in result.stderr
    assert "epoch 4:" in result.stderr
    assert "teacher: resumed" in result.stderr


def test_a_killed_teacher_ends_as_an_uninterrupted_one(teacher, sst2_run):
    grid = read_json(teacher[0] / "teacher" / "grid.json")
    whole = read_json(sst2_run.path / "teacher" / "grid.json")
    keys = ("epoch", "loss", "accuracy", "f1", "cross_entropy")
    assert close(
        [[row[key] for key in keys] for row in grid["rows"]],
        [[row[key] for key in keys] for row in whole["rows"]],
    )
    assert grid["best"]["epoch"] == whole["best"]["epoch"]


def test_a_killed_teacher_leaves_the_same_files(teacher, sst2_run):
    names = contents(sst2_run.path / "teacher").keys()
    assert contents(teacher[0] / "teacher").keys() == names


def test_ctrl_c_in_the_teachers_process_exits_130_with_one_hint(teacher):
    _, code, written, _ = teacher
    assert code == 130
    assert written.count("interrupted") == 1
    assert written.endswith(f"\n{HINT}")
    assert "Traceback" not in written


# Labelling and vocabulary


@pytest.fixture(scope="module")
def labelled(sst2_run, tmp_path_factory):
    """Killed before the third shard has its name, and continued.

    The vocabulary's stage follows and is killed twice: before there are
    words, and before the words have their vectors.
    """
    path = sst2_run.copy(
        tmp_path_factory.mktemp("label") / "run", *PREFIX["label"]
    )
    command = sst2_run.again("--stages", "label,vocabulary", path=path)
    tiny_runs.killed("*/train-*.tfrecord", 3, "before", *command)
    (place,) = (path / ".work").glob("label-*")
    finished = {p.name: p.stat() for p in place.glob("train-*.tfrecord")}
    pattern = "*/vocabulary-*/vocab.txt"
    result = tiny_runs.killed(pattern, 1, "before", *command)
    pattern = "*/vocabulary-*/vectors.npy"
    tiny_runs.killed(pattern, 1, "before", *command)
    (place,) = (path / ".work").glob("vocabulary-*")
    left = sorted(p.name for p in place.glob("[!.]*"))
    assert left == ["vocab.txt", "words.json"]
    assert not (path / "vocabulary").exists()
    goes_on(*command)
    return path, finished, result


def test_records_are_equal_byte_for_byte(labelled, sst2_run):
    path, _, _ = labelled
    names = sorted((sst2_run.path / "transfer_set").glob("*.tfrecord"))
    assert len(names) >= 5
    for name in names:
        same = path / name.relative_to(sst2_run.path)
        assert same.read_bytes() == name.read_bytes()
    # The texts are in the records alone, once they are all labelled.
    assert not (path / "transfer_set" / "inputs").exists()


def test_the_vocabulary_is_equal_byte_for_byte(labelled, sst2_run):
    path, _, _ = labelled
    expected = contents(sst2_run.path / "vocabulary")
    # Not a hidden file is left either.
    assert contents(path / "vocabulary") == expected
    assert {"vocab.txt", "vectors.npy", "coverage.json", "words.json"} == set(
        expected
    )


def test_a_finished_shard_is_not_labelled_again(labelled):
    path, finished, result = labelled
    assert len(finished) == 2
    for name, before in finished.items():
        after = (path / "transfer_set" / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (
            before.st_ino,
            before.st_mtime_ns,
        )
    assert "2 of 4 shards are there already" in result.stderr


def test_no_half_written_shard_is_left(labelled, sst2_run):
    path, _, _ = labelled
    names = contents(sst2_run.path / "transfer_set").keys()
    assert contents(path / "transfer_set").keys() == names


def test_a_damaged_shard_of_a_finished_run_is_mended(labelled, sst2_run):
    path, _, _ = labelled
    shard = path / "transfer_set" / "train-00001-of-00004.tfrecord"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    result = goes_on(*sst2_run.again("--stages", "label", path=path))
    assert shard.read_bytes() == whole
    assert "label: not complete, mending it" in result.stderr
    assert "3 of 4 shards are there already" in result.stderr


# Students


def history(folder):
    with open(folder / "history.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        del row["seconds"], row["examples_per_s"]
    return [{k: float(v) if v else None for k, v in r.items()} for r in rows]


def assert_same_student(folder, whole):
    first, second = history(folder), history(whole)
    assert len(first) == len(second)
    for row, other in zip(first, second, strict=True):
        assert row.keys() == other.keys()
        numbers = [(v, other[k]) for k, v in row.items() if v is not None]
        assert close(*zip(*numbers, strict=True))
    saved = [
        keras.models.load_model(place / "model.keras", compile=False)
        for place in (folder, whole)
    ]
    pairs = zip(saved[0].weights, saved[1].weights, strict=True)
    for weight, other in pairs:
        assert close(weight.numpy(), other.numpy()), weight.path
    facts = [read_json(p / "training.json") for p in (folder, whole)]
    assert facts[0].keys() == facts[1].keys()
    assert facts[0]["updates"] == facts[1]["updates"]
    assert facts[0]["best"]["updates"] == facts[1]["best"]["updates"]


@pytest.fixture(scope="module")
def student(sst2_run, tmp_path_factory):
    """Interrupted in the first seed, killed in the second, continued.

    The baseline's stage follows and is killed in the middle, too.
    """
    path = sst2_run.copy(
        tmp_path_factory.mktemp("student") / "run", *PREFIX["student"]
    )
    command = sst2_run.again("--stages", "student,baseline", path=path)
    code, written = tiny_runs.interrupted("*/checkpoint/state.npz", 2, *command)
    # The best weights of that evaluation are there, its state is not.
    pattern = "*/seed-43/checkpoint/state.npz"
    tiny_runs.killed(pattern, 3, "before", *command)
    assert not (path / "student").exists()
    pattern = "*/baseline-*/checkpoint/state.npz"
    result = tiny_runs.killed(pattern, 3, "after", *command)
    assert not (path / "baseline").exists()
    goes_on(*command)
    return path, code, written, result.stderr.partition("baseline: started")[0]


@pytest.mark.parametrize("seed", ["", "seed-43"])
def test_a_killed_student_ends_as_an_uninterrupted_one(student, sst2_run, seed):
    path, _, _, _ = student
    assert_same_student(
        path / "student" / seed, sst2_run.path / "student" / seed
    )


def test_a_killed_student_leaves_the_same_files(student, sst2_run):
    names = contents(sst2_run.path / "student").keys()
    assert contents(student[0] / "student").keys() == names


def test_a_seed_that_is_done_is_not_trained_again(student):
    _, _, _, written = student
    assert "training goes on after update 28" in written
    assert "update 14," not in written


def test_ctrl_c_exits_130_with_one_hint(student):
    _, code, written, _ = student
    assert code == 130
    assert written.endswith(f"\n{HINT}")
    assert written.count("interrupted") == 1
    assert "Traceback" not in written


def test_a_killed_baseline_ends_as_an_uninterrupted_one(student, sst2_run):
    folder, whole = student[0] / "baseline", sst2_run.path / "baseline"
    assert_same_student(folder, whole)
    assert contents(folder).keys() == contents(whole).keys()


# Export and report


@pytest.fixture(scope="module")
def exported(sst2_run, tmp_path_factory):
    """Killed when some forms have their names, and continued.

    The report's stage follows and is killed before the model card is there.
    """
    path = sst2_run.copy(
        tmp_path_factory.mktemp("export") / "run", *PREFIX["report"]
    )
    command = sst2_run.again("--stages", "export,report", path=path)
    # The stage's own file, not the converter's of the same name below it.
    pattern = f"*/export-{'?' * 16}/student_int8.tflite"
    tiny_runs.killed(pattern, 1, "before", *command)
    (place,) = (path / ".work").glob("export-*")
    assert (place / "saved_model").is_dir()
    assert (place / "student.tflite").is_file()
    assert not (place / "exports.json").exists()
    result = tiny_runs.killed("*/run/README.md", 1, "before", *command)
    assert "export: resumed" in result.stderr
    assert not (path / "report").exists()
    return path, goes_on(*command)


def test_a_killed_export_leaves_the_same_files(exported, sst2_run):
    names = contents(sst2_run.path / "export").keys()
    assert contents(exported[0] / "export").keys() == names


def test_a_killed_export_answers_as_an_uninterrupted_one(exported, sst2_run):
    texts = ["the film was great", "it is a dull song !", ""]
    answers = [
        {
            form.name: form.logits([texts], lambda rows: None)
            for form in exported_forms(path / "export")
        }
        for path in (exported[0], sst2_run.path)
    ]
    assert answers[0].keys() == answers[1].keys()
    assert {"saved_model", "student_int8.tflite"} <= answers[0].keys()
    for name, logits in answers[0].items():
        assert close(logits, answers[1][name]), name
    notes = [
        read_json(path / "export" / "calibration.json")
        for path in (exported[0], sst2_run.path)
    ]
    assert notes[0] == notes[1]


def test_killed_before_the_report_is_whole_it_is_made_again(exported, sst2_run):
    path, result = exported
    assert "export: done before, skipped" in result.stderr
    again = read_json(path / "results.json")
    whole = read_json(sst2_run.path / "results.json")
    assert numbers(again).keys() == numbers(whole).keys()
    for key, value in numbers(again).items():
        if "seconds" not in key and "_per_s" not in key and "ms" not in key:
            assert close(value, numbers(whole)[key]), key
    assert not [p.name for p in path.glob(".*.tmp")]


def numbers(value, prefix=""):
    """Flatten a JSON object to its numbers."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        number = isinstance(value, (int, float))
        return {prefix: value} if number else {}
    flat = {}
    for key, inner in items:
        flat |= numbers(inner, f"{prefix}.{key}")
    return flat


# Made again


def test_redo_makes_only_what_depends_on_the_change(sst2_run, tmp_path):
    path = sst2_run.copy(tmp_path / "run", *PREFIX["report"])
    more = ("--redo", "--epochs", "2", "--extra-seeds", "0")
    stages = [
        n for n in STAGES[: STAGES.index("student") + 1] if n != "vectors"
    ]
    result = goes_on(
        *sst2_run.again(*more, "--stages", ",".join(stages), path=path)
    )
    *before, last = stages
    assert [n for n in stages if f"{n}: done before" in result.stderr] == before
    assert [n for n in STAGES if f"{n}: started" in result.stderr] == [last]
    assert len(history(path / "student")) == 2
    assert len(history(sst2_run.path / "student")) == 8
    assert not (path / "student" / "seed-43").exists()


def test_a_report_that_was_removed_is_made_again(sst2_run, tmp_path):
    path = sst2_run.copy(tmp_path / "run", *PREFIX["report"])
    for name in ("export", "report", "logs"):
        sst2_run.copy(path, name)
    command = sst2_run.again(path=path)
    result = goes_on(*command)
    assert "report: not complete, mending it" in result.stderr
    assert (path / "results.json").is_file()
    assert (path / "README.md").is_file()
