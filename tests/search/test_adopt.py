"""What is left where a trial's student becomes the run's, without training."""

import csv
import io
from pathlib import Path

import pytest
import tensorboard_runs
from search_runs import make_run
from tensorboard_events import scalars

from keras_distill.files import read_json, write_json, write_text
from keras_distill.pipeline import Pipeline
from keras_distill.search.adopt import adopt
from keras_distill.search.records import Records
from keras_distill.search.settings import Request, Settings, check_run
from keras_distill.student.callbacks import ScalarLog

EPOCHS = 4
SHAPE = {"student.hidden_units": 6}


@pytest.fixture
def run(tmp_path):
    """A run of 4 epochs, with the curves of the students it has."""
    folder = make_run(tmp_path / "run", epochs=EPOCHS)
    tensorboard_runs.write_curves(folder / "logs")
    write_json(folder / "results.json", {"tuning": None})
    return folder


@pytest.fixture(autouse=True)
def trained(monkeypatch):
    """Do no stage; return what the student's stage would have found."""
    found = []

    def run(pipeline, stages, redo, side_by_side):
        found.append(pipeline.place("student"))

    monkeypatch.setattr(Pipeline, "run", run)
    return found


def write_winner(run, values, history):
    """Write a trial and its student, as a search leaves them."""
    records = Records(run / "tuning")
    winner = {
        "id": "0002",
        "status": "completed",
        "hyperparameters": values,
        "metrics": {"accuracy": 0.8},
        "seconds": 3.0,
        "seeds": [7],
    }
    place = run / "made"
    text = io.StringIO()
    table = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_text(place / "history.csv", text.getvalue())
    write_json(place / "training.json", {"rows": 24})
    records.add(winner, place, lambda records: {"0002"})
    return records, winner


def adopted(run, values, tuner="grid", epochs=None, updates=None, **options):
    history = tensorboard_runs.history(0.1)
    # What a split without one of the classes gives.
    history[0]["mcc"] = None
    records, winner = write_winner(run, values, history)
    request = Request(tuner, "paper", "accuracy", 1, epochs, updates)
    settings = Settings(check_run(run), {}, request)
    return adopt(run, settings, records, winner, Pipeline, **options)


def test_the_curve_is_that_of_the_student_that_was_handed_over(run, trained):
    adopted(run, SHAPE)
    assert (trained[0] / "training.json").is_file()
    # The report was complete before.
    assert read_json(run / "results.json")["tuning"]["trials"] == 1
    curves = scalars(run / "logs" / "student-distilled")
    history = tensorboard_runs.history(0.1)
    for tag, column in (
        ("select/accuracy", "accuracy"),
        ("train/loss", "loss"),
        ("train/epoch", "epoch"),
    ):
        steps = [step for step, _ in curves[tag]]
        assert steps == [row["updates"] for row in history]
        values = [value for _, value in curves[tag]]
        assert values == pytest.approx([row[column] for row in history])
    assert len(curves["select/mcc"]) == 2
    assert curves["train/learning_rate"][0][1] == 1.0
    assert curves["speed/seconds_per_epoch"][0][1] == pytest.approx(24 / 500)


def test_without_a_baseline_nothing_of_it_stays(run):
    seed = run / "logs" / "student-labels-alone-seed-8"
    ScalarLog(seed, tensorboard_runs.history(0.5), 1.0, rows=24).on_train_end()
    (run / "baseline").mkdir()
    adopted(run, SHAPE, baseline=False)
    assert not (run / "baseline").exists()
    left = sorted(path.name for path in (run / "logs").iterdir())
    assert left == ["student-distilled"]


@pytest.mark.parametrize(
    ("tuner", "epochs", "values", "length"),
    [
        # A short trial's length is not taken over, Hyperband's neither.
        ("grid", 1, {}, EPOCHS),
        ("hyperband", 2, {"student.epochs": 2}, EPOCHS),
        ("hyperband", None, {"student.epochs": 2}, EPOCHS),
    ],
)
def test_a_short_trial_s_student_is_not_taken(
    run, trained, tuner, epochs, values, length
):
    config = adopted(run, SHAPE | values, tuner, epochs)
    assert config.student.epochs == length
    assert not trained[0].exists()


@pytest.mark.parametrize(
    ("tuner", "epochs", "values", "length"),
    [
        # The space names the length.
        ("grid", None, {"student.epochs": 2}, 2),
        ("grid", 1, {"student.epochs": 2}, 2),
        ("hyperband", None, {"student.epochs": EPOCHS}, EPOCHS),
    ],
)
def test_a_whole_student_is_taken(run, trained, tuner, epochs, values, length):
    config = adopted(run, SHAPE | values, tuner, epochs)
    assert config.student.epochs == length
    assert (trained[0] / "training.json").is_file()


def test_a_student_of_few_updates_is_not_taken(run, trained):
    adopted(run, SHAPE, updates=3)
    assert not Path(trained[0]).exists()
