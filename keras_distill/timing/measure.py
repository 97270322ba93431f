"""Measures all that a run has, in one go, the contenders taking turns."""

import contextlib
import importlib.metadata
import os
import platform
import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras_distill
from keras_distill.data.examples import read_examples
from keras_distill.errors import UserError
from keras_distill.process import cores
from keras_distill.timing.bench import TEACHERS, Bench
from keras_distill.timing.settings import Settings
from keras_distill.timing.students import form_names
from keras_distill.timing.texts import Row, sorted_batches

STUDENTS = ("keras", "stock_lstm")
# Ratios are to these.
REFERENCES = ("bert_large", "teacher", "stock_lstm")

_PACKAGES = ("tensorflow", "tensorflow-text", "keras", "tf-keras")


def measure(run_dir: Path, settings: Settings) -> dict[str, Any]:
    """Measure speed and size of a run's teacher, student and exports.

    Two processes for the throughput, with all threads, then two for single
    texts, with one: the teacher's and the student's TensorFlow do not go
    together, and the number of threads is settled when TensorFlow starts.

    Args:
        run_dir: A finished run folder with exports.
        settings: How to do it.

    Returns:
        The content of `benchmark.json`.

    Raises:
        UserError: The run is not there or not whole, has no exports, or
            `settings.only` names what it does not have.
    """
    run_dir = Path(run_dir)
    names = chosen_names(run_dir, settings)
    result = _circumstances(settings)
    rows = _training_rows(run_dir, settings)
    batches = sorted_batches(rows, settings.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(run_dir, Path(folder), rows, batches, settings)
        contenders = bench.throughput(names)
        latencies = bench.latency(contenders)
    for name, values in contenders.items():
        values |= latencies[name]
        values["ratios"] = ratios(contenders, name)
    result["rows"] = len(rows)
    result["pair"] = len(rows[0]) > 1
    result["load_average_after"] = _load_average()
    result["contenders"] = contenders
    return result


def chosen_names(run_dir: Path, settings: Settings) -> list[str]:
    """Return what is to be measured, in the order of the table.

    Raises:
        UserError: See `measure`.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise UserError(f"{run_dir}: no such run folder")
    if not (run_dir / "student" / "model.keras").is_file():
        raise UserError(
            f"{run_dir} holds no student (student/model.keras), expected the "
            "folder of a finished run of train.py"
        )
    forms = form_names(run_dir / "export")
    if not forms:
        raise UserError(
            f"{run_dir / 'export'} holds no exports; make them with "
            f"python -m keras_distill.export {run_dir}"
        )
    known = [*TEACHERS, *STUDENTS, *forms]
    for name in settings.only:
        if name not in known:
            raise UserError(
                f"--only {name}: {run_dir} has no such form, expected some "
                f"of: {', '.join(known)}"
            )
    wanted = settings.only or known
    return [
        name
        for name in known
        if name in wanted and (settings.bert_large or name != "bert_large")
    ]


def _training_rows(run_dir: Path, settings: Settings) -> list[Row]:
    rows = [
        (e.text_a,) if e.text_b is None else (e.text_a, e.text_b)
        for e in read_examples(run_dir / "data" / "train.jsonl.gz")
    ]
    if not rows:
        raise UserError(f"{run_dir / 'data'} holds no training rows")
    if settings.sentences is not None and settings.sentences < len(rows):
        rows = random.Random(settings.seed).sample(rows, settings.sentences)
    return rows


def ratios(
    contenders: dict[str, dict[str, Any]], name: str
) -> dict[str, float]:
    """Return how many times faster a contender is in batches."""
    speed = {
        key: contenders[key]["throughput"]["sentences_per_s"]
        for key in (name, *REFERENCES)
        if key in contenders
    }
    return {
        key: speed[name] / speed[key]
        for key in REFERENCES
        if key in speed and key != name
    }


def _circumstances(settings: Settings) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "settings": asdict(settings),
        "processors": cores(),
        "processor": _processor(),
        "gpus": len(list(Path("/proc/driver/nvidia/gpus").glob("*"))),
        "load_average": _load_average(),
        "versions": {
            "keras_distill": keras_distill.__version__,
            "python": platform.python_version(),
            **{
                package: importlib.metadata.version(package)
                for package in (*_PACKAGES, "transformers")
            },
        },
    }


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load_average() -> list[float]:
    return [round(load, 2) for load in os.getloadavg()]
