"""Updates, the grid, and going on after a kill; see test_worlds.py."""

import contextlib
import resource
import time

import numpy as np
import pytest
import teacher_tiny as tiny
import teachers_world  # noqa: F401 - before TensorFlow
import tensorflow as tf
import tf_keras
from tensorboard_events import scalars

from keras_distill.config import TeacherConfig
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json
from keras_distill.metrics import classification_metrics
from keras_distill.teacher import finetune
from keras_distill.teacher.__main__ import main
from keras_distill.teacher.checkpoint import (
    load_fine_tuned,
    load_teacher,
    save_teacher,
)
from keras_distill.teacher.finetune import (
    Job,
    Trainer,
    fine_tune,
    learning_rate,
)
from keras_distill.teacher.predict import Predictor, encode

# Before anything is computed in this process.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.mark.parametrize(
    "steps, warmup, expected",
    [
        # 10 updates, peak 4, of which int(0.3 * 10) = 3 warm up.
        (10, 0.3, [1, 2, 3, *(4 * left / 7 for left in range(7, 0, -1))]),
        (4, 0.0, [4, 3, 2, 1]),
        (3, 1.0, [1, 2, 3]),
    ],
)
def test_the_learning_rate_warms_up_and_decays_linearly(
    steps, warmup, expected
):
    rates = [learning_rate(step, steps, 4.0, warmup) for step in range(steps)]
    assert rates == pytest.approx(expected)


def labels_of(examples):
    return np.asarray([e.label for e in examples], np.int32)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Return a function that makes two updates.

    It gives the losses and by how much the weights have changed.
    """
    rows = tiny.examples(7)
    gold = labels_of(rows)
    tokenizer = tiny.tokenizer(tmp_path_factory.mktemp("tokens"))
    batch = encode(tokenizer, rows, 32).batch(range(7))

    def train(strategy=None, class_weights=None, labels=gold, **settings):
        strategy = strategy or tf.distribute.get_strategy()
        settings = TeacherConfig(**{"clip_norm": 0.01, **settings})
        with strategy.scope():
            model = tiny.bert(seed=1, scale=0.1, layers=1)
        first = [w.numpy() for w in model.trainable_variables]
        trainer = Trainer(model, settings, strategy, class_weights)
        adam = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
        # Adam divides by a gradient's size; where the true gradient is 0
        # that would blow rounding up to a full step.
        adam.epsilon = 1e-3
        losses = [trainer.step(batch, labels, 1e-3) for _ in range(2)]
        change = [
            (w.numpy() - before).ravel()
            for w, before in zip(model.trainable_variables, first, strict=True)
        ]
        return np.array(losses), np.concatenate(change)

    return train


@pytest.fixture(scope="module")
def plain(train):
    return train()


def differences(plain, other):
    """The largest of two losses, and of the change relative to its size."""
    (losses, change), (other_losses, other_change) = plain, other
    return (
        np.abs(other_losses - losses).max(),
        np.linalg.norm(other_change - change) / np.linalg.norm(change),
    )


def test_training_lowers_the_loss(plain):
    (first, second), _ = plain
    assert second < first


def test_rows_weigh_as_much_as_their_class(train, plain):
    # All alike is as none; a weight of 2 is a loss of twice the size.
    loss, change = differences(plain, train(class_weights=[1.0, 1.0]))
    assert (loss, change) == (0, 0)
    double, _ = train(class_weights=[2.0, 2.0])
    assert double[0] == pytest.approx(2 * plain[0][0], rel=1e-6)
    (one, _), (other, _) = (
        train(class_weights=weights) for weights in ([2.0, 1e-9], [1e-9, 2.0])
    )
    assert one[0] + other[0] == pytest.approx(double[0], rel=1e-6)
    # Also where a row fills up.
    loss, change = differences(
        train(class_weights=[3.0, 0.5]),
        train(class_weights=[3.0, 0.5], accumulation=4),
    )
    assert loss < 1e-5
    assert change < 1e-3


def test_probabilities_teach_as_the_label_that_they_are_sure_of(train, plain):
    gold = labels_of(tiny.examples(7))
    sure = np.eye(2, dtype=np.float32)[gold]
    loss, change = differences(plain, train(labels=sure))
    assert loss < 1e-6
    assert change < 1e-4
    # In between the loss lies in between too: it is linear in the target.
    mixed, _ = train(labels=0.75 * sure + 0.25 * (1 - sure))
    other, _ = train(labels=1 - sure)
    expected = 0.75 * plain[0][0] + 0.25 * other[0]
    assert mixed[0] == pytest.approx(expected, rel=1e-5)
    # And so with weights, also where rows fill up.
    weights = {"class_weights": [3.0, 0.5]}
    for more in ({}, {"accumulation": 4}):
        loss, _ = differences(
            train(**weights), train(labels=sure, **weights, **more)
        )
        assert loss < 1e-5


def test_accumulation_gives_the_update_of_the_whole_batch(train, plain):
    # 7 rows in 4 parts of 2: the row that fills up must weigh nothing.
    loss, change = differences(plain, train(accumulation=4))
    assert loss < 1e-5 and change < 1e-4


def test_two_devices_give_the_update_of_one(train, plain):
    # 7 rows on 2 devices in 2 parts each.
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    loss, change = differences(plain, train(mirrored, accumulation=2))
    assert loss < 1e-5 and change < 1e-4


def test_scaled_float16_gives_about_the_update_of_float32(train, plain):
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        other = train()
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    loss, change = differences(plain, other)
    assert loss < 1e-2 and change < 0.05


def test_clipping_changes_the_update(train, plain):
    _, change = differences(plain, train(clip_norm=1e6))
    assert change > 0.05


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    return str(tiny.checkpoint(folder, scale=0.1, layers=1))


@pytest.fixture(scope="module")
def grid(pretrained, tmp_path_factory):
    """A finished grid: the arguments that made it, and what it returned."""
    folder = tmp_path_factory.mktemp("grid")
    settings = TeacherConfig(
        names=[pretrained],
        # Right, too small, and one that diverges.
        learning_rates=[3e-2, 1e-9, 1e30],
        epochs=3,
        batch_size=16,
    )
    arguments = {
        "settings": settings,
        "labels": tiny.LABELS,
        "train": tiny.examples(128, longest=5),
        "targets": labels_of(tiny.examples(128, longest=5)),
        "select": tiny.examples(40, seed=1, longest=5),
        "metric": "f1",
        "output_dir": folder / "work",
        "log_dir": folder / "logs",
        "seed": 0,
        "precision": "float32",
    }
    return arguments, fine_tune(Job(**arguments))


def test_every_rate_and_epoch_has_its_row(grid):
    found = [(row["learning_rate"], row["epoch"]) for row in grid[1]["rows"]]
    trained = [(rate, epoch) for rate in (3e-2, 1e-9) for epoch in (1, 2, 3)]
    assert found == [*trained, (1e30, 1)]


def test_a_rate_that_diverges_is_given_up(grid):
    row = grid[1]["rows"][-1]
    assert row["diverged"]
    assert row["loss"] is None


def test_the_grid_keeps_the_teacher_of_the_best_rate_and_epoch(grid):
    arguments, result = grid
    best = result["best"]
    rows = [row for row in result["rows"] if not row["diverged"]]
    assert best == max(rows, key=lambda row: row["f1"])
    assert best["learning_rate"] == 3e-2
    assert best["f1"] > 0.8
    select, work = arguments["select"], arguments["output_dir"]
    kept = load_fine_tuned(str(work / "best-0"), tiny.LABELS)
    logits, _ = Predictor(kept, 32, 256).logits(select)
    scores = classification_metrics(logits, [e.label for e in select])
    for name, score in scores.items():
        assert score == pytest.approx(best[name], abs=1e-5)
    # Nothing to resume from is left.
    assert sorted(p.name for p in work.iterdir()) == ["best-0", "grid.json"]


def test_a_finished_grid_is_not_trained_again(grid):
    arguments, result = grid
    started = time.perf_counter()
    assert fine_tune(Job(**arguments)) == result
    assert time.perf_counter() - started < 0.5


def test_what_an_older_version_kept_is_gone_on_with(grid):
    arguments, result = grid
    work = arguments["output_dir"]
    (work / "best-0").rename(work / "best")
    assert fine_tune(Job(**arguments)) == result
    assert sorted(p.name for p in work.iterdir()) == ["best-0", "grid.json"]


def test_each_rate_has_its_own_tensorboard_run(grid):
    names = sorted(path.name for path in grid[0]["log_dir"].iterdir())
    assert names == ["lr-0.03", "lr-1e+30", "lr-1e-09"]


def test_a_teacher_that_diverges_at_every_rate_is_an_error(grid, tmp_path):
    arguments, result = grid
    rows = [result["rows"][-1] | {"index": 0}]
    write_json(tmp_path / "grid.json", {"rows": rows, "best": None})
    settings = TeacherConfig(learning_rates=[1e30])
    with pytest.raises(UserError) as caught:
        fine_tune(
            Job(**arguments | {"settings": settings, "output_dir": tmp_path})
        )
    assert str(caught.value) == (
        "the teacher diverged at every learning rate of [1e+30]: try lower "
        "ones with --teacher-lr"
    )


@contextlib.contextmanager
def small_files():
    """A limit on file sizes fails a write as a full disk does."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_full_disk_is_one_line_and_leaves_no_half_teacher(
    pretrained, tmp_path
):
    settings = TeacherConfig(names=[pretrained])
    teacher = load_teacher(pretrained, tiny.LABELS)
    job = Job(
        *(settings, tiny.LABELS, tiny.examples(2)),
        *(labels_of(tiny.examples(2)), [], "accuracy"),
        *(tmp_path, tmp_path, 0, "float32"),
    )
    run = finetune._Run(job, 0, {"rows": [], "best": None})
    for write in (lambda: save_teacher(teacher, tmp_path / "best"), run._save):
        with pytest.raises(UserError, match="^cannot write ") as caught:
            with small_files():
                write()
        assert "File too large" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*best*")) == []


@pytest.fixture(scope="module")
def resumed(pretrained, tmp_path_factory):
    """A run's folder with the teacher of a resumed training and `reference`.

    The first session ended after epoch 1, while it was measured.
    """
    folder = tmp_path_factory.mktemp("resumed")
    tiny.run_folder(folder)
    tiny.settings(folder, names=[pretrained])
    with pytest.MonkeyPatch.context() as patch:
        # A checkpoint at every step.
        patch.setattr(finetune, "_SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        patch.setattr(Predictor, "logits", interrupt)
        assert main(tiny.finetune_arguments(folder, "teacher")) == 130
    left = [path.name for path in (folder / "teacher" / "work").iterdir()]
    assert left == ["resume"]
    # As if a killed process had got further than its last checkpoint.
    (logs,) = (folder / "logs").iterdir()
    with tf.summary.create_file_writer(str(logs)).as_default():
        for step in (2, 9):
            tf.summary.scalar("teacher/loss", 1.0, step)
    # TensorBoard orders a folder's files by the second of their beginning.
    time.sleep(1.1)
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune.logger, "info", lambda *line: said.append(line))
        assert main(tiny.finetune_arguments(folder, "teacher")) == 0
    # 6 steps an epoch; the last one waits for its measurement.
    assert said[0] == ("resumed at step %d", 5)
    curves = {
        tag.removeprefix("teacher/"): sorted(step for step, _ in curve)
        for tag, curve in scalars(logs).items()
    }
    assert main(tiny.finetune_arguments(folder, "reference")) == 0
    return folder, curves


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_resumed_training_ends_as_an_uninterrupted_one(resumed):
    places = [resumed[0] / name for name in ("teacher", "reference")]
    teachers = [load_fine_tuned(str(place), tiny.LABELS) for place in places]
    for ours, theirs in zip(*map(tiny.weights, teachers), strict=True):
        assert np.abs(ours - theirs).max() < 1e-4
    rows, reference = (read_json(p / "grid.json")["rows"] for p in places)
    assert [row["epoch"] for row in rows] == [1, 2]
    for row, other in zip(rows, reference, strict=True):
        expected = pytest.approx(other["cross_entropy"], abs=1e-4)
        assert row["cross_entropy"] == expected


def test_a_resumed_training_has_every_point_of_its_curves_once(resumed):
    # The loss comes with every tenth update; the run went on after 5 of 12.
    epochs = ("accuracy", "f1", "macro_f1", "mcc", "cross_entropy")
    speeds = ("examples_per_s", "seconds_per_epoch")
    assert resumed[1] == {
        "loss": [1, 2, 11],
        "learning_rate": [1, 11],
        **dict.fromkeys((*epochs, *speeds), [6, 12]),
    }


def test_a_finished_teacher_leaves_no_work_behind(resumed):
    names = {path.name for path in (resumed[0] / "teacher").iterdir()}
    assert "work" not in names
    assert {"grid.json", "teacher.json", "config.json"} < names


def test_no_traceback_leaves_the_teachers_process(
    resumed, tmp_path, monkeypatch, capfd
):
    tiny.run_folder(tmp_path)
    tiny.settings(tmp_path, names=[str(resumed[0] / "reference")])

    def fail(*_):
        raise KeyError("classifier/kernel:0\nnot found")

    monkeypatch.setattr(finetune, "load_teacher", fail)
    assert main(tiny.finetune_arguments(tmp_path)) == 2
    log = tmp_path / "logs" / "teacher-error.log"
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    line = errors.splitlines()[-1]
    assert line.startswith("error: KeyError: ") and str(log) in line
    assert "Traceback" in log.read_text()
    assert "load_teacher" in log.read_text()


def test_a_teacher_is_checked_without_making_anything(
    pretrained, tmp_path, monkeypatch, capfd
):
    tiny.run_folder(tmp_path)
    tiny.settings(tmp_path, names=[pretrained])
    before = sorted(tmp_path.rglob("*"))
    arguments = [
        *("check", "--config", str(tmp_path / "config.yaml")),
        *("--data", str(tmp_path / "data")),
    ]
    assert main(arguments) == 0
    teacher = load_teacher(pretrained, tiny.LABELS)
    kernel = teacher.model.classifier.kernel
    kernel.assign(tf.fill(kernel.shape, np.inf))
    monkeypatch.setattr(finetune, "load_teacher", lambda *_: teacher)
    assert main(arguments) == 2
    assert "expected finite numbers" in capfd.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_fine_tuned_checkpoint_is_measured_and_taken(resumed):
    folder, _ = resumed
    tiny.settings(folder, checkpoints=[str(folder / "reference")])
    assert main(tiny.finetune_arguments(folder, "given")) == 0
    given, reference = (
        read_json(folder / name / "grid.json")
        for name in ("given", "reference")
    )
    assert given["rows"] == []
    assert given["best"]["cross_entropy"] == pytest.approx(
        reference["best"]["cross_entropy"], abs=1e-5
    )
    names, expected = (
        sorted(path.name for path in (folder / name).iterdir())
        for name in ("given", "reference")
    )
    assert names == expected
