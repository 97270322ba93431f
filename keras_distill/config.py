"""The whole configuration of a run: typed, validated, saved as YAML."""

import copy
import dataclasses
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from keras_distill.errors import UserError
from keras_distill.files import write_text

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
        _between("data.heldout_fraction", self.heldout_fraction, 0, 0.5)
        _at_least("data.heldout_max", self.heldout_max, 1)
        if self.train_limit is not None:
            _at_least("data.train_limit", self.train_limit, 1)


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
            _positive("teacher.learning_rates", rate)
        _at_least("teacher.epochs", self.epochs, 1)
        _at_least("teacher.batch_size", self.batch_size, 1)
        _at_least("teacher.accumulation", self.accumulation, 1)
        _between("teacher.warmup_fraction", self.warmup_fraction, 0, 1)
        _positive("teacher.clip_norm", self.clip_norm)
        _at_least("teacher.max_length", self.max_length, 4)
        _at_least("teacher.tokens_per_batch", self.tokens_per_batch, 16)


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
        _at_least("augmentation.n_iter", self.n_iter, 0)
        _between("augmentation.p_mask", self.p_mask, 0, 1)
        _between("augmentation.p_pos", self.p_pos, 0, 1)
        _between("augmentation.p_ngram", self.p_ngram, 0, 1)
        _at_least("augmentation.max_ngram", self.max_ngram, 1)
        if self.p_mask + self.p_pos > 1:
            raise UserError(
                "augmentation.p_mask + augmentation.p_pos is "
                f"{self.p_mask + self.p_pos}, expected at most 1: "
                "the two operators exclude each other on a word"
            )
        if self.workers is not None:
            _at_least("augmentation.workers", self.workers, 1)


@dataclass(frozen=True)
class TransferSetConfig:
    """How the transfer set lies on disk."""

    rows_per_shard: int = 20_000

    def __post_init__(self) -> None:
        _at_least("transfer_set.rows_per_shard", self.rows_per_shard, 1)


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
        _at_least("student.lstm_units", self.lstm_units, 1)
        _at_least("student.hidden_units", self.hidden_units, 1)
        _at_least("student.embedding_dim", self.embedding_dim, 1)
        _between("student.dropout", self.dropout, 0, 0.95)
        _at_least("student.vocabulary_size", self.vocabulary_size, 6)
        _at_least("student.min_count", self.min_count, 1)
        _at_least("student.max_length", self.max_length, 1)
        _between("student.alpha", self.alpha, 0, 1)
        _positive("student.temperature", self.temperature)
        if self.learning_rate is not None:
            _positive("student.learning_rate", self.learning_rate)
        _at_least("student.batch_size", self.batch_size, 1)
        _at_least("student.epochs", self.epochs, 1)
        _at_least(
            "student.evaluations_per_epoch", self.evaluations_per_epoch, 1
        )
        _at_least("student.extra_seeds", self.extra_seeds, 0)
        if self.patience is not None:
            _at_least("student.patience", self.patience, 1)


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
        _at_least("seed", self.seed, 0)

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
    return _build(Config, values, "")


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


def _build(cls: type, values: Any, prefix: str) -> Any:
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
        return _build(hint, value, f"{name}.")
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
        if not isinstance(value, bool):
            return str(value)
    elif isinstance(value, kind) and (
        kind is bool or not isinstance(value, bool)
    ):
        return value
    raise UserError(f"{name} is {value!r}, expected {_KINDS[kind]}")


def _at_least(name: str, value: float, low: float) -> None:
    if not value >= low:
        raise UserError(f"{name} is {value}, expected at least {low}")


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(
            f"{name} is {value}, expected a number from {low} to {high}"
        )


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise UserError(f"{name} is {value}, expected a positive number")
