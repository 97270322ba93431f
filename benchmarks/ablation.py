"""What each part of the recipe `best` is worth: one off, all others on.

Students are trained on a finished run's transfer set, with as many updates and
looks as the run's own, and measured on what it chose on and on what it
reports. No teacher is needed: rows of an operator are left out of the records,
vocabulary and vectors are made anew. Agreement with the teacher is the finer
scale, because it has no noise of the labels in it.

    python benchmarks/ablation.py saved_models/qqp-best --embeddings FILE \
        --output results/qqp-best/ablation.json

`--only` also takes other ways to make word vectors, for a run on a file's and
the teacher's (`--embeddings FILE,teacher`):

unfilled      random vectors where the file has none, not ridge regression from
              the teacher's
concatenated  the file's beside the teacher's, by PCA to the usual width
weighted      all divided by how usual the word is, a / (a + p), a 0.001
              (Arora et al. 2017; model2vec does it)

It can be killed and called again: with the same --work it goes on.
"""

import dataclasses
import math
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, parser, table, write

from keras_distill.cli import configure_logging, import_tensorflow
from keras_distill.config import Config, config_from_dict, load_config
from keras_distill.files import read_json

# What the recipe `paper` has in its place.
_PAPERS_VOCABULARY = {
    "open_vocabulary": False,
    "word_pieces": False,
    "unknown_rate": 0.0,
    "vocabulary_size": 30_000,
}
# Operators whose rows are left out.
_SOURCES = {"neighbours": "neighbour", "joined": "joined", "mined": "mined"}
# Other word vectors.
_INSTEAD = ("unfilled", "concatenated", "weighted")
# Arora et al. 2017, section 4.1.
_SMOOTHING = 1e-3


def main() -> int:
    """Train a student for each part, tell and write what it came to."""
    options = parser(__doc__)
    options.add_argument("run", type=Path, help="a finished run")
    options.add_argument(
        "--embeddings",
        default="none",
        help="a vector file, or none: what stands in for the teacher's vectors",
    )
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument(
        "--only",
        nargs="+",
        choices=("all", "vocabulary", "vectors", *_SOURCES, *_INSTEAD),
    )
    options.add_argument(
        "--work", type=Path, help="default: RUN/ablation; may be removed later"
    )
    options = options.parse_args()
    configure_logging()
    import_tensorflow()
    run = options.run
    config = config_from_dict(load_config(run / "config.yaml"))
    work = options.work or run / "ablation"
    rows = read_json(run / "transfer_set" / "manifest.json")["counts"]
    updates = config.student.epochs * _updates(config, sum(rows.values()))
    result = machine("tensorflow", "keras") | {
        "run": run.name,
        "task": config.task,
        "student": dataclasses.asdict(config.student),
        "updates": updates,
        "parts": {},
    }
    parts = ["all", "vocabulary", "vectors"]
    parts += [name for name, source in _SOURCES.items() if rows.get(source)]
    for part in options.only or parts:
        found = [
            measured(run, work / part, config, part, options.embeddings, seed)
            for seed in range(config.seed, config.seed + options.seeds)
        ]
        result["parts"][part] = found
        # What a long run has so far is not lost.
        write(result, options.output)
        print(as_page(result), flush=True)
    return 0


def measured(
    run: Path, place: Path, config: Config, part: str, file: str, seed: int
) -> dict[str, Any]:
    """Train one student without a part and measure it; once for each seed."""
    from keras_distill.run import lower_case, seed_folders
    from keras_distill.student.training import Lessons, fit_student
    from keras_distill.transfer_set.manifest import Manifest

    note = place / f"seed-{seed}.json"
    if note.is_file():
        return read_json(note)
    lower = lower_case(config, run)
    if part == "all":
        # The run's own students.
        folder, student = run, seed_folders(config, run / "student")[seed]
        lessons = Lessons.of_run(config, run, lower)
    else:
        folder, config = prepared(run, place, config, part, file)
        student = place / f"seed-{seed}"
        lessons = Lessons.of_run(config, folder, lower)
        whole = Manifest.load(run / "transfer_set")
        per_epoch = _updates(config, whole.rows("train"))
        looks = config.student.evaluations_per_epoch
        fit_student(
            config.student,
            lessons,
            student,
            seed,
            max_updates=config.student.epochs * per_epoch,
            updates_per_look=math.ceil(per_epoch / looks),
        )
    kept = Manifest.load(folder / "transfer_set")
    found = {"seed": seed, "rows": kept.rows("train")}
    found["words"] = len(lessons.vocabulary)
    found |= scores(folder, student, lessons, config)
    write(found, note)
    return found


def prepared(
    run: Path, place: Path, config: Config, part: str, file: str
) -> tuple[Path, Config]:
    """Return a folder to learn from, without a part, and its settings."""
    from keras_distill.run import lower_case
    from keras_distill.student.embeddings import write_vocabulary

    student, vectors = config.student, run / "vectors"
    if part == "vocabulary":
        student = dataclasses.replace(student, **_PAPERS_VOCABULARY)
    if part == "vectors":
        student = dataclasses.replace(student, embeddings=file)
        vectors = None
    config = dataclasses.replace(config, student=student)
    folder, lower = place / "run", lower_case(config, run)
    if not (folder / "vocabulary" / "coverage.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "teacher").symlink_to((run / "teacher").resolve())
        (folder / "data").symlink_to((run / "data").resolve())
        filtered(run / "transfer_set", folder / "transfer_set", part)
        if part == "vectors" and file != "none":
            vectors = folder / "vectors"
            vectors.mkdir()
            files_vectors(folder, vectors, config, lower)
        if part in _INSTEAD:
            vectors = folder / "vectors"
            other_vectors(run, vectors, part, lower)
        (folder / "vocabulary").mkdir()
        write_vocabulary(
            config,
            folder,
            folder / "vocabulary",
            lower_case=lower,
            vectors=vectors,
        )
    return folder, config


def files_vectors(
    folder: Path, place: Path, config: Config, lower: bool
) -> None:
    """List the words that there are to choose from, with a file's vectors."""
    from keras_distill.student.embeddings import write_vectors, write_words
    from keras_distill.student.vocabulary import count_words, teacher_tokens
    from keras_distill.transfer_set.manifest import Manifest
    from keras_distill.transfer_set.record import read_texts

    manifest = Manifest.load(folder / "transfer_set")
    files = manifest.files(folder / "transfer_set", "train")
    counts = count_words(read_texts(files, manifest.pair), lower)
    tokens = teacher_tokens(folder / "teacher")
    write_words(place, config.student, counts, tokens, lower)
    write_vectors(place, config.student, None, (), lower, config.seed)


def other_vectors(run: Path, place: Path, part: str, lower: bool) -> None:
    """Make the vectors of a run's words in another way."""
    from keras_distill.files import read_lines
    from keras_distill.student.embeddings import random_vectors, reduced
    from keras_distill.student.vocabulary import SPECIALS, count_words
    from keras_distill.transfer_set.manifest import Manifest
    from keras_distill.transfer_set.record import read_texts

    shutil.copytree(run / "vectors", place)
    file, teacher, found = (
        np.load(place / f"{name}.npy")
        for name in ("vectors", "trainable", "found")
    )
    words, spread = read_lines(place / "words.txt"), float(file[found].std())
    if part == "unfilled":
        drawn = random_vectors([*SPECIALS, *words], file.shape[1], seed=0)
        file = np.where(found[:, None], file, drawn[len(SPECIALS) :])
    if part == "concatenated":
        both = np.concatenate([file * found[:, None], teacher], axis=1)
        file = reduced(both, file.shape[1], spread)
    if part == "weighted":
        manifest = Manifest.load(run / "transfer_set")
        files = manifest.files(run / "transfer_set", "train")
        counts = count_words(read_texts(files, manifest.pair), lower)
        usual = np.array([counts.get(word, 0) for word in words])
        weights = _SMOOTHING / (_SMOOTHING + usual / usual.sum())
        file, teacher = (
            table * weights[:, None] / (table * weights[:, None]).std() * spread
            for table in (file, teacher)
        )
    np.save(place / "vectors.npy", file.astype(np.float32))
    np.save(place / "trainable.npy", teacher.astype(np.float32))


def filtered(source: Path, target: Path, part: str) -> None:
    """Copy a transfer set without the rows of an operator, if part is one."""
    from keras_distill.transfer_set.manifest import Manifest
    from keras_distill.transfer_set.record import (
        SOURCE_NAMES,
        parse,
        read_shard,
        write_shard,
    )

    if part not in _SOURCES:
        target.symlink_to(source.resolve())
        return
    numbers = {name: number for number, name in SOURCE_NAMES.items()}
    unwanted = numbers[_SOURCES[part]]
    target.mkdir()
    manifest, shards = Manifest.load(source), []
    for shard in manifest.shards:
        records = np.array(list(read_shard(source / shard.name)), object)
        if len(records):
            sources = parse(records, manifest.pair)["source"].numpy()
            records = records[sources != unwanted]
        shards.append(write_shard(target / shard.name, records))
    counts = {**manifest.counts, _SOURCES[part]: 0}
    dataclasses.replace(manifest, shards=shards, counts=counts).save(target)


def scores(
    folder: Path, student: Path, lessons: Any, config: Config
) -> dict[str, Any]:
    """Return accuracy, agreement and squared distance of logits by split."""
    import keras

    from keras_distill.metrics import accuracy
    from keras_distill.student import kinds  # noqa: F401 (registers layers)
    from keras_distill.student.dataset import evaluation_dataset
    from keras_distill.student.predictor import StudentPredictor
    from keras_distill.student.text import StudentTokenizer

    model = keras.models.load_model(student / "model.keras", compile=False)
    tokenizer = StudentTokenizer(lessons.vocabulary, lessons.lower_case)
    predictor = StudentPredictor(model, tokenizer, lessons.labels)
    found = {}
    for path in sorted((folder / "transfer_set").glob("*.tfrecord")):
        if path.name.startswith("train-"):
            continue
        said = predictor.predict(
            evaluation_dataset(
                path,
                tokenizer,
                batch_size=256,
                pair=lessons.pair,
                num_classes=len(lessons.labels),
                max_length=config.student.max_length,
            )
        )
        agrees = said.logits.argmax(-1) == said.teacher_logits.argmax(-1)
        squares = np.square(said.logits - said.teacher_logits).sum(-1)
        found[path.stem] = {
            "accuracy": round(100 * accuracy(said.logits, said.labels), 3),
            "agreement": round(100 * float(np.mean(agrees)), 3),
            "distance": round(float(np.mean(squares)), 4),
        }
    return found


def _updates(config: Config, rows: int) -> int:
    """Return the updates of one pass."""
    return math.ceil(rows / config.student.batch_size)


def as_page(result: dict[str, Any]) -> str:
    """Return the table: means over the seeds."""
    splits = [
        name
        for name, value in result["parts"]["all"][0].items()
        if isinstance(value, dict)
    ]
    kinds = ("accuracy", "agreement", "distance")
    head = ["without, or instead", "rows", "words"]
    head += [f"{split} {kind}" for split in splits for kind in kinds]
    rows = []
    for part, seeds in result["parts"].items():
        row = ["nothing" if part == "all" else part]
        row += [f"{seeds[0]['rows']:,}", f"{seeds[0]['words']:,}"]
        for split in splits:
            row += [
                f"{statistics.fmean(one[split][kind] for one in seeds):.2f}"
                for kind in kinds
            ]
        rows.append(row)
    return table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
