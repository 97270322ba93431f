"""Runs that have all that TensorBoard shows."""

from report_runs import WORDS, write_run

from keras_distill.augmentation.generate import augment_file
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.files import write_json
from keras_distill.report.tensorboard import Shown
from keras_distill.student.callbacks import ScalarLog
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import read_rows

CARD = "# A model card\n\nIt has a paragraph.\n"
TRIALS = [(150, 200), (150, 400), (300, 200), (300, 400)]


def write_whole_run(folder, **options):
    """Write a run with everything that TensorBoard's pages are made of."""
    config = write_run(folder, **options)
    pair = options.get("pair", False)
    other = "a bore" if pair else None
    write_examples(
        folder / "data" / "train.jsonl.gz",
        [
            Example(f"the film was {word} and it costs $5$", other, 1, f"t{i}")
            for i, word in enumerate(WORDS[5:12])
        ],
    )
    settings = AugmentationConfig(n_iter=4, pos_tagger="none", workers=1)
    augment_file(
        folder / "data" / "train.jsonl.gz",
        folder / "augmented",
        settings,
        seed=1,
        pair=pair,
    )
    write_json(
        folder / "export" / "calibration.json", {"temperature": 1.5, "rows": 12}
    )
    return config


def shown(run, split="dev"):
    """The main student of a run, and what it says to a split."""
    place = run / "transfer_set"
    manifest = Manifest.load(place)
    rows = read_rows(
        manifest.files(place, split), manifest.pair, len(manifest.labels)
    )
    student = StudentPredictor.load(run / "student")
    logits = student.logits(*rows.columns)
    return Shown(student, manifest, split, rows, logits)


def history(accuracy):
    """Three evaluations, as a training has them."""
    return [
        {
            "updates": 10 * place,
            "epoch": float(place),
            "loss": 1.0 / place,
            "ce": 0.7 / place,
            "distillation": 1.0 / place,
            "accuracy": accuracy + 0.05 * place,
            "f1": accuracy + 0.04 * place,
            "mcc": 0.1 * place,
            "cross_entropy": 0.6,
            "agreement": 0.7,
            "kl": 0.1,
            "logit_mse": 0.5,
            "seconds": 2.0 * place,
            "examples_per_s": 500.0,
        }
        for place in (1, 2, 3)
    ]


def write_curves(logs):
    """Write the curves of a distilled student and of a baseline."""
    for name, accuracy in (
        ("student-distilled", 0.7),
        ("student-labels-alone", 0.6),
    ):
        ScalarLog(logs / name, history(accuracy), 1.0, rows=1000).on_train_end()


def trials():
    """The paper's grid and a trial that failed, as tune.py leaves them."""
    done = [
        {
            "id": f"{place:04}",
            "status": "completed",
            "hyperparameters": {
                "student.lstm_units": units,
                "student.hidden_units": hidden,
                "student.learning_rate": None,
            },
            "metrics": {
                "accuracy": 0.8 + 0.01 * place,
                "accuracy_std": None,
                "f1": 0.79 + 0.01 * place,
                "agreement": 0.85 + 0.005 * place,
                "cross_entropy": 0.5 - 0.01 * place,
                "parameters": 3_000_000 + 500_000 * place,
                "int8_bytes": 3_200_000 + 500_000 * place,
                "latency_ms": 0.2 + 0.05 * place,
            },
            "seconds": 60.0 + place,
            "seeds": [42],
        }
        for place, (units, hidden) in enumerate(TRIALS)
    ]
    failed = {
        "id": "0004",
        "status": "failed",
        "hyperparameters": {"student.lstm_units": 4, "student.hidden_units": 2},
        "metrics": {},
        "seconds": 1.0,
        "seeds": [42],
    }
    return [*done, failed]


def write_trials(run, content=None):
    content = trials() if content is None else content
    write_json(run / "tuning" / "trials.json", content)
