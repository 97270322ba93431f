"""Ask a run's teacher and student about forty everyday sentences.

    python benchmarks/everyday.py saved_models/quick \
        --output results/quick/everyday.json

The sentences (`everyday.tsv`: praise, complaint, negation, irony, ratings)
were written before the recipes that are measured on them and are never
edited; no four words in a row of them are in the embedded corpus. What
counts is how often the student agrees with its teacher.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from measuring import ROOT, machine, parser, write

from keras_distill.cli import import_tensorflow
from keras_distill.config import config_from_dict, load_config
from keras_distill.display import aligned
from keras_distill.files import read_json
from keras_distill.metrics import softmax
from keras_distill.process import child_environment

SENTENCES = Path(__file__).with_suffix(".tsv")


def main() -> int:
    """Ask, print, write."""
    options = parser(__doc__)
    options.add_argument("run", type=Path)
    options.add_argument("--as-teacher", action="store_true")
    options = options.parse_args()
    rows = list(csv.DictReader(SENTENCES.open("r"), delimiter="\t"))
    texts = [row["text"] for row in rows]
    if options.as_teacher:
        print(json.dumps(asked_teacher(options.run, texts)))
        return 0
    labels = read_json(options.run / "data" / "manifest.json")["labels"]
    told = subprocess.run(
        [sys.executable, __file__, str(options.run), "--as-teacher"],
        env=child_environment(),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    teacher = softmax(np.array(json.loads(told.splitlines()[-1])))
    import_tensorflow()
    students = {
        folder.parent: softmax(np.array(asked_student(folder.parent, texts)))
        for folder in sorted((options.run / "student").rglob("model.keras"))
    }
    result = machine("tensorflow", "keras", "transformers") | {
        "teacher": summary(teacher, teacher, rows, labels),
        "students": [
            summary(student, teacher, rows, labels)
            for student in students.values()
        ],
        "rows": [
            row
            | {
                "teacher": round(float(teacher[i, 1]), 3),
                "students": [
                    round(float(student[i, 1]), 3)
                    for student in students.values()
                ],
            }
            for i, row in enumerate(rows)
        ],
    }
    heads = ["sentence", "label", "teacher", "students"]
    print(aligned([heads, *map(shown, result["rows"])]))
    for name in ("teacher", "students"):
        print(name, json.dumps(result[name]))
    write(result, options.output)
    return 0


def shown(row: dict) -> list[str]:
    """Return a line of the table: the chances of positive."""
    students = " ".join(f"{chance:.2f}" for chance in row["students"])
    return [row["text"], row["label"], f"{row['teacher']:.2f}", students]


def summary(
    said: np.ndarray, teacher: np.ndarray, rows: list[dict], labels: list[str]
) -> dict[str, float]:
    """Return accuracy and agreement with the teacher, in percent."""
    gold = [labels.index(row["label"]) for row in rows]
    right = said.argmax(axis=1) == gold
    alike = said.argmax(axis=1) == teacher.argmax(axis=1)
    return {
        "accuracy": round(100 * float(right.mean()), 1),
        "agreement": round(100 * float(alike.mean()), 1),
    }


def asked_student(folder: Path, texts: list[str]) -> list[list[float]]:
    """Return a student's logits."""
    from keras_distill.student.predictor import StudentPredictor

    return StudentPredictor.load(folder).logits(texts).tolist()


def asked_teacher(run: Path, texts: list[str]) -> list[list[float]]:
    """Return the teacher's logits; to be called in a process of its own."""
    from keras_distill.teacher.runtime import prepare_environment

    config = config_from_dict(load_config(run / "config.yaml")).teacher
    prepare_environment(config.precision)
    from keras_distill.data.examples import Example
    from keras_distill.teacher.checkpoint import load_fine_tuned
    from keras_distill.teacher.predict import Predictor

    labels = read_json(run / "data" / "manifest.json")["labels"]
    teacher = load_fine_tuned(str(run / "teacher"), labels)
    predictor = Predictor(teacher, config.max_length, config.tokens_per_batch)
    logits, _ = predictor.logits([Example(text, id=text) for text in texts])
    return logits.tolist()


if __name__ == "__main__":
    sys.exit(main())
