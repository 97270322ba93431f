import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from report_runs import write_run
from tensorboard_events import scalars
from tensorboard_runs import history
from tiny_runs import ROOT, run_here

from keras_distill import pipeline, progress
from keras_distill.config import StudentConfig
from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.metrics import classification_metrics
from keras_distill.student import checkpoint, training
from keras_distill.student.callbacks import (
    Looks,
    RunningMean,
    ScalarLog,
    read_history,
    write_history,
)
from keras_distill.student.dataset import evaluation_dataset, training_dataset
from keras_distill.student.losses import DistillationLoss, LossTerms
from keras_distill.student.models import build_student
from keras_distill.student.optimizers import build_optimizer
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import SPECIALS, StudentTokenizer
from keras_distill.student.training import (
    Lessons,
    fit_student,
    profile_training,
)
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


def train(
    files,
    output_dir,
    changes=None,
    labelled_only=False,
    balance=False,
    **arguments,
):
    lessons = Lessons(
        vocabulary=WORDS,
        vectors=None,
        labels=["bad", "good"],
        lower_case=True,
        labelled_only=labelled_only,
        balance=balance,
        **files,
    )
    settings = StudentConfig(**{**SETTINGS, **(changes or {})})
    return fit_student(settings, lessons, output_dir, 1, **arguments)


def test_a_terminal_has_one_line_of_a_training_with_many_looks(
    files, tmp_path, on_terminal, monkeypatch
):
    # However fast it is.
    monkeypatch.setattr(progress, "_SECONDS_WORTH_A_LINE", 0.0)
    terminal = on_terminal(80)
    looks = train(files, tmp_path, {"evaluations_per_epoch": 4})
    terminal.close()
    assert len(looks.history) == 12
    *log, done, end = terminal.lines
    assert [line[9:] for line in log] == [
        "no word vectors: one trainable table starts at random"
    ]
    best = looks.best["accuracy"]
    assert re.match(rf"training: {looks.updates} updates in 00:", done)
    assert f", best {best:.4f}, " in done and end == ""


def weights(folder):
    return keras.models.load_model(folder / "model.keras").get_weights()


def test_a_student_learns(trained):
    result, _, _ = trained
    assert result.best["accuracy"] > 0.9
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2


@pytest.mark.whole
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
    assert (result.rows, result.update, result.updates_per_epoch) == (
        ROWS,
        12 * 8,
        8,
    )


def test_the_saved_model_is_the_one_of_the_best_evaluation(files, trained):
    result, folder, _ = trained
    said = saved(folder).predict(select_dataset(files))
    found = classification_metrics(said.logits, said.labels)
    for name in ("accuracy", "cross_entropy"):
        assert found[name] == pytest.approx(result.best[name], abs=1e-5)
    assert result.best["accuracy"] == max(
        row["accuracy"] for row in result.history
    )


def test_the_saved_model_is_the_bare_student(trained):
    model = keras.models.load_model(trained[1] / "model.keras")
    assert not model.compiled
    assert getattr(model, "optimizer", None) is None


def saved(folder):
    model = keras.models.load_model(folder / "model.keras")
    tokenizer = StudentTokenizer(WORDS, True)
    return StudentPredictor(model, tokenizer, ["bad", "good"])


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
    student = saved(trained[1])
    sorted_by_length = student.predict(select_dataset(files)).logits
    as_they_lie = [
        student.model(inputs) for inputs, _ in select_dataset(files, sort=False)
    ]
    np.testing.assert_allclose(
        sorted_by_length, np.concatenate(as_they_lie), atol=1e-5
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="mse"),
        pytest.param(
            {"loss": "kl", "temperature": 2.0},
            id="kl",
            marks=pytest.mark.whole,
        ),
        pytest.param({"optimizer": "adam"}, id="adam", marks=pytest.mark.whole),
    ],
)
def test_fit_makes_the_updates_of_a_plain_loop(files, tmp_path, changes):
    """Every row's loss by hand, and one gradient step for each batch."""
    changes = {**changes, "alpha": 0.3, "dropout": 0.2, "epochs": 2}
    # Half of the rows have no label.
    files = {**files, "train_files": [unlabelled(tmp_path)]}
    result = train(files, tmp_path / "fit", changes, updates_per_look=1)
    settings = StudentConfig(**{**SETTINGS, **changes})
    columns = ("loss", "ce", "distillation")
    # A batch without a label has no cross-entropy: None, no number.
    found = np.array(
        [[row[name] for name in columns] for row in result.history], float
    )
    expected = list(plain_loop(settings, files, len(found)))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def unlabelled(folder):
    rng = np.random.default_rng(2)
    path = folder / "mixed.tfrecord"
    rows = [record(row, rng, False) for row in range(20)]
    for row in range(20):
        text = " ".join(rng.choice(WORDS[5:], 1 + row % 5))
        logits = rng.normal(size=2).tolist()
        rows.append(
            encode(Example(text, None, None, f"u{row}"), logits, AUGMENTED)
        )
    write_shard(path, rows)
    return path


def plain_loop(settings, files, updates):
    keras.utils.set_random_seed(1)
    model = build_student(settings, len(WORDS), 2, False)
    optimizer = build_optimizer(settings)
    batches = training_dataset(
        files["train_files"],
        StudentTokenizer(WORDS, True),
        batch_size=settings.batch_size,
        pair=False,
        num_classes=2,
        max_length=settings.max_length,
        seed=1,
    )
    heat = settings.temperature

    @tf.function(input_signature=batches.element_spec, autograph=False)
    def update(inputs, targets):
        label, teacher = targets["label"], targets["teacher_logits"]
        known = tf.cast(label >= 0, tf.float32)
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            ce = known * tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.maximum(label, 0), logits
            )
            if settings.loss == "mse":
                distance = tf.reduce_sum((teacher - logits) ** 2, axis=1)
            else:
                p, q = (tf.nn.softmax(x / heat) for x in (teacher, logits))
                distance = heat**2 * tf.reduce_sum(p * tf.math.log(p / q), 1)
            rows = settings.alpha * ce + (1 - settings.alpha) * distance
            loss = tf.reduce_mean(rows)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return rows, ce, distance, known

    optimizer.build(model.trainable_variables)
    for batch in batches.take(updates):
        # Added up exactly, as the history is.
        rows, ce, distance, known = (
            x.numpy().astype(float) for x in update(*batch)
        )
        ce = ce[known > 0].mean() if known.any() else np.nan
        yield rows.mean(), ce, distance.mean()


def test_tensorboard_gets_the_scalars(trained):
    (events,) = trained[2].iterdir()
    assert b"accuracy" in events.read_bytes()


# Dropout, whose random numbers must go on where they stopped.
NOISY = {"dropout": 0.2, "epochs": 2, "averaging": 0.3}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return train(files, folder, NOISY), folder


@pytest.fixture
def saved_always(monkeypatch):
    """Saves a training after every update."""
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_SAVES", -1)
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_LOOKS", -1)


class Kill(keras.callbacks.Callback):
    """Notes each update; dies before the one that it is told."""

    def __init__(self, after=None):
        super().__init__()
        self.after = after
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.after:
            raise Killed

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def test_the_means_are_looked_at_and_kept(files, whole, tmp_path):
    result, folder = whole
    said = saved(folder).predict(select_dataset(files))
    found = classification_metrics(said.logits, said.labels)
    assert found["cross_entropy"] == pytest.approx(
        result.best["cross_entropy"], abs=1e-5
    )
    # The weights themselves are the same and answer otherwise.
    plain = train(files, tmp_path, {**NOISY, "averaging": 0.0})
    for one, other in zip(result.history, plain.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["cross_entropy"] != pytest.approx(
            other["cross_entropy"], abs=1e-4
        )


@pytest.mark.parametrize("after", [3, 8], ids=["mid-epoch", "epoch's end"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    files, whole, tmp_path, saved_always, after
):
    with pytest.raises(Killed):
        train(files, tmp_path, NOISY, callbacks=[Kill(after)])
    assert not (tmp_path / "model.keras").exists()
    rest = Kill()
    parts = train(files, tmp_path, NOISY, callbacks=[rest])
    assert len(rest.losses) == parts.update - after
    expected, folder = whole
    assert parts.update == expected.update
    for one, other in zip(weights(folder), weights(tmp_path), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
    for one, other in zip(expected.history, parts.history, strict=True):
        for name in set(one) - {"seconds", "examples_per_s"}:
            assert other[name] == pytest.approx(one[name], abs=1e-4), name


def test_a_balanced_run_that_was_interrupted_ends_as_an_uninterrupted_one(
    files, whole, tmp_path, saved_always
):
    expected = train(files, tmp_path / "whole", NOISY, balance=True)
    with pytest.raises(Killed):
        callbacks = [Kill(11)]
        train(
            files, tmp_path / "parts", NOISY, balance=True, callbacks=callbacks
        )
    parts = train(files, tmp_path / "parts", NOISY, balance=True)
    # An epoch stays as long, and what is drawn is not the same.
    assert parts.update == expected.update == whole[0].update
    assert parts.history[0]["loss"] != whole[0].history[0]["loss"]
    for one, other in zip(expected.history, parts.history, strict=True):
        for name in set(one) - {"seconds", "examples_per_s"}:
            assert other[name] == pytest.approx(one[name], abs=1e-4), name


def test_an_older_version_s_history_goes_on(tmp_path):
    rows = [{"updates": 1, "accuracy": 0.5}]
    rows.append({"updates": 2, "accuracy": 0.6, "macro_f1": 0.4})
    write_history(tmp_path / "history.csv", rows)
    found = read_history(tmp_path / "history.csv")
    assert found == [rows[0] | {"macro_f1": None}, rows[1]]


def test_the_metric_that_was_asked_for_chooses(files, tmp_path):
    files = files | {"metric": "macro_f1"}
    looks = train(files, tmp_path, {"epochs": 4, "learning_rate": 2.0})
    best = max(row["macro_f1"] for row in looks.history)
    assert (looks.metric, looks.best["macro_f1"]) == ("macro_f1", best)


def test_a_weighted_class_is_answered_more_often(files, tmp_path):
    """Weights reach the cross-entropy of the student on labels alone."""
    answers = []
    for name, weights in (("low", [1.9, 0.1]), ("high", [0.1, 1.9])):
        given = files | {"class_weights": weights}
        folder = tmp_path / name
        train(given, folder, {"epochs": 1}, labelled_only=True)
        said = saved(folder).predict(select_dataset(files))
        answers.append(said.logits.argmax(axis=1).mean())
    assert answers[0] < answers[1]


def test_a_run_that_was_killed_when_all_was_done_only_saves(
    files, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "_save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(files, tmp_path, NOISY)
    monkeypatch.undo()
    rest = Kill()
    train(files, tmp_path, NOISY, callbacks=[rest])
    assert rest.losses == []
    for one, other in zip(weights(whole[1]), weights(tmp_path), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.whole
def test_a_killed_process_leaves_a_run_that_can_go_on(tmp_path):
    files = write_files(tmp_path, pair=False)
    out = tmp_path / "out"
    script = (
        "import sys; sys.path[:0] = sys.argv[1:4]\n"
        "from pathlib import Path\n"
        "import test_training as t\n"
        "t.checkpoint._SECONDS_BETWEEN_SAVES = 0\n"
        "t.train(t.write_files(Path(sys.argv[4]), False),\n"
        "        Path(sys.argv[4]) / 'out', {'epochs': 100_000})\n"
    )
    here = Path(__file__).parent
    paths = [ROOT, ROOT / "tests", here]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *paths, tmp_path],
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
    result = train(files, tmp_path, max_updates=11, updates_per_look=4)
    assert [row["updates"] for row in result.history] == [4, 8, 11]
    assert result.update == 11


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
    shards = {"train_files": [tmp_path / "train-7.tfrecord"]}
    with pytest.raises(UserError, match="train-7.tfrecord: no such file"):
        train(files | shards, tmp_path)


def test_a_baseline_without_labels_is_refused(files, tmp_path):
    shards = {"train_files": files["train_files"][1:]}
    with pytest.raises(UserError, match="hold no labelled rows"):
        train(files | shards, tmp_path, labelled_only=True)


def bare_looks():
    return Looks(
        None,
        LossTerms(DistillationLoss()),
        None,
        metric="accuracy",
        updates=9,
        updates_per_epoch=1,
        rows=1,
        due=None,
        patience=None,
    )


@pytest.mark.parametrize("reach", [0.5, 7.0, 60.0, 1e9])
def test_the_running_mean_forgets_by_its_reach(reach):
    """The mean of all weights that were taken in, older ones fading."""
    values = np.random.default_rng(0).normal(size=200)
    weight = keras.Variable(np.zeros(1, "float32"))
    mean = RunningMean([weight], reach)
    mean.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=0)))
    mean.on_train_begin()
    for update, value in enumerate(values, 1):
        weight.assign([value])
        mean.on_train_batch_end(update)
    taken = values[24::25]
    expected = taken[0]
    for number, value in enumerate(taken[1:], 2):
        share = max(1 - np.exp(-25 / reach), 1 / number)
        expected += share * (value - expected)
    if reach == 1e9:
        assert expected == pytest.approx(taken.mean())
    np.testing.assert_allclose(mean.answers[0], [expected], rtol=1e-5)


def test_the_mean_answers_and_the_weights_go_on():
    weight, fixed = keras.Variable([2.0]), keras.Variable([5.0])
    fixed.trainable = False
    mean = RunningMean([weight, fixed], 10.0)
    weight.assign([4.0])
    said = mean.answering(lambda: (weight.numpy()[0], fixed.numpy()[0]))
    assert said == (2.0, 5.0)
    assert (weight.numpy()[0], fixed.numpy()[0]) == (4.0, 5.0)
    assert mean.answers[1] is fixed
    assert RunningMean([weight], 0).answers == [weight]


def test_looks_go_back_to_a_state_that_they_told():
    looks = bare_looks()
    before = looks.state()
    row = {"accuracy": 0.5, "cross_entropy": 0.1, "updates": 3}
    looks.restore({**before, "update": 3, "history": [row]})
    assert (looks.update, looks.best) == (3, row)
    looks.restore(before)
    assert (looks.update, looks.history) == (0, [])


def test_of_equal_evaluations_the_one_with_the_lower_loss_is_best():
    rows = [
        {"accuracy": 0.5, "cross_entropy": 0.1},
        {"accuracy": 0.8, "cross_entropy": 0.6},
        {"accuracy": 0.8, "cross_entropy": 0.4},
        {"accuracy": 0.8, "cross_entropy": 0.5},
    ]
    looks = bare_looks()
    looks.history = rows
    assert looks.best is rows[2]
    assert looks.since_best == 2


TAGS = {
    *("train/loss", "train/cross_entropy", "train/distillation_loss"),
    *("train/learning_rate", "train/epoch"),
    *("select/accuracy", "select/f1", "select/mcc", "select/agreement"),
    *("select/cross_entropy", "select/kl", "select/logit_mse"),
    *("speed/examples_per_s", "speed/seconds_per_epoch"),
}


def test_every_evaluation_is_a_point_of_every_curve(tmp_path):
    rows = []
    log = ScalarLog(tmp_path, rows, 0.5, rows=1000)
    for row in history(0.7):
        rows.append(row)
        log.on_train_batch_end(0)
    log.on_train_end()
    found = scalars(tmp_path)
    assert set(found) == TAGS
    for curve in found.values():
        assert [step for step, _ in curve] == [10, 20, 30]
    assert [v for _, v in found["select/accuracy"]] == pytest.approx(
        [0.75, 0.8, 0.85]
    )
    assert found["train/learning_rate"][0] == (10, 0.5)
    # 1,000 rows at 500 a second.
    assert found["speed/seconds_per_epoch"][0] == (10, 2.0)


def test_what_is_unknown_has_no_point(tmp_path):
    row = {**history(0.7)[0], "ce": None}
    ScalarLog(tmp_path, [row], 1.0, rows=10).on_train_end()
    assert set(scalars(tmp_path)) == TAGS - {"train/cross_entropy"}


def test_a_resumed_training_has_every_point_once(tmp_path):
    ScalarLog(tmp_path, history(0.7), 1.0, rows=10).on_train_end()
    # Killed: its checkpoint knows of the first evaluation alone.
    rows = history(0.7)[:1]
    log = ScalarLog(tmp_path, rows, 1.0, rows=10)
    rows += history(0.7)[1:]
    log.on_train_batch_end(0)
    log.on_train_end()
    assert [step for step, _ in scalars(tmp_path)["train/loss"]] == [10, 20, 30]


def test_a_training_made_again_leaves_nothing_of_the_old_one(tmp_path):
    ScalarLog(tmp_path, history(0.7), 1.0, rows=10).on_train_end()
    row = {**history(0.6)[0], "updates": 7}
    ScalarLog(tmp_path, [row], 1.0, rows=10).on_train_end()
    assert [step for step, _ in scalars(tmp_path)["train/loss"]] == [7]


def test_points_can_be_seen_while_the_training_runs(tmp_path):
    ScalarLog(tmp_path, history(0.7), 1.0, rows=10)
    assert "select/f1" in scalars(tmp_path)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ScalarLog(None, history(0.7), 1.0, rows=10).on_train_end()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, write_run(folder)


@pytest.mark.whole
def test_a_profile_of_some_updates_is_left(run):
    folder, config = run
    # The fixture's student has its words, the run's vocabulary has none.
    (folder / "vocabulary" / "vocab.txt").write_bytes(
        (folder / "student" / "vocab.txt").read_bytes()
    )
    before = sorted(p.name for p in (folder / "student").iterdir())
    place = profile_training(config, folder)
    assert place == folder / "logs" / "profile"
    (profile,) = place.glob("plugins/profile/*/*.xplane.pb")
    content = profile.read_bytes()
    assert b"Profiled batch" in content and b"MatMul" in content
    assert sorted(p.name for p in (folder / "student").iterdir()) == before


@pytest.mark.whole
def test_a_new_profile_replaces_the_old_one(run):
    folder, config = run
    for _ in range(2):
        profile_training(config, folder)
    assert len(list((folder / "logs").rglob("*.xplane.pb"))) == 1


def test_a_run_without_student_is_refused(tmp_path):
    config = write_run(tmp_path)
    (tmp_path / "student" / "text.json").unlink()
    with pytest.raises(UserError, match=r"cannot read .*student/text\.json"):
        profile_training(config, tmp_path)


@pytest.mark.parametrize("flags, profiles", [((), 0), (("--profile",), 1)])
def test_train_py_profiles_when_told_to(tmp_path, monkeypatch, flags, profiles):
    done = []
    monkeypatch.setattr(pipeline.Pipeline, "run", lambda *_, **__: None)
    monkeypatch.setattr(
        training, "profile_training", lambda _, run_dir: done.append(run_dir)
    )
    result = run_here(
        "train.py", "--stages", "data", "--output-dir", tmp_path, *flags
    )
    assert result.returncode == 0, result.stderr
    assert done == [tmp_path] * profiles
