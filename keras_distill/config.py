"""The whole configuration of a run: typed, validated, saved as YAML."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from keras_distill.errors import UserError
from keras_distill.files import write_text
from keras_distill.values import at_least, between, build, positive

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
