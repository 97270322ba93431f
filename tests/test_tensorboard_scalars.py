import time

import pytest
import tensorflow as tf
from tensorboard_events import events, scalars
from tensorboard_runs import history

from keras_distill.events import forget_runs, resumed_writer, rewritten
from keras_distill.student.scalars import ScalarLog

TAGS = {
    *("train/loss", "train/cross_entropy", "train/distillation_loss"),
    *("train/learning_rate", "train/epoch"),
    *("select/accuracy", "select/f1", "select/mcc", "select/agreement"),
    *("select/cross_entropy", "select/kl", "select/logit_mse"),
    *("speed/examples_per_s", "speed/seconds_per_epoch"),
}


def write_steps(folder, steps, value=1.0):
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for step in steps:
            tf.summary.scalar("loss", value, step)
    writer.close()


def test_every_evaluation_is_a_point_of_every_curve(tmp_path):
    with ScalarLog(tmp_path, [], 0.5, rows=1000) as log:
        for row in history(0.7):
            log.write(row)
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
    with ScalarLog(tmp_path, [row], 1.0, rows=10):
        pass
    assert set(scalars(tmp_path)) == TAGS - {"train/cross_entropy"}


def test_a_resumed_training_has_every_point_once(tmp_path):
    rows = history(0.7)
    with ScalarLog(tmp_path, [], 1.0, rows=10) as log:
        for row in rows:
            log.write(row)
    # Killed: its checkpoint knows of the first evaluation alone.
    with ScalarLog(tmp_path, rows[:1], 1.0, rows=10) as log:
        for row in rows[1:]:
            log.write(row)
    assert [step for step, _ in scalars(tmp_path)["train/loss"]] == [10, 20, 30]


def test_a_training_made_again_leaves_nothing_of_the_old_one(tmp_path):
    with ScalarLog(tmp_path, history(0.7), 1.0, rows=10):
        pass
    with ScalarLog(tmp_path, [], 1.0, rows=10) as log:
        log.write({**history(0.6)[0], "updates": 7})
    assert [step for step, _ in scalars(tmp_path)["train/loss"]] == [7]


def test_points_can_be_seen_while_the_training_runs(tmp_path):
    with ScalarLog(tmp_path, [], 1.0, rows=10) as log:
        log.write(history(0.7)[0])
        assert "select/f1" in scalars(tmp_path)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ScalarLog(None, [], 1.0, rows=10) as log:
        log.write(history(0.7)[0])
    assert list(tmp_path.iterdir()) == []


def test_later_events_than_the_checkpoint_are_not_shown(tmp_path):
    with resumed_writer(tmp_path, 0).as_default():
        for step in range(1, 10):
            tf.summary.scalar("loss", 1.0, step)
    # The files are read in the order of the seconds in their names.
    time.sleep(1.1)
    with resumed_writer(tmp_path, 6).as_default():
        tf.summary.scalar("loss", 2.0, 8)
    assert scalars(tmp_path)["loss"] == [
        *((step, 1.0) for step in range(1, 7)),
        (8, 2.0),
    ]


def test_a_fresh_start_drops_all_events(tmp_path):
    write_steps(tmp_path, [0, 1])
    (tmp_path / "other.txt").touch()
    resumed_writer(tmp_path, 0)
    assert scalars(tmp_path) == {}
    assert (tmp_path / "other.txt").exists()


def test_events_cut_short_by_a_kill_are_shown_up_to_there(tmp_path):
    resumed_writer(tmp_path, 0)
    write_steps(tmp_path, range(1, 10))
    path = max(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-10])
    time.sleep(1.1)
    resumed_writer(tmp_path, 100)
    assert [s for s, _ in scalars(tmp_path)["loss"]] == list(range(1, 9))


def test_a_rewritten_file_replaces_only_its_own(tmp_path):
    write_steps(tmp_path, [1])
    for value in (1.0, 2.0):
        with rewritten(tmp_path, "mine"):
            tf.summary.scalar("mine", value)
    found = scalars(tmp_path)
    assert found == {"loss": [(1, 1.0)], "mine": [(0, 2.0)]}


def test_a_writer_that_fails_leaves_the_last_file(tmp_path):
    with rewritten(tmp_path, "mine"):
        tf.summary.scalar("mine", 1.0)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        with rewritten(tmp_path, "mine"):
            tf.summary.scalar("mine", 2.0)
            raise ZeroDivisionError
    assert sorted(tmp_path.iterdir()) == before
    assert len(list(events(tmp_path))) == 2


def test_runs_of_settings_that_are_gone_are_forgotten(tmp_path):
    for name in ("lr-1e-05", "lr-2e-05", "mine"):
        write_steps(tmp_path / name, [1])
    forget_runs(tmp_path, "lr-*", {"lr-2e-05"})
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["lr-2e-05", "mine"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    write_steps(tmp_path / ".mine.1.tmp", [1])
    with rewritten(tmp_path, "mine"):
        tf.summary.scalar("mine", 1.0)
    assert [path.suffix for path in tmp_path.iterdir()] == [".mine"]
