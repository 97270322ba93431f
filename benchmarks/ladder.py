"""The ladder of student kinds on one transfer set: quality, size and speed.

Students of each kind learn from a finished run's transfer set, with the run's
settings, vocabulary and number of updates, and are measured on what it chose
on and on what it reports. No teacher is needed.

    python benchmarks/ladder.py saved_models/sst2-best --seeds 3 \
        --output results/sst2-best/ladder.json

and then, for the picture of several of them:

    python benchmarks/ladder.py --draw docs/ladder.png results/*/ladder.json

Speeds are of this machine: `latency_ms` is one text from word ids to
probabilities in the int8 file on one thread, `texts_per_s` the SavedModel from
raw text in batches of 512, `of_tokenizer` that rate over the one of the same
graph's tokenizer alone. It can be killed and called again: with the same
--work it goes on.
"""

import csv
import dataclasses
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ablation import scores
from measuring import machine, parser, table, write

from keras_distill.cli import configure_logging, import_tensorflow
from keras_distill.config import (
    Config,
    config_from_dict,
    fitting_kinds,
    load_config,
)
from keras_distill.display import BLUE, RED, SKY, new_figure, save
from keras_distill.files import read_json

_BATCH, _REPEATS, _TEXTS = 512, 3, 4096


def main() -> int:
    """Train a student of each kind, tell and write what it came to."""
    options = parser(__doc__)
    options.add_argument(
        "run", type=Path, nargs="+", help="a finished run, or JSON to draw"
    )
    options.add_argument("--draw", type=Path, metavar="PNG")
    options.add_argument(
        "--speeds",
        action="store_true",
        help="measure sizes and speeds anew, on an idle machine",
    )
    options.add_argument("--kinds", nargs="+", help="default: all that fit")
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument(
        "--work", type=Path, help="default: RUN/ladder; may be removed later"
    )
    options = options.parse_args()
    if options.draw:
        draw([read_json(path) for path in options.run], options.draw)
        return 0
    configure_logging()
    import_tensorflow()
    from keras_distill.transfer_set.manifest import Manifest

    (run,) = options.run
    config = config_from_dict(load_config(run / "config.yaml"))
    manifest = Manifest.load(run / "transfer_set")
    result = machine("tensorflow", "keras") | {
        "run": run.name,
        "task": config.task,
        "rows": manifest.rows("train"),
        "teacher": teacher_accuracy(run),
        "kinds": {},
    }
    for kind in options.kinds or fitting_kinds(manifest.pair):
        found = []
        for seed in range(config.seed, config.seed + options.seeds):
            place = (options.work or run / "ladder") / kind / f"seed-{seed}"
            if options.speeds:
                (place / "cost.json").unlink(missing_ok=True)
            found.append(measured(run, place, config, kind, seed))
            result["kinds"][kind] = found
            # What a long run has so far is not lost.
            write(result, options.output)
        print(as_page(result), flush=True)
    return 0


def measured(
    run: Path, place: Path, config: Config, kind: str, seed: int
) -> dict[str, Any]:
    """Train and measure one student, once."""
    from keras_distill.run import lower_case, seed_folders
    from keras_distill.student.training import Lessons, complete, fit_student

    note, cost = place / "measured.json", place / "cost.json"
    settings = dataclasses.replace(config.student, kind=kind)
    lessons = Lessons.of_run(config, run, lower_case(config, run))
    student = seed_folders(config, run / "student").get(seed, place)
    # The run's own, where it has it.
    own = kind == config.student.kind and (student / "training.json").is_file()
    student = student if own else place
    if not (student / "training.json").is_file():
        looks = fit_student(settings, lessons, student, seed)
        complete(student, seed, lessons, settings.max_length, looks)
    if not note.is_file():
        best = read_json(student / "training.json")["best"]
        found = {"seed": seed, "best_epoch": best["epoch"]}
        write(found | scores(run, student, lessons, config), note)
    if not cost.is_file():
        write(costs(run, student), cost)
    with open(student / "history.csv", newline="") as stream:
        *_, last = csv.DictReader(stream)
    # Of all sittings, looks included.
    seconds = {"seconds": round(float(last["seconds"]), 1)}
    return read_json(note) | read_json(cost) | seconds


def costs(run: Path, student: Path) -> dict[str, Any]:
    """Return what a student takes: parameters, bytes, time."""
    from keras_distill.search.trial import measure_cost

    found = measure_cost(student, timed_rows(run))
    whole, reading = texts_per_second(student, timed_texts(run))
    return found | {
        "texts_per_s": round(whole),
        "of_tokenizer": round(whole / reading, 2),
    }


def teacher_accuracy(run: Path) -> dict[str, float]:
    """Return the teacher's accuracy by split, in percent."""
    teacher = read_json(run / "results.json")["teacher"]
    return {
        name: round(100 * value["accuracy"], 3)
        for name, value in teacher.items()
        if isinstance(value, dict) and "accuracy" in value
    }


def timed_rows(run: Path) -> Any:
    """Return rows of the selection split."""
    from keras_distill.transfer_set.manifest import Manifest
    from keras_distill.transfer_set.record import read_rows

    manifest = Manifest.load(run / "transfer_set")
    return read_rows(
        [run / "transfer_set" / "select.tfrecord"],
        manifest.pair,
        len(manifest.labels),
        limit=200,
    )


def timed_texts(run: Path) -> list[list[str]]:
    """Return columns of many texts of the reported split."""
    from keras_distill.export.selection import run_examples

    examples = list(run_examples(run / "student", "dev"))
    examples = (examples * math.ceil(_TEXTS / len(examples)))[:_TEXTS]
    columns = [[example.text_a for example in examples]]
    if examples[0].text_b is not None:
        columns.append([example.text_b for example in examples])
    return columns


def texts_per_second(
    student: Path, columns: list[list[str]]
) -> tuple[float, float]:
    """Time raw texts in batches, sorted by length.

    Returns:
        Texts a second of the SavedModel, and of its tokenizer alone.
    """
    import tensorflow as tf

    from keras_distill.export.saved_model import SavedStudent
    from keras_distill.export.spelling import normalize_for_ids
    from keras_distill.export.student import load_exported

    order = sorted(
        range(len(columns[0])), key=lambda row: -len(columns[0][row])
    )
    columns = [[column[row] for row in order] for column in columns]
    exported = load_exported(student)
    tokenizer = exported.tokenizer()

    @tf.function(reduce_retracing=True)
    def read(**texts: tf.Tensor) -> list[tf.Tensor]:
        return [
            tokenizer(normalize_for_ids(column)).to_tensor()
            for column in texts.values()
        ]

    with tempfile.TemporaryDirectory() as folder:
        module = SavedStudent(exported)
        tf.saved_model.save(module, folder, module.signatures())
        serve = tf.saved_model.load(folder).signatures["serving_default"]
        names = ("text", "text_b")
        batches = [
            {
                name: tf.constant(column[start : start + _BATCH])
                for name, column in zip(names, columns, strict=False)
            }
            for start in range(0, len(columns[0]), _BATCH)
        ]
        times: dict[Any, list[float]] = {serve: [], read: []}
        # In turns, so that other work slows both.
        for _ in range(1 + _REPEATS):
            for ask, taken in times.items():
                started = time.perf_counter()
                for batch in batches:
                    ask(**batch)
                taken.append(time.perf_counter() - started)
    whole, reading = (
        len(columns[0]) / min(taken[1:]) for taken in times.values()
    )
    return whole, reading


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw quality against latency, a panel for each run, the front marked."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = new_figure(4.5 * len(results), 4)
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, result in zip(panels, results, strict=True):
        split = next(name for name in result["teacher"] if name != "select")
        found = []
        for kind, seeds in result["kinds"].items():
            quality = statistics.fmean(one[split]["accuracy"] for one in seeds)
            latency = statistics.fmean(one["latency_ms"] for one in seeds)
            found.append((latency, quality, kind))
        front, best = [], -math.inf
        for latency, quality, kind in sorted(found):
            axes.annotate(
                kind,
                (latency, quality),
                # Below the front, which rises to the right.
                xytext=(5, -11),
                textcoords="offset points",
                fontsize="small",
            )
            if quality > best:
                front.append((latency, quality))
                best = quality
        axes.plot(*zip(*front, strict=True), color=BLUE, label="front")
        axes.plot(
            *zip(*[one[:2] for one in found], strict=True), "o", color=SKY
        )
        axes.plot(*zip(*front, strict=True), "o", color=BLUE)
        axes.axhline(
            result["teacher"][split], color=RED, linestyle="--", label="teacher"
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.25, y=0.15)
        axes.set_title(f"{result['task']}, {result['rows']:,} rows")
        axes.set_xlabel("one text, int8, one thread (ms)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"accuracy on {split}, %")
    panels[0].legend(frameon=False, fontsize="small", loc="lower right")
    save(figure, path)


def as_page(result: dict[str, Any]) -> str:
    """Return the table: means over the seeds."""
    first = next(iter(result["kinds"].values()))[0]
    splits = [name for name, value in first.items() if isinstance(value, dict)]
    head = ["kind", "parameters", "int8, MB", "one text, ms", "texts/s"]
    head += ["of the tokenizer", "trained, s"]
    for split in splits:
        head += [f"{split} accuracy", "agrees"]
    rows = []
    for kind, seeds in result["kinds"].items():

        def mean(*keys: str, seeds: list = seeds) -> float:
            values = []
            for one in seeds:
                for key in keys:
                    one = one[key]
                values.append(one)
            return statistics.fmean(values)

        row = [kind, f"{mean('parameters') / 1e6:.2f}M"]
        row += [f"{mean('int8_bytes') / 1e6:.1f}", f"{mean('latency_ms'):.3f}"]
        row += [f"{mean('texts_per_s'):,.0f}", f"{mean('of_tokenizer'):.2f}"]
        row += [f"{mean('seconds'):.0f}"]
        for split in splits:
            row += [f"{mean(split, 'accuracy'):.1f}"]
            row += [f"{mean(split, 'agreement'):.1f}"]
        rows.append(row)
    return table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
