import pytest
from tensorboard_events import scalars
from tensorboard_runs import history

from keras_distill.student.scalars import ScalarLog

TAGS = {
    *("train/loss", "train/cross_entropy", "train/distillation_loss"),
    *("train/learning_rate", "train/epoch"),
    *("select/accuracy", "select/f1", "select/mcc", "select/agreement"),
    *("select/cross_entropy", "select/kl", "select/logit_mse"),
    *("speed/examples_per_s", "speed/seconds_per_epoch"),
}


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
