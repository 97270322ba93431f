"""How much patience the undistilled student needs.

It is trained to the end of its budget, as many updates and looks as the
distilled student may make, once for each seed; at each look its accuracy on
the reported split is noted. A patience only cuts such a training off, so all
of them are read from one history. No teacher is needed: the student without
one sees gold labels alone, and of the transfer set only the number of rows
counts.

    python benchmarks/baseline_patience.py --task quick --rows 20189 \
        --seeds 5 --set student.epochs=5 \
        --output results/bench/baseline_patience_quick.json
    python benchmarks/baseline_patience.py --task sst2 --data-dir glue \
        --rows 60000 --seeds 3 --set student.epochs=8 \
        --set student.evaluations_per_epoch=5 \
        --output results/bench/baseline_patience_sst2.json
"""

import dataclasses
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import machine, parser, table, write

from keras_distill.cli import configure_logging, import_tensorflow
from keras_distill.config import Config
from keras_distill.data.examples import Example
from keras_distill.data.splits import load_splits
from keras_distill.options import parser as settings_parser
from keras_distill.options import resolve
from keras_distill.tasks import get_task

PATIENCES = (5, 10, 15, 20, 30)


def main() -> int:
    """Train, tell what each patience would have come to, write the JSON."""
    options = parser(__doc__)
    options.add_argument("--task", default="quick")
    options.add_argument("--data-dir", type=Path)
    options.add_argument(
        "--rows", type=int, required=True, help="rows of the transfer set"
    )
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--set", action="append", default=[])
    options = options.parse_args()
    configure_logging()
    import_tensorflow()
    given = ["--task", options.task, "--recipe", "paper"]
    given += [f"--set={value}" for value in options.set]
    if options.data_dir is not None:
        given += ["--data-dir", str(options.data_dir)]
    config = resolve(settings_parser("").parse_args(given))
    result = machine("tensorflow", "keras") | {
        "task": options.task,
        "student": dataclasses.asdict(config.student),
        "rows_of_the_transfer_set": options.rows,
        "seeds": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        lessons, reported, name = prepared(config, Path(folder))
        result["reported_on"] = name
        for seed in range(config.seed, config.seed + options.seeds):
            looks = trained(
                config, lessons, reported, Path(folder), seed, options.rows
            )
            result["seeds"].append({"seed": seed, "looks": looks})
            # What a long run has so far is not lost.
            result["patience"] = summary(result["seeds"])
            write(result, options.output)
            print(as_page(result), flush=True)
    return 0


def prepared(config: Config, folder: Path) -> tuple[Any, Path, str]:
    """Write the records; return the lessons and the reported split."""
    from keras_distill.student.training import Lessons
    from keras_distill.student.vocabulary import count_words, select_words
    from keras_distill.transfer_set.record import ORIGINAL, encode, write_shard

    splits = load_splits(config)
    name = "dev" if splits.test is None else "test"
    zeros = [0.0] * len(splits.labels)
    parts: dict[str, list[Example]] = {
        "train": splits.train,
        "select": splits.select,
        name: getattr(splits, name),
    }
    for part, examples in parts.items():
        rows = (encode(example, zeros, ORIGINAL) for example in examples)
        write_shard(folder / f"{part}.tfrecord", rows)
    texts = (
        text
        for example in splits.train
        for text in (example.text_a, example.text_b)
        if text is not None
    )
    settings = config.student
    lessons = Lessons(
        vocabulary=select_words(
            count_words(texts, True),
            settings.vocabulary_size,
            settings.min_count,
        ),
        vectors=None,
        train_files=[folder / "train.tfrecord"],
        select_file=folder / "select.tfrecord",
        labels=splits.labels,
        pair=splits.pair,
        lower_case=True,
        metric=get_task(config.task).metric,
        labelled_only=True,
    )
    return lessons, folder / f"{name}.tfrecord", name


def trained(
    config: Config,
    lessons: Any,
    reported: Path,
    folder: Path,
    seed: int,
    rows: int,
) -> list[dict[str, Any]]:
    """Train to the end of the budget; return what each look saw."""
    import keras

    from keras_distill.metrics import accuracy
    from keras_distill.student.dataset import evaluation_dataset
    from keras_distill.student.predictor import StudentPredictor
    from keras_distill.student.text import StudentTokenizer
    from keras_distill.student.training import fit_student

    settings = dataclasses.replace(config.student, patience=None)
    tokenizer = StudentTokenizer(lessons.vocabulary, lessons.lower_case)
    data = evaluation_dataset(
        reported,
        tokenizer,
        batch_size=256,
        pair=lessons.pair,
        num_classes=len(lessons.labels),
        max_length=settings.max_length,
    )
    per_epoch = math.ceil(rows / settings.batch_size)
    every = math.ceil(per_epoch / settings.evaluations_per_epoch)
    updates = settings.epochs * per_epoch
    found = []

    class Reported(keras.callbacks.Callback):
        """Notes the accuracy on the reported split at each look."""

        def on_train_begin(self, logs: Any = None) -> None:
            self._student = StudentPredictor(
                self.model, tokenizer, lessons.labels
            )

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if (batch + 1) % every == 0 or batch + 1 == updates:
                said = self._student.predict(data)
                found.append(accuracy(said.logits, said.labels))

    looks = fit_student(
        settings,
        lessons,
        folder / f"seed-{seed}",
        seed,
        max_updates=updates,
        updates_per_look=every,
        callbacks=[Reported()],
    )
    return [
        {
            "updates": row["updates"],
            "select": row[lessons.metric],
            "cross_entropy": row["cross_entropy"],
            "reported": value,
        }
        for row, value in zip(looks.history, found, strict=True)
    ]


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what each patience comes to, means over the seeds."""
    unlimited = mean(seeds, None)
    rows = {}
    for patience in (*PATIENCES, None):
        row = mean(seeds, patience)
        points = row["accuracy"] - unlimited["accuracy"]
        rows[str(patience).lower()] = row | {"points": round(points, 3)}
    return rows


def mean(seeds: list[dict[str, Any]], patience: int | None) -> dict[str, Any]:
    """Return the means over the seeds for one patience."""
    cut = [cut_off(seed["looks"], patience) for seed in seeds]
    kept = [chosen(looks) for looks in cut]
    accuracy = statistics.fmean(look["reported"] for look in kept)
    return {
        "updates": round(
            statistics.fmean(looks[-1]["updates"] for looks in cut)
        ),
        "looks": round(statistics.fmean(map(len, cut)), 1),
        "chosen update": round(
            statistics.fmean(look["updates"] for look in kept)
        ),
        "accuracy": round(100 * accuracy, 3),
    }


def cut_off(
    looks: list[dict[str, Any]], patience: int | None
) -> list[dict[str, Any]]:
    """Return the looks until none has been better for so many."""
    best = 0
    for place, look in enumerate(looks):
        if look["select"] > looks[best]["select"]:
            best = place
        if patience is not None and place - best >= patience:
            return looks[: place + 1]
    return looks


def chosen(looks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the look whose student is kept."""
    return max(looks, key=lambda x: (x["select"], -x["cross_entropy"]))


def as_page(result: dict[str, Any]) -> str:
    """Return the table: what each patience comes to."""
    rows = result["patience"]
    head = ["looks without a better one", *rows["none"]]
    return table(head, ([name, *row.values()] for name, row in rows.items()))


if __name__ == "__main__":
    sys.exit(main())
