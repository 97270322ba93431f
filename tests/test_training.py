import csv
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_distill.config import StudentConfig
from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.metrics import classification_metrics
from keras_distill.student import trainer, training
from keras_distill.student.dataset import evaluation_dataset
from keras_distill.student.predictor import predict, predict_logits
from keras_distill.student.text import SPECIALS, StudentTokenizer
from keras_distill.student.trainer import Trainer
from keras_distill.student.training import train_student
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    encode,
    write_shard,
)

GOOD, BAD = ["fine", "good", "great"], ["awful", "bad", "poor"]
WORDS = [*SPECIALS, *GOOD, *BAD, "film", "the", "was"]
SETTINGS = {
    "lstm_units": 4,
    "hidden_units": 6,
    "embedding_dim": 5,
    "batch_size": 8,
    "epochs": 3,
}
ROWS = 60


def record(number, rng, pair, source=ORIGINAL):
    label = int(rng.integers(2))
    words = ["the", "film", "was"] * int(rng.integers(1, 3))
    text = " ".join([*words, rng.choice(GOOD if label else BAD)])
    logits = [2.0 - 4 * label, 4.0 * label - 2]
    other = rng.choice(GOOD) if pair else None
    example = Example(text, other, label, id=str(number))
    return encode(example, logits, source)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("records"), pair=False)


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    """A run that learns the task; at this rate it goes up and down."""
    folder = tmp_path_factory.mktemp("trained")
    logs = tmp_path_factory.mktemp("logs")
    changes = {"epochs": 12, "learning_rate": 2.0}
    return train(files, folder, changes, log_dir=logs), folder, logs


def write_files(folder, pair):
    rng = np.random.default_rng(0)
    for name, rows in (("train-0", 40), ("train-1", 20), ("select", 30)):
        source = ORIGINAL if name != "train-1" else AUGMENTED
        write_shard(
            folder / f"{name}.tfrecord",
            [record(row, rng, pair, source) for row in range(rows)],
        )
    return {
        "train_files": [
            folder / "train-0.tfrecord",
            folder / "train-1.tfrecord",
        ],
        "select_file": folder / "select.tfrecord",
        "pair": pair,
    }


def train(files, output_dir, changes=None, **arguments):
    return train_student(
        StudentConfig(**{**SETTINGS, **(changes or {})}),
        **{
            "vocabulary": WORDS,
            "vectors": None,
            "labels": ["bad", "good"],
            "lower_case": True,
            "output_dir": output_dir,
            "seed": 1,
            **files,
            **arguments,
        },
    )


def weights(folder):
    return keras.models.load_model(folder / "model.keras").get_weights()


def test_a_student_learns(trained):
    result, _, _ = trained
    assert result.best["accuracy"] > 0.9
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2


def test_a_siamese_student_learns(tmp_path):
    files = write_files(tmp_path, pair=True)
    result = train(files, tmp_path / "out", {"epochs": 12})
    assert result.best["accuracy"] > 0.9


def test_a_run_leaves_the_model_and_the_history(trained):
    result, folder, _ = trained
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["history.csv", "model.keras"]
    with open(folder / "history.csv") as stream:
        rows = list(csv.DictReader(stream))
    updates = [int(row["updates"]) for row in rows]
    assert updates == [8 * epoch for epoch in range(1, 13)]
    for column in "epoch loss ce distillation seconds examples_per_s".split():
        assert float(rows[-1][column]) >= 0
    assert (result.rows, result.updates, result.updates_per_epoch) == (
        ROWS,
        12 * 8,
        8,
    )


def test_the_saved_model_is_the_one_of_the_best_evaluation(files, trained):
    result, _, _ = trained
    model = keras.models.load_model(result.model_path)
    said = predict(model, select_dataset(files))
    found = classification_metrics(said.logits, said.labels)
    for name in ("accuracy", "cross_entropy"):
        assert found[name] == pytest.approx(result.best[name], abs=1e-5)
    assert result.best["accuracy"] == max(
        row["accuracy"] for row in result.history
    )


def select_dataset(files, **arguments):
    return evaluation_dataset(
        files["select_file"],
        StudentTokenizer(WORDS, True),
        batch_size=7,
        pair=files["pair"],
        num_classes=2,
        max_length=50,
        **arguments,
    )


def test_logits_come_in_the_order_of_the_file(files, trained):
    model = keras.models.load_model(trained[0].model_path)
    sorted_by_length = predict_logits(model, select_dataset(files))
    as_they_lie = [
        model(inputs) for inputs, _ in select_dataset(files, sort=False)
    ]
    np.testing.assert_allclose(
        sorted_by_length, np.concatenate(as_they_lie), atol=1e-5
    )


def test_tensorboard_gets_the_scalars(trained):
    (events,) = trained[2].iterdir()
    assert b"accuracy" in events.read_bytes()


# Dropout, whose random numbers must go on where they stopped.
NOISY = {"dropout": 0.2, "epochs": 2}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return train(files, folder, NOISY), folder


@pytest.mark.parametrize("after", [3, 8], ids=["mid-epoch", "epoch's end"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    files, whole, tmp_path, monkeypatch, after
):
    monkeypatch.setattr(training, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    step = trainer.Trainer.train_batch
    updates = []

    def killed(self):
        if self.update == after and after not in updates:
            updates.append(after)
            raise Killed
        updates.append(self.update)
        step(self)

    monkeypatch.setattr(trainer.Trainer, "train_batch", killed)
    with pytest.raises(Killed):
        train(files, tmp_path, NOISY)
    assert not (tmp_path / "model.keras").exists()
    del updates[:after]
    parts = train(files, tmp_path, NOISY)
    assert updates == [after, *range(after, parts.updates)]
    expected, folder = whole
    assert parts.updates == expected.updates
    for one, other in zip(weights(folder), weights(tmp_path), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
    for one, other in zip(expected.history, parts.history, strict=True):
        for name in set(one) - {"seconds", "examples_per_s"}:
            assert other[name] == pytest.approx(one[name], abs=1e-4), name


def test_a_killed_process_leaves_a_run_that_can_go_on(tmp_path):
    files = write_files(tmp_path, pair=False)
    out = tmp_path / "out"
    script = (
        "import sys, time; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "import test_training as t\n"
        "t.training._SECONDS_BETWEEN_CHECKPOINTS = 0\n"
        "t.train(t.write_files(Path(sys.argv[3]), False),\n"
        "        Path(sys.argv[3]) / 'out', {'epochs': 100_000})\n"
    )
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", script, here.parent, here, tmp_path],
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (out / "history.csv").exists():
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with open(out / "history.csv") as stream:
        reached = [int(row["updates"]) for row in csv.DictReader(stream)]
    # The file may be one evaluation behind the checkpoint.
    result = train(files, out, max_updates=reached[-1] + 24)
    updates = [row["updates"] for row in result.history]
    assert updates == list(range(8, reached[-1] + 25, 8))
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == []


def test_the_baseline_learns_from_gold_labels_alone(files, tmp_path):
    result = train(files, tmp_path, {"epochs": 1}, labelled_only=True)
    assert result.rows == 40
    row = result.best
    assert row["loss"] == pytest.approx(row["ce"])


def test_updates_can_be_given_in_place_of_epochs(files, tmp_path):
    result = train(files, tmp_path, max_updates=11, updates_per_evaluation=4)
    assert [row["updates"] for row in result.history] == [4, 8, 11]
    assert result.updates == 11


def test_an_epoch_can_have_several_evaluations(files, tmp_path):
    changes = {"evaluations_per_epoch": 3, "epochs": 2}
    result = train(files, tmp_path, changes)
    updates = [row["updates"] for row in result.history]
    assert updates == [3, 6, 8, 11, 14, 16]


def test_patience_stops_a_run_that_gets_no_better(files, tmp_path):
    # A student that hardly moves stays at its first accuracy.
    changes = {"learning_rate": 1e-9, "patience": 2}
    result = train(files, tmp_path, changes)
    assert len(result.history) == 3
    assert result.best["updates"] == 8


def test_a_loss_that_is_no_number_ends_the_run(files, tmp_path):
    with pytest.raises(UserError, match="student.learning_rate"):
        train(files, tmp_path, {"learning_rate": 1e38})


def test_a_missing_shard_is_named(files, tmp_path):
    shards = [tmp_path / "train-7.tfrecord"]
    with pytest.raises(UserError, match="train-7.tfrecord: no such file"):
        train(files, tmp_path, train_files=shards)


def test_a_baseline_without_labels_is_refused(files, tmp_path):
    shards = files["train_files"][1:]
    with pytest.raises(UserError, match="hold no labelled rows"):
        train(files, tmp_path, train_files=shards, labelled_only=True)


def test_of_equal_evaluations_the_one_with_the_lower_loss_is_best():
    rows = [
        {"accuracy": 0.5, "cross_entropy": 0.1},
        {"accuracy": 0.8, "cross_entropy": 0.6},
        {"accuracy": 0.8, "cross_entropy": 0.4},
        {"accuracy": 0.8, "cross_entropy": 0.5},
    ]
    trainer = SimpleNamespace(history=rows, metric="accuracy")
    assert Trainer.best.fget(trainer) is rows[2]
    assert Trainer.evaluations_since_best.fget(trainer) == 2
