"""Run folders and results made by hand, for the tests of the report."""

import copy

import keras
import numpy as np

from keras_distill.config import config_from_dict
from keras_distill.data.examples import Example
from keras_distill.files import write_json, write_text
from keras_distill.student.models import build_student
from keras_distill.student.text import SPECIALS
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    encode,
    shard_name,
    write_shard,
)

LABELS = ["negative", "positive"]
WORDS = [*SPECIALS, *"the film was good bad very not a bore".split()]
SIZE = {"lstm_units": 3, "hidden_units": 4, "embedding_dim": 5}
ROWS = {"select": 12, "dev": 30, "dev_mismatched": 18, "test": 24}
TRAIN_SHARDS = (14, 10)
SECONDS_A_SHARD = 0.6


def text(rng):
    return " ".join(rng.choice(WORDS[5:], rng.integers(1, 9)))


def records(rng, rows, pair, source=ORIGINAL):
    for number in range(rows):
        label = int(rng.integers(2)) if source == ORIGINAL else None
        example = Example(
            text(rng), text(rng) if pair else None, label, str(number)
        )
        yield encode(example, rng.normal(size=2), source)


def write_student(
    folder, seed, pair=False, words=WORDS, updates=20, kind="bilstm"
):
    """Write a student with random weights, large enough to disagree."""
    keras.utils.set_random_seed(seed)
    config = config_from_dict({"student": SIZE | {"kind": kind}})
    model = build_student(config.student, len(words), 2, pair)
    for variable in model.trainable_variables:
        variable.assign(np.random.normal(0, 1, variable.shape))
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    write_text(folder / "vocab.txt", "".join(f"{word}\n" for word in words))
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in LABELS))
    write_json(
        folder / "text.json",
        {"lower_case": True, "max_length": 6, "pair": pair},
    )
    write_json(
        folder / "training.json",
        {
            "seed": seed,
            "updates": updates,
            "updates_per_epoch": 5,
            "rows": 24,
            "evaluations": 4,
            "best": {"updates": 10, "epoch": 2.0, "accuracy": 0.5},
        },
    )
    write_history(folder, [0.5, 0.75, 0.7])


def write_history(folder, values):
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["updates,epoch,loss,accuracy"]
    lines += [f"{10 * i + 10},{i},0.5,{v}" for i, v in enumerate(values)]
    write_text(folder / "history.csv", "\n".join(lines) + "\n")


def write_run(
    folder,
    splits=("select", "dev"),
    selected_on="heldout",
    pair=False,
    extra_seeds=0,
    baseline=True,
    kind="bilstm",
    **config,
):
    """Write a run that has everything but exports; return its settings."""
    rng = np.random.default_rng(0)
    place = folder / "transfer_set"
    shards = []
    for index, rows in enumerate(TRAIN_SHARDS):
        name = shard_name(index, len(TRAIN_SHARDS))
        source = AUGMENTED if index else ORIGINAL
        info = write_shard(place / name, records(rng, rows, pair, source))
        shards.append(info)
        note = {"shard": {"rows": rows}, "seconds": SECONDS_A_SHARD}
        write_json(place / "done" / f"{name}.json", note)
    for split in splits:
        path = place / f"{split}.tfrecord"
        shards.append(write_shard(path, records(rng, ROWS[split], pair)))
    counts = dict.fromkeys(("original", "augmented", "unlabelled"), 0)
    counts["original"], counts["augmented"] = TRAIN_SHARDS
    Manifest("teacher", LABELS, pair, counts, shards, padding_ratio=1.05).save(
        place
    )
    write_json(
        folder / "data" / "manifest.json",
        {
            "labels": LABELS,
            "pair": pair,
            "splits": {"train": 14, **{name: ROWS[name] for name in splits}},
            "unlabeled": 0,
            "selected_on": selected_on,
        },
    )
    teacher = folder / "teacher"
    write_json(
        teacher / "teacher.json", {"lower_case": True, "parameters": 1234}
    )
    best = {"learning_rate": 3e-5, "epoch": 2, "accuracy": 0.8}
    write_json(
        teacher / "grid.json",
        {"rows": [best], "best": best, "precision": "float32"},
    )
    (teacher / "model.safetensors").write_bytes(b"x" * 5000)
    write_json(
        folder / "vocabulary" / "coverage.json", {"tokens": None, "types": None}
    )
    for i in range(1 + extra_seeds):
        inside = f"seed-{7 + i}" if i else ""
        write_student(folder / "student" / inside, 100 + i, pair, kind=kind)
        if baseline:
            write_student(
                folder / "baseline" / inside, 200 + i, pair, kind=kind
            )
    return config_from_dict(
        {
            "task": "custom",
            "seed": 7,
            "baseline": baseline,
            "student": {**SIZE, "kind": kind, "extra_seeds": extra_seeds},
            **config,
        }
    )


def _metrics(accuracy, student=True):
    values = {"accuracy": accuracy, "f1": accuracy - 0.01, "mcc": 0.5}
    values["cross_entropy"] = 0.4
    if not student:
        return values
    for name, value in (*tuple(values.items())[:3], ("agreement", 0.9)):
        values |= {name: value, f"{name}_mean": value, f"{name}_std": None}
        values[f"{name}_by_seed"] = [value]
    return values | {"kl": 0.031, "logit_mse": 0.642}


def _student(updates, accuracies):
    return {
        "parameters": 9_960_602,
        "parameters_without_embeddings": 960_602,
        "vocabulary_size": 15_000,
        "bytes": 39_900_000,
        "sentences_per_s": 2950.4,
        "updates": updates,
        "evaluations": 8,
        "training_rows": 336_000,
        "best_epoch": 3.0,
        "seeds": [42],
        "dev": _metrics(accuracies[0]),
        "select": _metrics(accuracies[1]),
    }


def sample_results(**changes):
    """Results of a run on SST-2, as collect_results would give them."""
    gain = {"points": 3.4, "ci_low": 1.2, "ci_high": 5.6}
    results = {
        "schema_version": 1,
        "task": "sst2",
        "seed": 42,
        "metric": "accuracy",
        "labels": list(LABELS),
        "pair": False,
        "selected_on": "heldout",
        "splits": {
            "train": {"rows": 63_981, "chosen_on": False},
            "dev": {"rows": 872, "chosen_on": False},
            "select": {"rows": 3_367, "chosen_on": True},
        },
        "teacher": {
            "name": "bert-large-uncased",
            "fine_tuned_here": True,
            "parameters": 335_143_938,
            "bytes": 1_340_600_000,
            "sentences_per_s": 110.2,
            "precision": "float32",
            "learning_rate": 2e-5,
            "epoch": 3,
            "dev": _metrics(0.931, student=False),
            "select": _metrics(0.949, student=False),
        },
        "baseline": _student(1000, (0.8387, 0.85)),
        "student": _student(1000, (0.8727, 0.88)),
        "gain": {**gain, "split": "dev", "by_split": {"dev": gain}},
        "embeddings": {
            "source": "vectors.bin.gz",
            "mode": "multichannel",
            "token_coverage": 0.987,
            "type_coverage": 0.9,
        },
        "transfer_set": {
            "rows": {"original": 100, "augmented": 900, "unlabelled": 0},
            "padding_ratio": 1.05,
        },
        "unknown": {
            "dev": {
                "unk_tokens": 0.0012,
                "unseen_words": 0.0478,
                "with": {
                    "rows": 480,
                    "student": 0.855,
                    "teacher": 0.892,
                    "agreement": 0.9,
                },
                "without": {
                    "rows": 392,
                    "student": 0.91,
                    "teacher": 0.907,
                    "agreement": 0.95,
                },
            }
        },
        "text": {
            "lengths": {"p50": 9, "p95": 28, "p99": 1041, "max": 2000},
            "cut": {"student": 0.0123, "teacher": 0.05},
            "unknown": 0.0461,
        },
        "sources": {
            "original": {
                "rows": 100,
                "agreement": 0.985,
                "squared_distance": 0.31,
            },
        },
        "exports": {
            "saved_model": {
                "bytes": 42_000_000,
                "max_abs_logit_difference": 2e-6,
                "accuracy": 0.8727,
                "rows": 872,
                "latency_ms_p50": None,
                "latency_ms_p99": None,
            }
        },
        "sizes": [],
        "calibration": {
            "temperature": None,
            "ece_before": None,
            "ece_after": None,
        },
        "cascade": None,
        "risk_coverage": {
            "select": {"kept": [0.5, 1.0], "disagreement": [0.02, 0.1]},
        },
        "tuning": {"trials": None, "best": None},
        "seconds": {"data": 1.5, "teacher": 3700.0, "student": 65.0},
        "resumed_stages": [],
        "machine": {
            "processors": 2,
            "gpus": 0,
            "platform": "Linux x86_64",
        },
        "versions": {},
    }
    return copy.deepcopy(results | changes)


def with_seeds(results, count=3, spread=0.004):
    """Give the students of sample results several seeds."""
    for key in ("student", "baseline"):
        results[key]["seeds"] = list(range(42, 42 + count))
        for split in ("dev", "select"):
            for name in ("accuracy", "f1", "mcc", "agreement"):
                results[key][split][f"{name}_std"] = spread
    return results


def with_members(results):
    """Make the teacher of sample results the mean of two."""
    teacher = results["teacher"]
    facts = {"parameters": 167_571_969, "bytes": 670_300_000}
    teacher["members"] = [
        {
            "name": "bert-large-uncased",
            "learning_rate": rate,
            "epoch": 3,
            **facts,
            "dev": _metrics(accuracy, student=False),
            "select": _metrics(accuracy, student=False),
        }
        for rate, accuracy in ((2e-5, 0.925), (3e-5, 0.919))
    ]
    teacher |= {"learning_rate": None, "epoch": None}
    return results


def write_members(folder, rows):
    """Make the teacher of a run by hand several; `rows` are of its grid.

    Their scores on select are 0.1, 0.2, ..., on other splits 0.01 more.
    """
    teacher = folder / "teacher"
    grid = {"rows": rows, "best": rows[0], "members": rows}
    write_json(teacher / "grid.json", grid | {"precision": "float32"})
    for place in range(2, len(rows) + 1):
        member = teacher / "members" / str(place)
        facts = {"lower_case": True, "parameters": place}
        write_json(member / "teacher.json", facts)
        (member / "model.safetensors").write_bytes(b"x" * place)
    for path in (folder / "transfer_set").glob("*.tfrecord"):
        more = 0.01 * (path.stem != "select")
        scores = [
            {"accuracy": place / 10 + more} for place in range(1, len(rows) + 1)
        ]
        done = path.parent / "done" / f"{path.name}.json"
        if not done.exists():
            write_json(done, {"members": scores})
