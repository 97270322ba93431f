"""Measures a run and writes its report."""

import logging
import os
import platform
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_distill
from keras_distill.confidence import confident, risk_coverage
from keras_distill.config import STAGES, Config
from keras_distill.errors import UserError
from keras_distill.export.calibration import stored_temperature
from keras_distill.export.exporter import NOTES
from keras_distill.export.forms import exported_forms
from keras_distill.export.opened import ask_forms
from keras_distill.export.shrink import measure_sizes
from keras_distill.export.threshold import stored_threshold
from keras_distill.files import (
    fingerprint,
    read_json,
    sha256_file,
    write_json,
    write_text,
)
from keras_distill.forecast import FORECAST
from keras_distill.metrics import (
    classification_metrics,
    expected_calibration_error,
    paired_gain,
    softmax,
)
from keras_distill.progress import progress
from keras_distill.report.advice import advice
from keras_distill.report.card import model_card
from keras_distill.report.charts import (
    plot_learning_curves,
    plot_risk_coverage,
    plot_sizes,
)
from keras_distill.report.classes import lost_classes, per_class
from keras_distill.report.tensorboard import Shown, write_extras
from keras_distill.report.understood import understood
from keras_distill.report.unknown import agreement_by_source, unknown_words
from keras_distill.report.yardstick import measure_yardstick
from keras_distill.run import find_config, seed_folders
from keras_distill.search.records import tuning_facts
from keras_distill.student.models import parameters_without_embeddings
from keras_distill.student.predictor import StudentPredictor
from keras_distill.teacher.members import (
    FACTS,
    member_folders,
    member_rows,
    member_sources,
)
from keras_distill.teacher.source import short_name
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import Rows, read_rows

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
RESULTS, CARD = "results.json", "README.md"

# What was measured of which exports, so that only new ones are asked again;
# and the yardstick, which no export changes.
_MEASURED, _YARDSTICK = "measured.json", "yardstick"
# The first of these that a run has is the one to look at first.
_ORDER = ("test", "dev", "dev_mismatched", "select")
_SPREAD = ("accuracy", "f1", "mcc", "agreement")
_WEIGHTS = ("*.safetensors", "*.h5")
# Rows of the transfer set that a student is asked about, and how many of them
# tell how fast it is.
_SAMPLE_ROWS = 20_000
_TIMED_ROWS = 5_120
_TIMED_BATCH = 512
# Few rows are measured several times over.
_TIMED_SECONDS = 0.5


def write_report(run_dir: Path, config: Config, place: Path) -> None:
    """Measure, and write numbers, model card, pictures, TensorBoard's pages.

    Called again for a finished run it makes the report anew; exports that
    are the same as then are not asked again.

    Args:
        run_dir: The run folder; gets `RESULTS`, `CARD` and `logs/report`.
        config: The run's configuration.
        place: The folder of the stage: `report/` of the run, or what will
            become that. Gets the pictures.

    Raises:
        UserError: A part of the run is missing, damaged or does not fit the
            others, or something cannot be written.
    """
    run_dir, place = Path(run_dir), Path(place)
    kept: dict[str, Any] = {}
    for folder in (run_dir / "report", place):
        if (folder / _MEASURED).is_file():
            kept = read_json(folder / _MEASURED)
    results, shown = collect_results(run_dir, config, kept)
    write_json(place / _MEASURED, kept)
    plot_learning_curves(run_dir, place)
    plot_risk_coverage(results, place)
    sizes = plot_sizes(results, place)
    write_extras(run_dir, config, model_card(results, config), shown)
    write_json(run_dir / RESULTS, results)
    # Where the picture will be, seen from the card.
    picture = sizes and f"report/{sizes.name}"
    write_text(run_dir / CARD, model_card(results, config, picture))


def refresh_report(run_dir: Path) -> None:
    """Make a run's report anew, if it has one, after its exports changed."""
    if not (run_dir / RESULTS).is_file():
        return
    try:
        config = find_config(run_dir / "student")
        if config is None:
            raise UserError(f"{run_dir} holds no config.yaml")
        write_report(run_dir, config, run_dir / "report")
    except UserError as error:
        logger.warning(
            "%s and the model card are still of the files before: %s",
            run_dir / RESULTS,
            " ".join(str(error).split()),
        )


def collect_results(
    run_dir: Path, config: Config, kept: dict[str, Any]
) -> tuple[dict[str, Any], Shown]:
    """Measure teacher and students of a run on every split, and their cost.

    The teacher's logits are those in the transfer set; the students are
    asked anew, exports and the yardstick where they are not in `kept`, which
    is brought up to date. What is not known is None.

    Returns:
        The content of `results.json`, in which `gain.split` names the split
        that the gain of distillation is of, and the main seed's student with
        its answers to that split.
    """
    run_dir = Path(run_dir)
    transfer_set = run_dir / "transfer_set"
    manifest = Manifest.load(transfer_set)
    data = read_json(run_dir / "data" / "manifest.json")
    manifest.expect(labels=data["labels"], pair=data["pair"])
    # The run chose on dev, or on a part of train that was held out.
    chosen = "dev" if data["selected_on"] == "dev" else "select"
    splits = read_splits(transfer_set, manifest, data["splits"], chosen)
    sample = read_rows(
        manifest.files(transfer_set, "train"),
        manifest.pair,
        len(manifest.labels),
        limit=_SAMPLE_ROWS,
    )
    student, baseline = (
        _measure_students(
            seed_folders(config, run_dir / name), splits, sample, manifest
        )
        if wanted
        else None
        for name, wanted in (
            ("student", True),
            ("baseline", config.baseline.enabled),
        )
    )
    first, rows = next(iter(splits.items()))
    said = student.logits[first][0]
    model = run_dir / "student" / "model.keras"
    shards = [shard.sha256 for shard in manifest.shards]
    of = [sha256_file(model), first, shards, keras_distill.__version__]
    coverage = read_json(run_dir / "vocabulary" / "coverage.json")
    vectors = config.student.embeddings
    classes = per_class(
        data,
        splits,
        {
            "baseline": baseline and baseline.main_logits,
            "student": student.main_logits,
        },
    )
    results = {
        "schema_version": SCHEMA_VERSION,
        "task": config.task,
        "seed": config.seed,
        "metric": config.metric,
        "labels": manifest.labels,
        "pair": manifest.pair,
        "selected_on": data["selected_on"],
        "splits": {
            "train": {"rows": data["splits"]["train"], "chosen_on": False},
            **{
                name: {"rows": len(split), "chosen_on": name == chosen}
                for name, split in splits.items()
            },
        },
        "teacher": _teacher(run_dir, config, manifest, splits),
        "baseline": baseline.results if baseline else None,
        "student": student.results,
        "yardstick": _yardstick(run_dir, config, splits, chosen, shards, kept),
        "gain": _gain(student, baseline, splits, config.seed),
        "per_class": classes,
        "lost_classes": lost_classes(classes, first, config.classes),
        "embeddings": {
            "source": None if vectors == "none" else Path(vectors).name,
            "mode": (
                "random" if vectors == "none" else config.student.embedding_mode
            ),
            "token_coverage": coverage["tokens"],
            "type_coverage": coverage["types"],
        },
        "transfer_set": {
            "rows": manifest.counts,
            "padding_ratio": manifest.padding_ratio,
        },
        "unknown": unknown_words(
            student.main,
            run_dir / "vocabulary",
            splits,
            student.main_logits,
        ),
        "sources": agreement_by_source(student.main, sample),
        "data": understood(data),
        "text": _text(run_dir / "data" / FORECAST),
        "exports": _exports(run_dir, rows, said, of, kept),
        "sizes": measure_sizes(run_dir / "student", rows),
        "calibration": _calibration(run_dir, rows.labels, said),
        **_cascade(run_dir, splits, student, chosen),
        "tuning": tuning_facts(run_dir),
        **_times(run_dir),
        "machine": {
            "processors": os.cpu_count(),
            "gpus": len(tf.config.list_physical_devices("GPU")),
            "platform": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "keras_distill": keras_distill.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }
    results["advice"] = advice(results, config)
    return results, Shown(student.main, manifest, first, rows, said, results)


def _text(path: Path) -> dict[str, Any] | None:
    """Return what was measured of the text; older runs have nothing."""
    if not path.is_file():
        return None
    facts = read_json(path)
    return {name: facts[name] for name in facts if name != "made_from"}


def read_splits(
    folder: Path, manifest: Manifest, names: Iterable[str], chosen: str
) -> dict[str, Rows]:
    """Read the splits in the order in which they are to be looked at.

    What the files call `select` is named as `chosen` says.
    """
    files = {
        chosen if name == "select" else name: name
        for name in names
        if name != "train"
    }
    splits = {}
    for name in sorted(files, key=_ORDER.index):
        paths = manifest.files(folder, files[name])
        if not paths:
            raise UserError(
                f"{folder} has no records of the split {files[name]}: run "
                "the label stage again"
            )
        splits[name] = read_rows(paths, manifest.pair, len(manifest.labels))
    return splits


@dataclass(frozen=True)
class _Students:
    """The main seed's student, and by split the logits of every seed."""

    main: StudentPredictor
    logits: dict[str, list[np.ndarray]]
    results: dict[str, Any]

    @property
    def main_logits(self) -> dict[str, np.ndarray]:
        """The logits of the main seed's student, by split."""
        return {name: by_seed[0] for name, by_seed in self.logits.items()}

    def correct(self, split: str, rows: Rows) -> np.ndarray:
        """Return what is right on the labelled rows, bool [seeds, rows]."""
        known = rows.labels >= 0
        answers = np.argmax(np.stack(self.logits[split]), axis=-1)
        return (answers == rows.labels)[:, known]


def _measure_students(
    folders: Mapping[int, Path],
    splits: Mapping[str, Rows],
    sample: Rows,
    manifest: Manifest,
) -> _Students:
    """Ask the student of every seed, the main one first, about every split."""
    main, *_ = places = list(folders.values())
    logits: dict[str, list[np.ndarray]] = {name: [] for name in splits}
    students = []
    rows = sum(map(len, splits.values())) * len(places)
    with progress(rows, f"measuring {main.name}", "rows") as bar:
        for place in places:
            student = StudentPredictor.load(place)
            _check_fits(student, place, manifest)
            for name, split in splits.items():
                logits[name].append(
                    student.logits(*split.columns, on_rows=bar.update)
                )
            students.append(student)
    results = _cost(main, students[0], sample)
    results["seeds"] = list(folders)
    for name, split in splits.items():
        results[name] = _metrics(split, logits[name])
    return _Students(students[0], logits, results)


def _check_fits(
    student: StudentPredictor, folder: Path, manifest: Manifest
) -> None:
    for what, found, expected in (
        ("classes", student.labels, manifest.labels),
        ("pairs", student.pair, manifest.pair),
    ):
        if found != expected:
            raise UserError(
                f"{folder}: the student's {what} are {found}, the transfer "
                f"set's {expected}"
            )


def _metrics(rows: Rows, logits: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the main seed's metrics, then mean and spread over seeds."""
    by_seed = [
        classification_metrics(one, rows.labels, rows.teacher_logits)
        for one in logits
    ]
    metrics: dict[str, Any] = dict(by_seed[0])
    for name in _SPREAD:
        values = [one[name] for one in by_seed]
        known = None not in values
        several = known and len(values) > 1
        metrics[f"{name}_mean"] = statistics.fmean(values) if known else None
        metrics[f"{name}_std"] = statistics.stdev(values) if several else None
        metrics[f"{name}_by_seed"] = values
    return metrics


def _cost(
    folder: Path, student: StudentPredictor, sample: Rows
) -> dict[str, Any]:
    """Return a student's size, speed and how long it was trained."""
    training = read_json(folder / "training.json")
    return {
        "parameters": student.model.count_params(),
        "parameters_without_embeddings": parameters_without_embeddings(
            student.model
        ),
        "vocabulary_size": len(student.tokenizer),
        "bytes": (folder / "model.keras").stat().st_size,
        "sentences_per_s": _sentences_per_s(student, sample),
        "updates": training["updates"],
        "evaluations": training["evaluations"],
        "training_rows": training["rows"],
        "best_epoch": training["best"]["epoch"],
    }


def _sentences_per_s(student: StudentPredictor, sample: Rows) -> float:
    """Return rows per second from text to logits, as the teacher's are."""
    # Of every kind of text: they lie kind by kind.
    step = max(1, len(sample) // _TIMED_ROWS)
    columns = [column[::step] for column in sample.columns]
    # The first batch pays for tracing.
    student.logits(*(column[:_TIMED_BATCH] for column in columns))
    rows, seconds = 0, 0.0
    started = time.perf_counter()
    while seconds < _TIMED_SECONDS:
        student.logits(*columns, batch_size=_TIMED_BATCH)
        rows += len(columns[0])
        seconds = time.perf_counter() - started
    return round(rows / seconds, 1)


def _yardstick(
    run_dir: Path,
    config: Config,
    splits: Mapping[str, Rows],
    chosen: str,
    shards: list[str],
    kept: dict[str, Any],
) -> dict[str, Any] | None:
    """Measure the yardstick, or remember it; `shards` tell the rows."""
    settings = [config.seed, config.metric, asdict(config.classes)]
    key = fingerprint([settings, chosen, shards, keras_distill.__version__])
    known = kept.get(_YARDSTICK, {})
    if known.get("of") != key:
        values = measure_yardstick(run_dir, config, splits, chosen)
        known = {"of": key, "values": values}
    kept[_YARDSTICK] = known
    return known["values"]


def _exports(
    run_dir: Path,
    rows: Rows,
    said: np.ndarray,
    of: list[Any],
    kept: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """Ask the exports about rows; `of` tells rows and student."""
    folder = run_dir / "export"
    facts, speeds = {}, {}
    if (folder / NOTES).is_file():
        facts = read_json(folder / NOTES)
    benchmark = run_dir / "benchmark" / "benchmark.json"
    if benchmark.is_file():
        speeds = read_json(benchmark)["contenders"]
    results = {}
    for form in exported_forms(folder):
        key = fingerprint([*of, _hashes(folder / form.name)])
        known = kept.get(form.name, {})
        if known.get("of") != key:
            (asked,) = ask_forms([form], rows.columns, rows.labels, said)
            known = {"of": key, "values": asked.facts()}
        kept[form.name] = known
        values = dict(known["values"])
        # The export was proved on awkward texts, these are ordinary ones.
        worst = facts.get(form.name, {}).get("max_abs_logit_difference", 0.0)
        values["max_abs_logit_difference"] = max(
            values["max_abs_logit_difference"], worst
        )
        for key in ("window", "cut"):
            if key in facts.get(form.name, {}):
                values[key] = facts[form.name][key]
        latency = {}
        # Was it this file that the benchmark measured?
        if speeds.get(form.name, {}).get("bytes") == form.bytes:
            latency = speeds[form.name]["latency"]["20"]
        for key in ("ms_p50", "ms_p99"):
            values[f"latency_{key}"] = latency.get(key)
        results[form.name] = values
    return results


def _hashes(path: Path) -> list[str]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [sha256_file(file) for file in files if file.is_file()]


def _calibration(
    run_dir: Path, labels: np.ndarray, said: np.ndarray
) -> dict[str, float | None]:
    """Return the exports' temperature, and its effect on labelled rows."""
    temperature = stored_temperature(run_dir / "export")
    before = after = None
    if temperature is not None and np.any(labels >= 0):
        before, after = (
            expected_calibration_error(softmax(logits), labels)
            for logits in (said, said / temperature)
        )
    return {
        "temperature": temperature,
        "ece_before": before,
        "ece_after": after,
    }


def _teacher(
    run_dir: Path,
    config: Config,
    manifest: Manifest,
    splits: Mapping[str, Rows],
) -> dict[str, Any]:
    rows, seconds = 0, 0.0
    for path in manifest.files(run_dir / "transfer_set", "train"):
        note = read_json(path.parent / "done" / f"{path.name}.json")
        rows += note["shard"]["rows"]
        seconds += note["seconds"]
    members = _members(run_dir, config)
    names = dict.fromkeys(member["name"] for member in members)
    alone = members[0] if len(members) == 1 else {}
    answers = read_json(run_dir / "data" / "manifest.json").get("answers")
    # To be right by its own answers says nothing.
    own = (answers or {}).get("own_golds", []) if config.teacher.alone else []
    results = {
        "name": ", ".join(names),
        "fine_tuned_here": bool(config.teacher.names)
        and not config.teacher.checkpoints,
        "answers": answers,
        "parameters": sum(member["parameters"] or 0 for member in members)
        or None,
        "bytes": sum(member["bytes"] or 0 for member in members) or None,
        "sentences_per_s": (
            None
            if config.teacher.alone or not seconds
            else round(rows / seconds, 1)
        ),
        "precision": read_json(run_dir / "teacher" / "grid.json")["precision"],
        "learning_rate": alone.get("learning_rate"),
        "epoch": alone.get("epoch"),
    }
    places = {}
    for name, split in splits.items():
        places[name] = run_dir / "transfer_set" / f"{name}.tfrecord"
        if not places[name].is_file():
            # Of a run that chose on dev.
            places[name] = places[name].with_name("select.tfrecord")
        results[name] = None
        if split.answered and places[name].stem not in own:
            results[name] = classification_metrics(
                split.teacher_logits, split.labels
            )
    if len(members) > 1:
        results["members"] = members
        for name, path in places.items():
            note = read_json(path.parent / "done" / f"{path.name}.json")
            for member, scores in zip(members, note["members"], strict=True):
                member[name] = scores
    return results


def _members(run_dir: Path, config: Config) -> list[dict[str, Any]]:
    """Return what is known of each of the teacher's members, best first."""
    folder = run_dir / "teacher"
    members = []
    names = [", ".join(map(short_name, config.teacher.logits))]
    if not config.teacher.alone:
        names = member_sources(config.teacher, folder)
    for place, row, name in zip(
        member_folders(folder), member_rows(folder), names, strict=True
    ):
        weights = [path for kind in _WEIGHTS for path in place.glob(kind)]
        members.append(
            {
                "name": short_name(name),
                "learning_rate": row.get("learning_rate"),
                "epoch": row.get("epoch"),
                "parameters": read_json(place / FACTS)["parameters"],
                "bytes": sum(path.stat().st_size for path in weights) or None,
            }
        )
    return members


def _gain(
    student: _Students,
    baseline: _Students | None,
    splits: Mapping[str, Rows],
    seed: int,
) -> dict[str, Any]:
    unknown = dict.fromkeys(("points", "ci_low", "ci_high"))
    by_split = {}
    for name, split in splits.items():
        by_split[name] = unknown
        if baseline is not None and np.any(split.labels >= 0):
            by_split[name] = paired_gain(
                student.correct(name, split),
                baseline.correct(name, split),
                seed,
            )
    first = next(iter(splits))
    return {**by_split[first], "split": first, "by_split": by_split}


def _cascade(
    run_dir: Path,
    splits: Mapping[str, Rows],
    student: _Students,
    chosen: str,
) -> dict[str, Any]:
    """Return what a picked threshold comes to, and the curves of all.

    The curves are of the first split and of the one that chose.
    """
    temperature = stored_temperature(run_dir / "export") or 1.0
    curves = {}
    for name in dict.fromkeys((chosen, next(iter(splits)))):
        rows, logits = splits[name], student.logits[name][0]
        confidences, answers = confident(logits, temperature)
        theirs = rows.teacher_logits.argmax(axis=-1)
        known = rows.labels >= 0
        curves[name] = {}
        if rows.answered:
            kept, wrong = risk_coverage(confidences, answers == theirs)
            curves[name] |= {"kept": kept, "disagreement": wrong}
        if known.any():
            kept, wrong = risk_coverage(
                confidences[known], (answers == rows.labels)[known]
            )
            curves[name] |= {"labelled_kept": kept, "error": wrong}
    picked = stored_threshold(run_dir / "student", run_dir / "export")
    return {"cascade": picked, "risk_coverage": curves}


def _times(run_dir: Path) -> dict[str, Any]:
    """Return the seconds of the stages, those resumed, those taken over.

    What an earlier report took says nothing of this one.
    """
    paths = sorted(run_dir.glob("*/stage.json"))
    records = {record["stage"]: record for record in map(read_json, paths)}
    found = {n: records[n] for n in STAGES if n in records and n != "report"}
    return {
        "seconds": {n: record["seconds"] for n, record in found.items()},
        "beside": _beside(found),
        "resumed_stages": [n for n in found if found[n].get("resumed")],
        # Each with the run folder that it was taken from (`--reuse`).
        "taken_stages": {
            n: record["taken_from"]
            for n, record in found.items()
            if "taken_from" in record
        },
    }


def _beside(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the stages made while others were, which are as they were then."""
    beside = {
        name: [
            other
            for other, was in record.get("beside", {}).items()
            if other in found and found[other]["fingerprint"] == was
        ]
        for name, record in found.items()
    }
    return {name: others for name, others in beside.items() if others}
