"""Whole runs whose teacher is a file, and one that a file teaches."""

import json
import random
import shutil

import numpy as np
import pytest
import tiny_runs

from keras_distill.data.normalize import normalize
from keras_distill.files import read_json
from keras_distill.metrics import softmax
from keras_distill.transfer_set.record import UNLABELED, read_rows

pytestmark = pytest.mark.whole

ADAM = (
    *("--set", "student.optimizer=adam"),
    *("--set", "student.learning_rate=0.01"),
)


def write_said(path, rows=420, extra=30, seed=4):
    """Write what a teacher said of sentences, gold labels beside some."""
    rng = random.Random(seed)
    lines = []
    for i in range(rows + extra):
        good = i % 2
        word = rng.choice(tiny_runs.GOOD if good else tiny_runs.BAD)
        p = rng.uniform(0.8, 0.99)
        row = {
            "text": f"{tiny_runs.sentence(rng, word)} {i}",
            "probabilities": {"good": p if good else 1 - p},
        }
        row["probabilities"]["bad"] = 1 - row["probabilities"]["good"]
        if i < rows:
            row["gold"] = "good" if good else "bad"
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n")
    return path


def trained(path, said, *more, run=tiny_runs.run, **environment):
    words = [
        *("train.py", "--task", "custom", "--teacher-logits", said),
        *(*tiny_runs.SMALL, *ADAM, *more, "--output-dir", path),
    ]
    result = run(*words, **environment)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    return write_said(tmp_path_factory.mktemp("said") / "said.jsonl")


@pytest.fixture(scope="module")
def alone(said, tmp_path_factory):
    """A run without any teacher, in a place where transformers is not."""
    place = tmp_path_factory.mktemp("alone")
    (place / "blocked").mkdir()
    (place / "blocked" / "transformers.py").write_text(
        "raise ImportError('transformers is not installed')\n"
    )
    path = place / "run"
    blocked = {"PYTHONPATH": str(place / "blocked")}
    return path, trained(path, said, **blocked)


def test_a_file_is_all_that_is_needed_of_a_teacher(alone):
    path, result = alone
    results = read_json(path / "results.json")
    assert results["teacher"]["dev"]["accuracy"] == 1.0
    assert results["student"]["dev"]["accuracy"] > 0.8
    assert results["transfer_set"]["rows"]["augmented"] == 0
    assert "450 answers (probabilities) to 450 texts" in result.stderr
    assert "nothing is augmented" in result.stderr
    card = (path / "README.md").read_text()
    assert "450 answers (probabilities)" in card
    assert read_json(path / "teacher" / "teacher.json")["kind"] == "file"


def test_the_records_have_the_files_answers(alone, said):
    path, _ = alone
    given = {
        normalize(row["text"]): row["probabilities"]
        for row in map(json.loads, said.read_text().splitlines())
    }
    files = sorted((path / "transfer_set").glob("*.tfrecord"))
    total = 0
    for file in files:
        rows = read_rows([file], False, 2)
        total += len(rows)
        for text, p in zip(
            rows.columns[0], softmax(rows.teacher_logits), strict=True
        ):
            expected = [given[text]["bad"], given[text]["good"]]
            assert np.allclose(p, expected, atol=1e-5)
    assert total == 450


def test_equal_files_give_equal_records(alone, said, tmp_path):
    path, _ = alone
    stages = ("--stages", "data,teacher,augment,label,vocabulary")
    trained(tmp_path / "run", said, *stages, run=tiny_runs.run_here)
    for file in (path / "transfer_set").glob("*.tfrecord"):
        other = tmp_path / "run" / "transfer_set" / file.name
        assert other.read_bytes() == file.read_bytes()
    words = [p / "vocabulary" / "vocab.txt" for p in (path, tmp_path / "run")]
    assert words[0].read_bytes() == words[1].read_bytes()


def test_nobody_can_be_asked_where_a_file_was_the_teacher(alone):
    path, _ = alone
    result = tiny_runs.run_here(
        *("-m", "keras_distill.cascade", path, "--agree", "0.6")
    )
    assert result.returncode == 0, result.stderr
    result = tiny_runs.run_here(
        *("-m", "keras_distill.predict", path, "--defer", "a film")
    )
    assert result.returncode == 2
    assert "--defer" in result.stderr


def test_a_bert_learns_from_the_file_and_labels_the_rest(
    said, tiny_bert, tmp_path
):
    train = tmp_path / "train.csv"
    train.write_text(
        "text,label\n"
        + "".join(
            f"the {thing} was {word} {i},{name}\n"
            for name, words in (
                ("good", tiny_runs.GOOD),
                ("bad", tiny_runs.BAD),
            )
            for i, (thing, word) in enumerate(
                zip(tiny_runs.THINGS * 3, words * 4, strict=False)
            )
        )
    )
    path = tmp_path / "run"
    trained(
        path,
        said,
        *("--train-file", train, "--teacher", tiny_bert, "--no-baseline"),
        *("--stages", "data,teacher,vectors,augment,label"),
        run=tiny_runs.run_here,
    )
    best = read_json(path / "teacher" / "grid.json")["best"]
    assert best["accuracy"] > 0.8
    manifest = read_json(path / "transfer_set" / "manifest.json")
    assert manifest["counts"]["augmented"] > 0
    # The file's texts without a gold label are in no data file.
    assert manifest["counts"]["unlabelled"] == 30
    files = sorted((path / "transfer_set").glob("train-*.tfrecord"))
    rows = read_rows(files, False, 2)
    new = rows.sources == UNLABELED
    given = {
        normalize(row["text"]): row["probabilities"]["good"] > 0.5
        for row in map(json.loads, said.read_text().splitlines())
    }
    texts = np.array(rows.columns[0])[new]
    agrees = [
        given[text] == (logits[1] > logits[0])
        for text, logits in zip(texts, rows.teacher_logits[new], strict=True)
    ]
    assert np.mean(agrees) > 0.8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--embeddings", "teacher"], "--embeddings teacher"),
        (["--teacher-checkpoint", "x"], "--teacher-checkpoint too"),
    ],
)
def test_what_a_file_cannot_give_is_refused(flags, message, said, tmp_path):
    result = tiny_runs.run_here(
        *("train.py", "--task", "custom", "--teacher-logits", said),
        *(*flags, "--output-dir", tmp_path / "run"),
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_bad_rows_are_told_before_any_work(said, tmp_path):
    path = tmp_path / "said.jsonl"
    shutil.copy(said, path)
    with open(path, "a") as stream:
        stream.write('{"text": "x", "probabilities": {"good": 2, "bad": -1}}\n')
    for more in ([], ["--check"]):
        result = tiny_runs.run_here(
            *("train.py", "--task", "custom", "--teacher-logits", path),
            *("--output-dir", tmp_path / "run", *more),
        )
        assert result.returncode == 2
        (line,) = [x for x in result.stderr.splitlines() if "error:" in x]
        assert f"{path}, line 451, field probabilities: found -1" in line
        assert not (tmp_path / "run" / "data").exists()
