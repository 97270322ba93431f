from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_distill.student import checkpoint as module
from keras_distill.student.callbacks import RunningMean
from keras_distill.student.checkpoint import Checkpoint


def variables(value):
    weights = [keras.Variable(np.full((2, 3), value, "float32"))]
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(weights)
    return weights, optimizer


def checkpoint(folder, weights, optimizer, update=0, best=None):
    progress = SimpleNamespace(
        update=update,
        best={"updates": best} if best else None,
        looked=True,
        over=False,
    )

    def restore(state):
        progress.update = state["update"]
        best = state["best"]
        progress.best = {"updates": best} if best else None

    def state():
        best = progress.best and progress.best["updates"]
        return {"update": progress.update, "best": best}

    progress.restore, progress.state = restore, state
    mean = RunningMean(weights, 0)
    result = Checkpoint(folder, weights, optimizer, mean, progress)
    return result, progress


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of update 7 with weights 2, best at update 4 with 1."""
    weights, optimizer = variables(1.0)
    one, progress = checkpoint(tmp_path, weights, optimizer, 4, 4)
    one.on_train_batch_end(0)
    weights[0].assign(np.full((2, 3), 2.0))
    optimizer.iterations.assign(7)
    progress.update = 7
    one.save()
    return tmp_path


def restored(folder, weights=None):
    fresh, optimizer = variables(0.0)
    weights = weights or fresh
    one, progress = checkpoint(folder, weights, optimizer)
    one.restore()
    return weights[0].numpy(), optimizer, one, progress


def test_variables_and_progress_come_back(saved):
    weights, optimizer, _, progress = restored(saved)
    assert (progress.update, progress.best) == (7, {"updates": 4})
    assert int(optimizer.iterations) == 7
    np.testing.assert_array_equal(weights, 2.0)


def test_the_best_weights_come_back(saved):
    weights, optimizer = variables(0.0)
    one, _ = checkpoint(saved, weights, optimizer, 7, 4)
    one.load_best()
    np.testing.assert_array_equal(weights[0].numpy(), 1.0)


@pytest.mark.parametrize("name", ["state.npz", "best-4.npz"])
def test_a_damaged_checkpoint_is_left_aside(saved, caplog, name):
    path = saved / name
    path.write_bytes(path.read_bytes()[:-100])
    weights, _, _, progress = restored(saved)
    assert progress.update == 0
    assert "starts anew" in caplog.text
    np.testing.assert_array_equal(weights, 0.0)


def test_a_checkpoint_of_another_model_is_left_aside(saved):
    other = [keras.Variable(np.zeros((2, 4), "float32"))]
    assert restored(saved, other)[3].update == 0


def test_a_kill_between_the_two_writes_keeps_the_old_pair(saved, monkeypatch):
    weights, optimizer = variables(9.0)
    one, progress = checkpoint(saved, weights, optimizer, 8, 8)
    one.on_train_batch_end(0)
    write = module._write

    def killed(path, *args, **more):
        if path.name == "state.npz":
            raise KeyboardInterrupt
        write(path, *args, **more)

    monkeypatch.setattr(module, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        one.save()
    assert (saved / "best-8.npz").exists()
    weights, _, one, progress = restored(saved)
    assert progress.best == {"updates": 4}
    np.testing.assert_array_equal(weights, 2.0)


def test_only_the_best_weights_in_use_are_kept(saved):
    weights, optimizer = variables(9.0)
    one, _ = checkpoint(saved, weights, optimizer, 9, 9)
    one.on_train_batch_end(0)
    one.save()
    assert [path.name for path in saved.glob("best-*")] == ["best-9.npz"]


@pytest.mark.parametrize("due", ["a minute", "a late look", "the end"])
def test_it_is_saved_when_it_is_time_to(tmp_path, monkeypatch, due):
    one, progress = checkpoint(tmp_path, *variables(0.0), 1, 1)
    one.on_train_batch_end(0)
    assert not list(tmp_path.iterdir())
    progress.looked = due != "a minute"
    progress.over = due == "the end"
    if due == "a minute":
        monkeypatch.setattr(module, "_SECONDS_BETWEEN_SAVES", -1)
    if due == "a late look":
        monkeypatch.setattr(module, "_SECONDS_BETWEEN_LOOKS", -1)
    one.on_train_batch_end(1)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best-1.npz", "state.npz"]


def test_the_best_weights_need_no_file(tmp_path):
    weights, optimizer = variables(1.0)
    one, progress = checkpoint(tmp_path, weights, optimizer, 1, 1)
    one.on_train_batch_end(0)
    # In place, as an optimiser does it.
    weights[0].assign_add(np.full((2, 3), 1.0))
    progress.update = 2
    one.on_train_batch_end(1)
    one.load_best()
    np.testing.assert_array_equal(weights[0].numpy(), 1.0)
    assert not list(tmp_path.iterdir())


def test_there_is_nothing_to_restore_at_first(tmp_path):
    assert restored(tmp_path)[3].update == 0


def test_nothing_stays_behind(saved):
    restored(saved)[2].remove()
    assert not saved.exists()
