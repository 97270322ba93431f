"""The two students trained at a time, in a process each."""

import csv
import json
import random
import signal

import pytest
import tiny_runs

from keras_distill.files import read_json
from keras_distill.run import stage_seconds

pytestmark = pytest.mark.whole


def command(folder):
    """A training that is long enough for two processes."""
    return (
        *("train.py", "--task", "custom", "--train-file", folder / "rows.tsv"),
        *("--test-file", folder / "test.tsv"),
        *("--teacher-logits", folder / "said.jsonl", "--epochs", "40"),
        *("--batch-size", "16", "--set", "student.evaluations_per_epoch=1"),
        *("--set", "student.lstm_units=16", "--set", "student.embedding_dim=8"),
        *("--output-dir", folder / "run"),
    )


def write(folder):
    """Write rows with gold labels and answers, so that no BERT is asked."""
    rng = random.Random(4)
    rows = [
        (f"{tiny_runs.sentence(rng, rng.choice(words))} {number}", label)
        for number in range(150)
        for label, words in (("bad", tiny_runs.BAD), ("good", tiny_runs.GOOD))
    ]
    for name, part in (("rows", rows[40:]), ("test", rows[:40])):
        lines = ["text\tlabel", *map("\t".join, part)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    said = [
        {"text": text, "logits": {"bad": -sure, "good": sure}}
        for text, label in rows
        for sure in [1 if label == "good" else -1]
    ]
    lines = "\n".join(map(json.dumps, said))
    (folder / "said.jsonl").write_text(lines + "\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write(folder)
    result = tiny_runs.run(*command(folder))
    assert result.returncode == 0, result.stderr
    return folder / "run", result


def test_the_two_students_train_side_by_side(whole):
    run, result = whole
    lines = [line[9:] for line in result.stderr.splitlines()]
    done = [line.startswith("export: done") for line in lines]
    assert lines.index("baseline: started") < done.index(True)
    # Each line tells which of the two it is of.
    looks = [line for line in lines if "update 16," in line]
    assert sorted(line.partition(":")[0] for line in looks) == [
        "labels alone",
        "training",
    ]
    assert "skipped" not in result.stderr
    results = read_json(run / "results.json")
    assert results["beside"] == {"baseline": ["student", "export"]}
    words = " ".join(result.stdout.split())
    assert "(baseline beside student and export)." in words
    assert stage_seconds(run)["baseline"] > 0


def looks(run, stage):
    with open(run / stage / "history.csv", newline="") as stream:
        return [
            (row["updates"], float(row["loss"]), float(row["accuracy"]))
            for row in csv.DictReader(stream)
        ]


def test_whichever_of_the_two_is_killed_the_run_ends_the_same(whole, tmp_path):
    write(tmp_path)

    def stopped(stage):
        return tiny_runs.run(
            *command(tmp_path),
            STOP_AT=f"*/{stage}-*/checkpoint/state.npz 3 after",
            STOP_ALONE=str(tmp_path / f"{stage} was killed"),
            PYTHONPATH=str(tiny_runs.ROOT / "tests" / "stop_at"),
        )

    first = stopped("student")
    assert first.returncode == -signal.SIGKILL
    second = stopped("baseline")
    assert second.returncode == 0, second.stderr
    assert "was killed: signal 9" in second.stderr
    assert "student: resumed" in second.stderr
    # The first one's other process may have come to a checkpoint too.
    assert second.stderr.count("training goes on after update") >= 2
    for stage in ("student", "baseline"):
        mine, theirs = (
            looks(run, stage) for run in (tmp_path / "run", whole[0])
        )
        assert [row[0] for row in mine] == [row[0] for row in theirs]
        assert mine == [pytest.approx(row, abs=1e-3) for row in theirs]
