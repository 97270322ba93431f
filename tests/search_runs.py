"""Runs that a search can be made on, without a teacher's training.

And trials without a student's: what a training leaves, in no time.
"""

import csv
import functools
import json
import shutil
import tempfile
from pathlib import Path

import report_runs
import tensorboard_runs
import tiny_runs

from keras_distill.config import config_from_dict
from keras_distill.files import read_json, write_json, write_text
from keras_distill.run import seed_folders
from keras_distill.student import text as vocabulary
from keras_distill.student.predictor import StudentPredictor

STUDENT = {
    "lstm_units": 3,
    "hidden_units": 4,
    "embedding_dim": 5,
    "batch_size": 8,
    "epochs": 2,
}
SPACE = """
student.lstm_units: [2, 3]
student.hidden_units: [2, 4]
"""


def make_run(folder, **student):
    """Write what a search reads: transfer set, vocabulary, settings."""
    shutil.copytree(_template(), folder)
    train_file = folder / "train.csv"
    train_file.write_text("text,label\n")
    config = {
        "task": "custom",
        "seed": 7,
        "data": {"train_file": str(train_file)},
        "student": STUDENT | student,
    }
    config_from_dict(config).save(folder / "config.yaml")
    return folder


@functools.cache
def _template():
    """Make the part that all runs have, once: it is never changed."""
    kept = tempfile.TemporaryDirectory(prefix="search-run-")
    _template.kept = kept
    folder = Path(kept.name) / "run"
    report_runs.write_run(folder, baseline=False)
    shutil.rmtree(folder / "student")
    vocabulary.save_vocabulary(
        folder / "vocabulary" / "vocab.txt", report_runs.WORDS
    )
    return folder


def write_space(folder, text=SPACE):
    path = folder / "space.yaml"
    path.write_text(text)
    return path


def tune_here(*arguments):
    """Run tune.py in this process."""
    return tiny_runs.run_here("tune.py", *arguments)


def found_by(*arguments):
    """Run a search that has to end well."""
    result = tune_here(*arguments)
    assert result.returncode == 0, result.stderr
    return result


def trials(run):
    return json.loads((run / "tuning" / "trials.json").read_text())


def without_times(records):
    """Return trials without what differs from one run to the next."""
    for one in records:
        one.pop("seconds")
        one["metrics"].pop("latency_ms")
    return records


def train(work, config, trial, place):
    """Leave what `TrialWork._train` leaves; larger students are better."""
    from keras_distill.student.training import write_curves

    units = config.student.lstm_units
    for seed, folder in seed_folders(config, place).items():
        if (folder / "training.json").is_file():
            continue
        history = tensorboard_runs.history(min(0.8, 0.5 + 0.01 * units))
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "history.csv", "w", newline="") as stream:
            table = csv.DictWriter(stream, list(history[0]))
            table.writeheader()
            table.writerows(history)
        write_text(folder / "model.keras", f"{units}\n")
        best = history[-1] | {"seed": seed}
        write_json(folder / "training.json", {"rows": 24, "best": best})
    write_curves(config, work.run_dir / "logs" / "tuning" / trial, place)


def cost(student_dir, timed):
    """Return what a conversion in a process of its own would tell."""
    best = read_json(student_dir / "training.json")["best"]
    size = round(1000 * best["accuracy"])
    return {"parameters": size, "int8_bytes": 9 * size, "latency_ms": 0.1}


def quick_cost(student_dir, timed):
    """As `cost`, of a student that was trained."""
    size = StudentPredictor.load(student_dir).model.count_params()
    return {"parameters": size, "int8_bytes": 9 * size, "latency_ms": 0.1}
