import time

import pytest
import tensorflow as tf
from tensorboard_events import events, scalars

from keras_distill.events import forget_runs, resumed_writer, rewritten


def write_steps(folder, steps, value=1.0):
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for step in steps:
            tf.summary.scalar("loss", value, step)
    writer.close()


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
    # Their names count the writers: 9 comes after 10.
    path = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
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
