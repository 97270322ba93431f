import keras
import numpy as np
import pytest

from keras_distill.student.checkpoint import Checkpoint


def variables(value):
    weights = [keras.Variable(np.full((2, 3), value, "float32"))]
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(weights)
    return weights, optimizer


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of update 7 with weights 2, best at update 4 with 1."""
    weights, optimizer = variables(1.0)
    checkpoint = Checkpoint(tmp_path, weights, optimizer, "mine")
    checkpoint.save_best(4)
    weights[0].assign(np.full((2, 3), 2.0))
    optimizer.iterations.assign(7)
    checkpoint.save({"update": 7, "best_update": 4})
    return tmp_path


def test_variables_and_progress_come_back(saved):
    weights, optimizer = variables(0.0)
    progress = Checkpoint(saved, weights, optimizer, "mine").restore()
    assert progress == {"update": 7, "best_update": 4}
    assert int(optimizer.iterations) == 7
    np.testing.assert_array_equal(weights[0].numpy(), 2.0)


def test_the_best_weights_come_back(saved):
    weights, optimizer = variables(0.0)
    Checkpoint(saved, weights, optimizer, "mine").load_best(4)
    np.testing.assert_array_equal(weights[0].numpy(), 1.0)


def test_a_checkpoint_with_another_fingerprint_is_left_aside(saved, caplog):
    weights, optimizer = variables(0.0)
    assert Checkpoint(saved, weights, optimizer, "other").restore() is None
    assert "other settings" in caplog.text
    np.testing.assert_array_equal(weights[0].numpy(), 0.0)


@pytest.mark.parametrize("name", ["state.npz", "best-4.npz"])
def test_a_damaged_checkpoint_is_left_aside(saved, caplog, name):
    path = saved / name
    path.write_bytes(path.read_bytes()[:-100])
    weights, optimizer = variables(0.0)
    assert Checkpoint(saved, weights, optimizer, "mine").restore() is None
    assert "starts anew" in caplog.text
    np.testing.assert_array_equal(weights[0].numpy(), 0.0)


def test_a_checkpoint_of_another_model_is_left_aside(saved):
    weights = [keras.Variable(np.zeros((2, 4), "float32"))]
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(weights)
    assert Checkpoint(saved, weights, optimizer, "mine").restore() is None


def test_a_kill_between_the_two_writes_keeps_the_old_pair(saved):
    weights, optimizer = variables(9.0)
    checkpoint = Checkpoint(saved, weights, optimizer, "mine")
    checkpoint.save_best(8)
    assert checkpoint.restore()["best_update"] == 4
    checkpoint.load_best(4)
    np.testing.assert_array_equal(weights[0].numpy(), 1.0)


def test_only_the_best_weights_in_use_are_kept(saved):
    weights, optimizer = variables(9.0)
    checkpoint = Checkpoint(saved, weights, optimizer, "mine")
    checkpoint.save_best(8)
    checkpoint.save({"update": 9, "best_update": 8})
    assert [path.name for path in saved.glob("best-*")] == ["best-8.npz"]


def test_there_is_nothing_to_restore_at_first(tmp_path):
    weights, optimizer = variables(0.0)
    assert Checkpoint(tmp_path, weights, optimizer, "").restore() is None


def test_nothing_stays_behind(saved):
    weights, optimizer = variables(0.0)
    Checkpoint(saved, weights, optimizer, "mine").remove()
    assert not saved.exists()
