"""The splits of a task: what is learned from, chosen on, reported."""

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_distill.config import Config, DataConfig
from keras_distill.data.answers import (
    Answers,
    classes_said,
    examples_said,
    fold,
    new_texts,
    read_answers,
    read_said,
    texts_by_id,
    texts_of,
    write_answers,
)
from keras_distill.data.classes import (
    class_name,
    doubts,
    rows_in_words,
    shown,
    some_of,
)
from keras_distill.data.dialect import Reading
from keras_distill.data.examples import Example, write_examples
from keras_distill.data.glue import (
    download_glue,
    find_glue_files,
    glue_cache_dir,
    read_glue,
)
from keras_distill.data.holdout import group_phrases, hold_out
from keras_distill.data.tables import (
    LABEL_COLUMN,
    TEXT_COLUMN,
    own_columns,
    read_table,
    read_unlabeled,
)
from keras_distill.data.told import (
    NO_CONSENSUS,
    Told,
    classes_of,
    compared,
    dropped,
    merged,
    warned,
)
from keras_distill.data.weights import check_weights
from keras_distill.display import aligned
from keras_distill.errors import UserError
from keras_distill.files import matching, write_json
from keras_distill.tasks import Task, get_task

logger = logging.getLogger(__name__)

# It ships with the package.
CORPUS = Path(__file__).parent / "corpus"
CORPUS_SPLITS = ("train", "dev", "test")

# What tasks with other data do not read.
_GLUE_ONLY = ("data_dir",)
_CUSTOM_ONLY = (
    *("train_file", "dev_file", "test_file"),
    *("text_pair_column", "label_column", "drop_labels"),
)

# Below this a choice between learning rates or epochs is mostly luck.
_FEW_ROWS = 100

# MNLI and SNLI have no consensus on 2% of their rows.
_MANY_UNSURE = 0.1

# How many classes are listed in the log.
_LISTED_CLASSES = 20


def write_data(config: Config, folder: Path) -> None:
    """Read, check and split a run's examples.

    Args:
        config: The run's configuration.
        folder: Gets `train.jsonl.gz`, `select.jsonl.gz`, the other splits
            there are, `unlabeled.jsonl.gz`, and last `manifest.json` with
            labels, pair, splits (their rows), unlabeled (rows), selected_on,
            files (by use, what there is to tell of each), classes (name,
            rows by split, a sample), merged (spelling, class, rows),
            duplicates, conflicts (texts, rows) and warnings; answers, what
            there is to tell of a teacher's answers, if files have some.

    Raises:
        UserError: A file or setting does not fit, or the disk is full.
    """
    splits = load_splits(config)
    settings = config.data
    splits, answered = _answered(config, splits)
    told, unlabeled = read_unlabeled(
        splits.unlabeled,
        splits.pair,
        settings.text_column,
        settings.text_pair_column,
        reading_of(settings),
    )
    kept = splits.named()
    rows = {
        name: write_examples(folder / f"{name}.jsonl.gz", examples)
        for name, examples in kept.items()
    }
    if answered is not None:
        answers, others, files = answered
        write_answers(folder, answers)
        unlabeled = _joined(unlabeled, answers, others)
    manifest = {
        "labels": splits.labels,
        "pair": splits.pair,
        "splits": rows,
        "unlabeled": write_examples(folder / "unlabeled.jsonl.gz", unlabeled),
        "selected_on": splits.selected_on,
        "files": {
            **{name: [one.as_dict()] for name, one in splits.told.items()},
            "unlabeled": [one.as_dict() for one in told],
        },
        "classes": classes_of(splits.labels, kept),
        "merged": merged(splits.told.values()),
        "duplicates": splits.duplicates,
        "conflicts": splits.conflicts,
        "warnings": [*splits.warnings, *warned(told)],
    }
    if answered is not None:
        manifest["answers"] = answers.facts
        manifest["files"]["answers"] = [one.as_dict() for one in files]
    _log_classes(manifest["classes"])
    write_json(folder / "manifest.json", manifest)


def _answered(
    config: Config, splits: "Splits"
) -> tuple["Splits", tuple[Answers, list[Example], list[Told]] | None]:
    """Read what a teacher said of texts, if files have that.

    Returns:
        The splits, with texts of their own labels joined to `train`; the
        answers, the texts that have no label, and what there is to tell.
    """
    paths = [Path(name) for name in config.teacher.logits]
    if not paths:
        return splits, None
    # What a limit leaves out is not new, nor is its id unknown.
    known = splits.named() | {"train": splits.unlimited or splits.train}
    answers, told = read_answers(
        paths,
        own_columns(config.data, splits.pair),
        splits.labels,
        known,
        config.teacher.confidence,
        reading_of(config.data),
        _labelled(config, splits),
    )
    new = new_texts(answers, known)
    train = [*splits.train, *(e for e in new if e.label is not None)]
    answers.facts["coverage"]["train"] = answers.share(train)
    _warn_of_golds(splits, answers, known)
    for name, (found, rows) in answers.facts["coverage"].items():
        if config.teacher.alone and name != "train" and found < rows:
            splits.warn(
                f"{found:,} of {rows:,} rows of {name} have an answer of the "
                "teacher: it is not measured there"
            )
    if config.data.train_file is None and config.task == "custom":
        own = len(answers.logits) - len(answers.golds)
        answers.facts["own_golds"] = _own_golds(answers, splits)
        if own:
            splits.warn(
                f"{rows_in_words(own)} of the teacher's answers have no gold "
                "label: its own answer stands for it, also where the student "
                "is chosen and measured"
            )
    rest = [example for example in new if example.label is None]
    return replace(splits, train=train), (answers, rest, told)


def _labelled(config: Config, splits: "Splits") -> list[str]:
    """Return the splits that choose and whose labels people gave."""
    if config.data.train_file is not None or config.task != "custom":
        return ["train", "select"]
    given = splits.selected_on == "dev" and "dev" in splits.told
    return ["select"] if given else []


def _own_golds(answers: Answers, splits: "Splits") -> list[str]:
    """Return the splits where every gold label is the teacher's answer."""
    # A dev file that chooses is `select` by now.
    files = {"select"} if splits.selected_on == "dev" else set()
    files = {*splits.told, *(files if "dev" in splits.told else ())}
    return [
        name
        for name, rows in splits.named().items()
        if name not in files
        and not any(texts_of(row) in answers.golds for row in rows)
    ]


def _warn_of_golds(
    splits: "Splits", answers: Answers, known: dict[str, list[Example]]
) -> None:
    """Point out gold labels that are others in the data files."""
    golds = answers.golds
    other = sum(
        golds.get(texts_of(example), example.label) != example.label
        for example in itertools.chain.from_iterable(known.values())
        if example.label is not None
    )
    if other:
        splits.warn(
            f"{rows_in_words(other)} of the data files have another label "
            "than the teacher's file says in gold: that of the data files "
            "counts"
        )


def _joined(
    files: Iterable[Example], answers: Answers, others: Iterable[Example]
) -> Iterator[Example]:
    """Yield the unlabelled files' texts, then the others that they lack."""
    seen = set()
    for example in files:
        if answers.of(example) is not None:
            seen.add(texts_of(example))
        yield example
    yield from (e for e in others if texts_of(e) not in seen)


def _log_classes(classes: list[dict[str, Any]]) -> None:
    """Log a line of each class, aligned."""
    table = [
        [one["name"], *(f"{n:,} {split}" for split, n in one["rows"].items())]
        for one in classes[:_LISTED_CLASSES]
    ]
    for line in aligned(table).splitlines():
        logger.info("class %s", line)
    if len(classes) > _LISTED_CLASSES:
        logger.info("and %d more classes", len(classes) - _LISTED_CLASSES)


@dataclass(frozen=True)
class Splits:
    """The examples of a run.

    Attributes:
        labels: Class names in logit order.
        pair: Whether examples have two texts.
        train: What teacher and students learn from.
        dev: What is reported; `select` itself when `selected_on` is `dev`.
        dev_mismatched: MNLI's second dev set, reported too.
        test: A labelled test set, reported too.
        select: What chooses learning rate, epoch and the like.
        selected_on: `heldout` when `select` is a part of train that was set
            aside, `dev` when it is dev.
        unlimited: `train` before a limit; None where there is none.
        unlabeled: Files of unlabelled text, not read yet.
        told: What there is to tell of the other files, by use.
        duplicates: Rows that repeat another one of the training file.
        conflicts: `texts` there that have several labels, and their `rows`.
        warnings: What may be wrong, each on a line, marked as a warning.
    """

    labels: list[str]
    pair: bool
    train: list[Example]
    dev: list[Example] | None = None
    dev_mismatched: list[Example] | None = None
    test: list[Example] | None = None
    # The files do not say these.
    select: list[Example] | None = None
    selected_on: str = ""
    unlimited: list[Example] | None = None
    unlabeled: Sequence[Path] = ()
    told: dict[str, Told] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def named(self) -> dict[str, list[Example]]:
        """Return the examples by split; dev that chooses is `select`."""
        splits = {
            "train": self.train,
            "select": self.select,
            "dev": None if self.selected_on == "dev" else self.dev,
            "dev_mismatched": self.dev_mismatched,
            "test": self.test,
        }
        return {name: rows for name, rows in splits.items() if rows is not None}

    def warn(self, line: str) -> None:
        """Log a warning and keep it."""
        self.warnings.append(f"warning: {line}")
        logger.warning("warning: %s", line)


def load_splits(config: Config) -> Splits:
    """Read a run's data and decide which split chooses and which reports.

    With dev and labelled test: dev chooses, test is reported (and dev).
    With dev alone, as GLUE has it: a part of train is held out for choosing
    and dev stays untouched. With test alone: the held-out part is dev. With
    neither: dev is held out too. `data.select_on` overrides the first two.
    """
    task = get_task(config.task)
    settings = config.data
    check_settings(config)
    unlabeled = matching(settings.unlabeled)
    # Nobody would label them.
    if task.name == "quick" and not config.teacher.alone:
        unlabeled.append(CORPUS / "unlabeled.txt")
    for path in unlabeled:
        if not path.is_file():
            raise UserError(f"cannot read {path}: no such file")
    if task.name == "custom" and settings.train_file is None:
        read = _read_answers_alone(config)
    elif task.name == "custom":
        read = _read_custom(settings)
    elif task.name == "quick":
        read = _read_quick(task, settings)
    else:
        read = _read_glue(task, settings)
    read.warnings.extend(warned(read.told.values()))
    _check_classes(read, settings)
    check_weights(config.classes, read.labels)
    read = _compared(read)
    _warn_of_overlap(read)
    splits = _decide(read, settings, config.seed)
    _warn_of_tiny_classes(read, splits)
    train, unlimited = splits.train, None
    if settings.train_limit is not None:
        unlimited = train
        every = {example.label for example in train}
        train = _sample(train, settings.train_limit, config.seed)
        lost = every - {example.label for example in train}
        if lost:
            raise UserError(
                f"data.train_limit is {settings.train_limit}, which leaves no "
                f"training row of the class {splits.labels[min(lost)]!r}; "
                "expected more"
            )
    logger.info(
        "data: %d rows to train on, %d to choose on (%s), %d in dev%s",
        len(train),
        len(splits.select),
        splits.selected_on,
        len(splits.dev),
        "" if splits.test is None else f", {len(splits.test)} in test",
    )
    return replace(
        splits, train=train, unlimited=unlimited, unlabeled=unlabeled
    )


def check_settings(config: Config) -> None:
    """Look, before any file is, whether the settings are the task's.

    Raises:
        UserError: The task needs another setting, or does not read one.
    """
    task, settings = get_task(config.task), config.data
    answered = bool(config.teacher.logits)
    if task.name == "custom" and settings.train_file is None and not answered:
        raise UserError(
            "--task custom: data.train_file is missing, expected a CSV, TSV, "
            "JSON or Parquet file (--train-file)"
        )
    glue = "GLUE's by --task sst2, qqp or mnli"
    if task.name == "custom":
        unfit, hint = _GLUE_ONLY, f"your files come by --train-file, {glue}"
    elif task.name == "quick":
        unfit = _CUSTOM_ONLY + _GLUE_ONLY
        hint = f"your files come by --task custom, {glue}"
    else:
        unfit = _CUSTOM_ONLY
        hint = "GLUE's files come by --data-dir, yours by --task custom"
    for name in unfit:
        if getattr(settings, name) is not None:
            raise UserError(
                f"data.{name} is {getattr(settings, name)!r}, but --task "
                f"{task.name} does not read it: {hint}"
            )
    if settings.labels is None:
        return
    if len(settings.labels) < 2:
        raise UserError(
            f"data.labels is {settings.labels}, expected at least two classes"
        )
    names = [class_name(name) for name in settings.labels]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise UserError(
            f"data.labels names {repeated[0]!r} twice, expected "
            "different class names"
        )
    for name in map(class_name, settings.drop_labels or ()):
        if name in names:
            raise UserError(
                f"data.drop_labels names {name!r}, which data.labels has as "
                "a class; expected it in one of them"
            )


def reading_of(settings: DataConfig) -> Reading:
    """Return what a configuration says of how the user's files are written."""
    return Reading(settings.encoding, settings.separator, settings.header)


def _read_custom(settings: DataConfig) -> Splits:
    columns = (
        settings.text_column or TEXT_COLUMN,
        settings.text_pair_column,
        settings.label_column or LABEL_COLUMN,
    )
    files = {
        "train": settings.train_file,
        "dev": settings.dev_file,
        "test": settings.test_file,
    }
    told = {
        n: Told(Path(path)) for n, path in files.items() if path is not None
    }
    drop = settings.drop_labels or ()
    labels = settings.labels and [class_name(name) for name in settings.labels]
    read: dict[str, list[Example]] = {}
    for name, one in told.items():
        # The training file comes first and tells the classes.
        read[name], labels = read_table(
            one.path,
            *columns,
            labels,
            drop=drop,
            reading=reading_of(settings),
            told=one,
        )
    splits = Splits(
        labels, settings.text_pair_column is not None, **read, told=told
    )
    skipped = set().union(*(one.skipped for one in told.values()))
    unseen = [n for n in map(class_name, drop) if dropped(n) not in skipped]
    if unseen:
        splits.warn(
            "no row has a label that --drop-labels names: "
            + some_of([shown(name) for name in unseen[:5]], len(unseen))
        )
    return splits


def _read_answers_alone(config: Config) -> Splits:
    """Take the texts that a teacher answered for the training data."""
    settings = config.data
    pair = settings.text_pair_column is not None
    labels = settings.labels and [class_name(name) for name in settings.labels]
    rows = [
        row
        for name in config.teacher.logits
        for row in read_said(
            Told(Path(name)),
            own_columns(settings, pair),
            reading_of(settings),
        )
    ]
    labels = labels or classes_said(rows)
    if len(labels) < 2:
        raise UserError(
            f"{rows[0].place}: the file's classes are {labels}, expected at "
            "least two"
        )
    read: dict[str, list[Example]] = {}
    told = {}
    for name in ("dev", "test"):
        if (path := getattr(settings, f"{name}_file")) is not None:
            told[name] = Told(Path(path))
            read[name], _ = read_table(
                told[name].path,
                *own_columns(settings, pair),
                *(() if pair else (None,)),
                settings.label_column or LABEL_COLUMN,
                labels,
                drop=settings.drop_labels or (),
                reading=reading_of(settings),
                told=told[name],
            )
    answers = fold(rows, labels, config.teacher.confidence, texts_by_id(read))
    # They are there to measure the teacher on, and nobody learns from them.
    held = {texts_of(e) for name in told for e in read[name]}
    read["train"] = [
        e for e in examples_said(answers) if texts_of(e) not in held
    ]
    return Splits(labels, pair, **read, told=told)


def _read_quick(task: Task, settings: DataConfig) -> Splits:
    if settings.labels not in (None, list(task.labels)):
        raise UserError(
            f"data.labels is {settings.labels}, but --task quick has its "
            f"own, expected {list(task.labels)}"
        )
    told = {split: Told(CORPUS / f"{split}.tsv") for split in CORPUS_SPLITS}
    splits = {split: read_corpus(split, one) for split, one in told.items()}
    return Splits(list(task.labels), task.pair, **splits, told=told)


def _read_glue(task: Task, settings: DataConfig) -> Splits:
    if settings.data_dir is not None:
        folder = Path(settings.data_dir)
    else:
        folder = download_glue(task.name, glue_cache_dir())
    files = find_glue_files(task.name, folder)
    labels = settings.labels or list(task.labels)
    splits, told = {}, {}
    for split in ("train", "dev", "dev_mismatched"):
        if split in files:
            told[split] = Told(files[split])
            splits[split] = read_glue(
                task.name, files[split], labels, True, told[split]
            )
        elif split != "dev_mismatched":
            raise UserError(
                f"{folder} holds no {split} file for {task.name}, found: "
                + ", ".join(path.name for path in files.values())
            )
    # Most rows are phrases of a few thousand sentences: keep them together.
    if task.name == "sst2":
        splits["train"] = group_phrases(splits["train"])
    return Splits(labels, task.pair, **splits, told=told)


def _check_classes(read: Splits, settings: DataConfig) -> None:
    if len(read.labels) < 2:
        train = read.told.get("train")
        unsure = train.skipped[NO_CONSENSUS] if train else 0
        raise UserError(
            f"the training data has the classes {read.labels}, expected "
            "at least two"
            + f"; {unsure:,} rows of - were skipped, which --labels="
            f"{','.join(['-', *read.labels])} makes a class" * bool(unsure)
        )
    counts = Counter(read.labels[example.label] for example in read.train)
    for name in read.labels:
        if not counts[name]:
            read.warn(f"no training row has the label {name!r}")
    for name, told in read.told.items():
        unsure = told.skipped[NO_CONSENSUS]
        if unsure > _MANY_UNSURE * told.rows:
            read.warn(
                f"{unsure:,} of {rows_in_words(told.rows)} of {name} were "
                "skipped because their label says that there is none (- or "
                "-1): if it is a class, name it in --labels"
            )
    if settings.labels is None:
        for line in doubts(counts):
            read.warn(line)


def _compared(read: Splits) -> Splits:
    """Count the training rows that repeat or contradict each other."""
    duplicates, conflicts, most = compared(read.train)
    if duplicates:
        logger.info("%s of train repeat another", rows_in_words(duplicates))
    if texts := conflicts["texts"]:
        read.warn(
            f"{texts:,} {'text has' if texts == 1 else 'texts have'} "
            f"{'two' if most == 2 else 'several'} labels "
            f"({rows_in_words(conflicts['rows'])})"
        )
    return replace(read, duplicates=duplicates, conflicts=conflicts)


def _warn_of_tiny_classes(read: Splits, splits: Splits) -> None:
    """Point out classes that cannot stand in every split."""
    count = len({"train", splits.selected_on, "dev"})
    count += splits.test is not None
    rows = Counter(example.label for example in read.train)
    tiny = [
        f"{shown(name)} ({rows_in_words(rows[place])})"
        for place, name in enumerate(read.labels)
        if 0 < rows[place] < count
    ]
    if tiny:
        splits.warn(
            f"classes with fewer training rows than there are splits "
            f"({count}), which some splits lack: {some_of(tiny[:5], len(tiny))}"
        )


def _warn_of_overlap(read: Splits) -> None:
    known = {(e.text_a, e.text_b) for e in read.train}
    for name in ("dev", "dev_mismatched", "test"):
        examples = getattr(read, name)
        shared = sum((e.text_a, e.text_b) in known for e in examples or ())
        if shared:
            read.warn(
                f"{shared} of {len(examples)} rows of {name} are in train too"
            )


def _decide(read: Splits, settings: DataConfig, seed: int) -> Splits:
    """Say what chooses, held out where it must be, and what is reported."""
    choice = settings.select_on
    if choice == "dev" and read.dev is None:
        raise UserError(
            "data.select_on is dev, but there is no dev file; expected one "
            "(--dev-file), or heldout"
        )
    if choice == "auto":
        both = read.dev is not None and read.test is not None
        choice = "dev" if both else "heldout"
    if choice == "dev":
        return replace(read, select=read.dev, selected_on="dev")
    train, dev = read.train, read.dev
    if dev is None and read.test is None:
        train, dev = _hold_out(read, train, settings, seed, "reporting")
    train, select = _hold_out(read, train, settings, seed, "choosing")
    return replace(
        read,
        train=train,
        dev=select if dev is None else dev,
        select=select,
        selected_on="dev" if dev is None else "heldout",
    )


def _hold_out(
    read: Splits,
    train: list[Example],
    settings: DataConfig,
    seed: int,
    purpose: str,
) -> tuple[list[Example], list[Example]]:
    rest, held = hold_out(
        train, settings.heldout_fraction, settings.heldout_max, seed
    )
    if not held:
        raise UserError(
            f"data.heldout_fraction is {settings.heldout_fraction}, which "
            f"leaves no rows for {purpose}; expected more, or a dev file "
            "and data.select_on dev"
        )
    if len(held) < _FEW_ROWS:
        read.warn(
            f"only {len(held)} rows are held out for {purpose}; a larger "
            "data.heldout_fraction makes that less of a lottery"
        )
    return rest, held


def _sample(examples: list[Example], limit: int, seed: int) -> list[Example]:
    """Draw `limit` examples, in their order, by a hash of seed and place."""
    if limit >= len(examples):
        return examples

    def draw(place: int) -> bytes:
        return hashlib.blake2b(f"{seed} {place}".encode()).digest()

    chosen = sorted(range(len(examples)), key=draw)[:limit]
    return [examples[place] for place in sorted(chosen)]


def read_corpus(split: str, told: Told | None = None) -> list[Example]:
    """Read `train`, `dev` or `test` of the corpus; label 1 is positive."""
    path, labels = CORPUS / f"{split}.tsv", get_task("quick").labels
    columns = (TEXT_COLUMN, None, LABEL_COLUMN)
    return read_table(path, *columns, labels, told=told)[0]


def corpus_files() -> list[Path]:
    """Return all files of the corpus."""
    names = [*(f"{split}.tsv" for split in CORPUS_SPLITS), "unlabeled.txt"]
    return [CORPUS / name for name in names]
