"""Every knob of a run, once: its type, default, range, flag and help.

A field of a section says all there is to say about a knob; the checks, YAML,
`--set` and the command line (`options.py`) follow from the fields.
"""

import contextlib
import copy
import dataclasses
import itertools
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from keras_distill.errors import UserError
from keras_distill.files import write_text
from keras_distill.tasks import get_task

STAGES = (
    "data",
    "teacher",
    "vectors",
    "augment",
    "label",
    "vocabulary",
    "student",
    "baseline",
    "export",
    "report",
)


# The kinds of students, from small to large, and how many texts they take.
KIND_TEXTS = {
    "linear": (1,),
    "bag": (1, 2),
    "cnn": (1, 2),
    "bilstm": (1, 2),
    "attention": (1, 2),
    "interaction": (2,),
}


def fitting_kinds(pair: bool) -> list[str]:
    """Return the kinds of students that take a text, or a pair."""
    return [kind for kind, texts in KIND_TEXTS.items() if 1 + pair in texts]


def check_kind(kind: str, pair: bool) -> None:
    """Refuse a kind of student that does not take a text, or a pair."""
    if kind not in fitting_kinds(pair):
        raise UserError(
            f"student.kind (--kind) is {kind}, which takes "
            f"{'no pairs of texts' if pair else 'pairs of texts alone'}; "
            f"expected one of: {', '.join(fitting_kinds(pair))}"
        )


def knob(
    default: Any = None,
    flag: str | None = None,
    help: str = "",
    *,
    metavar: str | None = None,
    least: float | None = None,
    most: float | None = None,
    positive: bool = False,
    commas: bool = False,
) -> Any:
    """Return a field of a section: one value that a user may choose.

    Args:
        default: Its value when nobody chooses.
        flag: Its own flag; without one it is reached by `--set` and YAML.
            The flag of a switch takes no value and turns the default round;
            that of a list of numbers takes them with commas between them,
            that of a list of text with blanks.
        help: What `--help` says of the flag; the default is added to it.
        metavar: What `--help` calls the value, in place of its name.
        least: No value below it is taken.
        most: No value above it is taken.
        positive: Only finite values above 0 are taken.
        commas: Whether the flag of a list of text has commas too, in place
            of blanks.
    """
    about: dict[str, Any] = {"flag": flag, "help": help, "metavar": metavar}
    about |= {"least": least, "most": most, "positive": positive}
    about["commas"] = commas
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=about)
    return field(default=default, metadata=about)


def _section(cls: type, group: str) -> Any:
    """Return a field of `Config`: a section, its flags in a group of help."""
    return field(default_factory=cls, metadata={"group": group})


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from and how they are split."""

    data_dir: str | None = knob(None, "--data-dir", "folder with GLUE's files")
    train_file: str | None = knob(
        None, "--train-file", "CSV, TSV, JSON, Parquet"
    )
    dev_file: str | None = knob(None, "--dev-file", "rows to choose on")
    test_file: str | None = knob(None, "--test-file", "rows to report on")
    text_column: str | None = knob(None, "--text-column", "default: text")
    text_pair_column: str | None = knob(
        None, "--text-pair-column", "the second text of pairs"
    )
    label_column: str | None = knob(None, "--label-column", "default: label")
    labels: list[str] | None = knob(
        None,
        "--labels",
        "the classes, in the order of the logits; default: those of the "
        "training file",
        metavar="NAME[,NAME...]",
        commas=True,
    )
    drop_labels: list[str] | None = knob(
        None, "--drop-labels", "classes whose rows are skipped", metavar="NAME"
    )
    encoding: str | None = knob(
        None, "--encoding", "of files that are not UTF-8, such as cp1252"
    )
    separator: str | None = knob(
        None,
        "--separator",
        "of tables, where it is not told from the header: comma, semicolon, "
        "tab, pipe or a character",
    )
    header: bool = knob(
        True, "--no-header", "tables begin with a row; columns are 1, 2, ..."
    )
    select_on: Literal["auto", "heldout", "dev"] = knob(
        "auto",
        "--select-on",
        "what learning rate and epoch are chosen on: auto, heldout or dev",
    )
    unlabeled: list[str] = knob(
        [], "--unlabeled", "text without labels", metavar="FILE"
    )
    heldout_fraction: float = knob(0.05, least=0, most=0.5)
    heldout_max: int = knob(5000, least=1)
    train_limit: int | None = knob(least=1)


@dataclass(frozen=True)
class TeacherConfig:
    """The teacher: which checkpoint, and how it is fine-tuned."""

    names: list[str] = knob(
        ["bert-large-uncased"],
        "--teacher",
        "a folder, an installed package or a name on the Hugging Face hub",
        metavar="NAME",
    )
    checkpoints: list[str] = knob(
        [],
        "--teacher-checkpoint",
        "a teacher that is fine-tuned already",
        metavar="FOLDER",
    )
    epochs: int = knob(
        3, "--teacher-epochs", "epochs at each learning rate", least=1
    )
    batch_size: int = knob(32, least=1)
    accumulation: int = knob(1, least=1)
    warmup_fraction: float = knob(0.1, least=0, most=1)
    clip_norm: float = knob(1.0, positive=True)
    max_length: int = knob(128, least=4)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = knob(
        "auto", "--precision", "auto, float32, bfloat16 or float16"
    )
    tokens_per_batch: int = knob(8192, least=16)
    learning_rates: list[float] = knob(
        [2e-5, 3e-5, 4e-5, 5e-5],
        "--teacher-lr",
        "rates to try",
        metavar="LR[,LR...]",
        positive=True,
    )
    cased: bool | None = knob(None, "--cased", "the student keeps case")
    ensemble: int | None = knob(
        None,
        "--teacher-ensemble",
        "so many label together: the best runs of all teachers and rates "
        "(default: the best run of each teacher)",
        metavar="N",
        least=1,
    )
    classes: list[str] | None = knob(
        None,
        "--teacher-classes",
        "what a fine-tuned checkpoint's classes are called in the task",
        metavar="ITS=OURS[,ITS=OURS...]",
        commas=True,
    )

    logits: list[str] = knob(
        [],
        "--teacher-logits",
        "what a teacher said of texts: logits, probabilities or labels",
        metavar="FILE",
    )
    confidence: float = knob(0.9, least=0.51, most=0.9999)

    def __post_init__(self) -> None:
        if not self.learning_rates:
            raise UserError("teacher.learning_rates is empty")
        if self.logits and self.checkpoints:
            raise UserError(
                "--teacher-logits: found --teacher-checkpoint too, which "
                "learns nothing more; expected --teacher NAME, which learns "
                "from the file, or none to take its logits as they are"
            )
        if not self.sources and not self.logits:
            raise UserError("teacher.names is empty, expected a name")
        alike = ["names", "checkpoints"]
        if self.ensemble is not None:
            # Two runs of one rate are one and the same.
            alike.append("learning_rates")
        for key in alike:
            given = getattr(self, key)
            twice = [name for name in given if given.count(name) > 1]
            if twice:
                raise UserError(f"teacher.{key} has {twice[0]} twice")
        if self.classes is not None and not self.checkpoints:
            raise UserError(
                "--teacher-classes says what the classes of a "
                "--teacher-checkpoint are called, and there is none; one "
                "that is fine-tuned here gets the task's classes"
            )
        if self.ensemble is not None:
            self._check_ensemble(self.ensemble)

    @property
    def alone(self) -> bool:
        """Whether files of logits are all there is of a teacher."""
        return bool(self.logits) and not self.names

    def _check_ensemble(self, wanted: int) -> None:
        if self.checkpoints:
            raise UserError(
                "--teacher-ensemble chooses among the runs that are "
                "fine-tuned here; every --teacher-checkpoint labels as it is"
            )
        if wanted > len(self.runs):
            raise UserError(
                f"--teacher-ensemble {wanted}: expected at most "
                f"{len(self.runs)}, the runs there are: {len(self.names)} "
                f"--teacher at {len(self.learning_rates)} --teacher-lr"
            )

    @property
    def sources(self) -> list[str]:
        """What teachers are loaded from: fine-tuned checkpoints, or names."""
        return self.checkpoints or self.names

    @property
    def runs(self) -> list[tuple[str, float]]:
        """What is fine-tuned, in order: each name at each learning rate."""
        return list(itertools.product(self.names, self.learning_rates))

    @property
    def members(self) -> int:
        """How many checkpoints label together."""
        if self.checkpoints:
            return len(self.checkpoints)
        return self.ensemble or len(self.names)


@dataclass(frozen=True)
class AugmentationConfig:
    """The transfer set's construction.

    Tang et al. 2019, section 3.3: `n_iter`, `p_mask`, `p_pos`, `p_ngram`,
    `max_ngram`. Beyond the paper: `neighbours`, `joined` and `mined`, each
    with rows of its own. `unlabeled` makes noised copies of the unlabelled
    texts too, which the paper does with the training set only.
    """

    n_iter: int = knob(
        20,
        "--n-iter",
        "noised copies of each text, before duplicates are dropped",
        least=0,
    )
    p_mask: float = knob(0.1, least=0, most=1)
    p_pos: float = knob(0.1, least=0, most=1)
    p_ngram: float = knob(0.25, least=0, most=1)
    max_ngram: int = knob(5, least=1)
    neighbours: int = knob(
        0,
        "--neighbours",
        "copies of each text with words swapped for their nearest ones",
        least=0,
    )
    p_neighbour: float = knob(0.2, least=0, most=1)
    joined: int = knob(
        0,
        "--joined",
        "for each sentence, so many that are joined to another (no pairs)",
        least=0,
    )
    mined: int = knob(
        0,
        "--mined",
        "for each first text of a pair, so many new pairs out of the corpus",
        least=0,
    )
    pos_tagger: Literal["nltk", "none"] = knob(
        "nltk",
        "--pos-tagger",
        "nltk, or none to go without replacement by part of speech",
    )
    unlabeled: bool = knob(False)
    workers: int | None = knob(least=1)

    def __post_init__(self) -> None:
        if self.p_mask + self.p_pos > 1:
            raise UserError(
                "augmentation.p_mask + augmentation.p_pos is "
                f"{self.p_mask + self.p_pos}, expected at most 1: "
                "the two operators exclude each other on a word"
            )


@dataclass(frozen=True)
class TransferSetConfig:
    """How the transfer set lies on disk."""

    rows_per_shard: int = knob(20_000, least=1)


@dataclass(frozen=True)
class StudentConfig:
    """The student and its training (Tang et al. 2019, section 4.2).

    Beyond the paper, for words that training lacks: `open_vocabulary` adds
    words that have a vector, `word_pieces` adds pieces to split all others
    into. In training a word that is not among the most frequent ones is read
    in pieces with the chance `piece_rate`, where there are pieces, and any
    word as `[UNK]` with the chance `unknown_rate`. `averaging` has the running
    mean of the weights answer, over about that share of all updates.
    """

    kind: Literal[
        "linear", "bag", "cnn", "bilstm", "attention", "interaction"
    ] = knob(
        "bilstm",
        "--kind",
        "of student, from small to large: linear, bag, cnn, bilstm, "
        "attention, interaction (pairs)",
    )
    lstm_units: int = knob(150, least=1)
    hidden_units: int = knob(200, least=1)
    filters: int = knob(100, least=1)
    embeddings: str = knob(
        "none",
        "--embeddings",
        "word vectors: a word2vec, GloVe or fastText file; teacher (its own); "
        "FILE,teacher (fills what the file lacks); word2vec (trained on the "
        "run's text); none",
    )
    embedding_mode: Literal[
        "static", "non-static", "multichannel", "random"
    ] = knob(
        "multichannel",
        "--embedding-mode",
        "static, non-static, multichannel or random",
    )
    embedding_dim: int = knob(300, least=1)
    dropout: float = knob(0.0, least=0, most=0.95)
    vocabulary_size: int = knob(30_000, least=6)
    min_count: int = knob(1, least=1)
    open_vocabulary: bool = knob(False)
    word_pieces: bool = knob(False)
    piece_rate: float = knob(0.1, least=0, most=1)
    unknown_rate: float = knob(0.0, least=0, most=1)
    max_length: int = knob(128, least=1)
    alpha: float = knob(
        0.0, "--alpha", "weight of gold labels", least=0, most=1
    )
    loss: Literal["mse", "kl"] = knob("mse", "--loss", "mse or kl")
    temperature: float = knob(1.0, positive=True)
    optimizer: Literal["adadelta", "adam"] = knob("adadelta")
    learning_rate: float | None = knob(positive=True)
    epochs: int = knob(30, "--epochs", "of the students", least=1)
    batch_size: int = knob(50, "--batch-size", "of the students", least=1)
    averaging: float = knob(0.0, least=0, most=1)
    patience: int | None = knob(least=1)
    evaluations_per_epoch: int = knob(1, least=1)
    extra_seeds: int = knob(
        0, "--extra-seeds", "more students, for mean and spread", least=0
    )


@dataclass(frozen=True)
class BaselineConfig:
    """The undistilled student, which may make as many updates as the other.

    It stops after `patience` looks in a row without a better one; null lets
    it go on to the last update.
    """

    enabled: bool = knob(
        True, "--no-baseline", "do not train the undistilled student"
    )
    patience: int | None = knob(20, least=1)


@dataclass(frozen=True)
class ClassesConfig:
    """What a class counts for where some are rarer than others.

    `weights` are those of gold labels, in the cross-entropy of teacher and
    students: `balanced`, or NAME=W for some classes (the others weigh 1).
    """

    weights: list[str] = knob(
        [],
        "--class-weights",
        "of gold labels, for teacher and students: balanced, or so much for "
        "some classes (the others: 1)",
        metavar="balanced|NAME=W[,NAME=W...]",
        commas=True,
    )
    balance: bool = knob(
        False,
        "--balance",
        "the students draw rows of every class equally often",
    )
    select_metric: Literal["accuracy", "f1", "macro_f1", "mcc"] | None = knob(
        None,
        "--select-metric",
        "what learning rate and epoch are chosen by: accuracy (as all tasks "
        "do), f1, macro_f1 or mcc",
    )

    def __post_init__(self) -> None:
        named = self.named
        if len(named) < len(self.weights) and not self.balanced:
            raise UserError(
                f"classes.weights is {self.weights}, expected every class once"
            )

    @property
    def balanced(self) -> bool:
        """Whether classes weigh the more the rarer they are."""
        return self.weights == ["balanced"]

    @property
    def of_students(self) -> "ClassesConfig":
        """What students take of it.

        Where they draw all classes equally often, `balanced` is done.
        """
        if self.balanced and self.balance:
            return dataclasses.replace(self, weights=[])
        return self

    @property
    def named(self) -> dict[str, float]:
        """The weights that were given, by the names as they were given."""
        found = {}
        for one in [] if self.balanced else self.weights:
            name, _, text = one.rpartition("=")
            weight = 0.0
            with contextlib.suppress(ValueError):
                weight = float(text)
            if not name or not 0 < weight < float("inf"):
                raise UserError(
                    f"classes.weights (--class-weights) has {one!r}, expected "
                    "NAME=W with a positive number, such as spam=3, or "
                    "balanced alone"
                )
            found[name] = weight
        return found


@dataclass(frozen=True)
class Config:
    """One run, enough to repeat it."""

    task: str = "quick"
    recipe: Literal["paper", "best"] = "paper"
    seed: int = knob(42, least=0)
    data: DataConfig = _section(DataConfig, "data")
    teacher: TeacherConfig = _section(TeacherConfig, "teacher")
    augmentation: AugmentationConfig = _section(
        AugmentationConfig, "transfer set"
    )
    transfer_set: TransferSetConfig = _section(
        TransferSetConfig, "transfer set"
    )
    student: StudentConfig = _section(StudentConfig, "student")
    baseline: BaselineConfig = _section(BaselineConfig, "student")
    classes: ClassesConfig = _section(ClassesConfig, "classes")

    @property
    def metric(self) -> str:
        """What learning rate and epoch are chosen by."""
        return self.classes.select_metric or get_task(self.task).metric

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
    return _build(Config, values)


def load_config(path: Path) -> dict[str, Any]:
    """Read a YAML configuration as nested dictionaries, not yet validated.

    Raises:
        UserError: The file is missing or is not a YAML mapping.
    """
    try:
        values = _read_yaml(Path(path).read_text(encoding="utf-8"), Config)
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
    if isinstance(values.get("teacher"), dict):
        values["teacher"] = _several(values["teacher"])
    return values


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Set `section.key` in nested dictionaries, in place.

    Raises:
        UserError: A part of the key before its last holds a plain value.
    """
    *sections, last = key.split(".")
    for section in sections:
        values[section] = _unfolded(values.get(section, {}))
        values = values[section]
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


def override(values: dict[str, Any], assignment: str) -> None:
    """Apply one `section.key=value` to nested dictionaries, in place.

    The value is read as YAML, so `0.3`, `true`, `null` and `[1, 2]` work.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UserError(
            f"--set {assignment}: expected section.key=value, "
            "for example student.alpha=0.3"
        )
    try:
        value = _read_yaml(text, _hint(key.strip()))
    except yaml.YAMLError as error:
        raise UserError(f"--set {assignment}: not a YAML value") from error
    assign(values, key.strip(), value)


def _read_yaml(text: str, hint: Any) -> Any:
    """Read YAML; what the hint says is text stays as it is written there.

    YAML 1.1 has numbers, truths and dates where people mean names: 01, NO,
    12:30, 2024-01-01.
    """
    value = yaml.safe_load(text)
    return _as_written(value, yaml.load(text, yaml.BaseLoader), hint)


def _as_written(value: Any, text: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        hints = {item.name: item.type for item in dataclasses.fields(hint)}
        if not isinstance(value, dict) or not isinstance(text, dict):
            return value
        return {
            key: _as_written(item, text.get(key), hints.get(key))
            for key, item in value.items()
        }
    plain = without_none(hint)
    if plain == list[str] and isinstance(value, list):
        return [
            t if isinstance(t, str) else v
            for v, t in zip(value, text, strict=True)
        ]
    named = plain is str and value is not None
    return text if named and isinstance(text, str) else value


def _hint(key: str) -> Any:
    """Return the type of a knob or a section, None where there is none."""
    hint: Any = Config
    for name in key.split("."):
        if not dataclasses.is_dataclass(hint):
            return None
        hints = {item.name: item.type for item in dataclasses.fields(hint)}
        hint = hints.get(name)
    return hint


def _several(teacher: dict[str, Any]) -> dict[str, Any]:
    """Return a teacher of a file from when there was but one, as several."""
    names = {"name": "names", "checkpoint": "checkpoints"}
    one = {names[k]: [v] if v else [] for k, v in teacher.items() if k in names}
    return {k: v for k, v in teacher.items() if k not in names} | one


def _unfolded(value: Any) -> Any:
    """Return `baseline: false`, as it was once written, as a section."""
    return {"enabled": value} if isinstance(value, bool) else value


def _build(cls: Any, values: Any, prefix: str = "") -> Any:
    """Make a dataclass, and those inside it, from nested dictionaries."""
    if cls is BaselineConfig:
        values = _unfolded(values)
    if not isinstance(values, dict):
        raise UserError(
            f"configuration section {prefix.rstrip('.')} is {values!r}, "
            "expected a mapping"
        )
    knobs = {item.name: item for item in dataclasses.fields(cls)}
    unknown = [key for key in values if key not in knobs]
    if unknown:
        raise UserError(
            f"unknown configuration key {prefix}{unknown[0]}; valid keys: "
            + ", ".join(f"{prefix}{name}" for name in knobs)
        )
    built = {}
    for key, value in values.items():
        built[key] = _convert(value, knobs[key].type, f"{prefix}{key}")
        _check_range(built[key], knobs[key].metadata, f"{prefix}{key}")
    return cls(**built)


def _convert(value: Any, hint: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{name}.")
    plain = without_none(hint)
    if plain is not hint:
        return None if value is None else _convert(value, plain, name)
    origin = typing.get_origin(hint)
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


def without_none(hint: Any) -> Any:
    """Return a knob's type without its `| None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (a for a in typing.get_args(hint) if a is not type(None))
    return hint


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}


def _scalar(value: Any, kind: type, name: str) -> Any:
    if kind is str and value == "":
        # A shell's unset variable, and a path to the current folder.
        raise UserError(
            f"{name} is empty, expected text, or nothing for the default"
        )
    # To Python true and false are numbers.
    if isinstance(value, bool) == (kind is bool):
        if kind is float:
            # YAML 1.1 reads 2e-5 (no dot) as a string.
            with contextlib.suppress(TypeError, ValueError):
                return float(value)
        elif kind is str and isinstance(value, (str, int, float)):
            return str(value)
        elif isinstance(value, kind):
            return value
    raise UserError(f"{name} is {value!r}, expected {_KINDS[kind]}")


def _check_range(value: Any, limits: typing.Mapping, name: str) -> None:
    least, most = limits.get("least"), limits.get("most")
    for item in value if isinstance(value, list) else [value]:
        if item is None:
            continue
        if limits.get("positive") and not 0 < item < float("inf"):
            expected = "a positive number"
        elif most is not None and not least <= item <= most:
            expected = f"a number from {least} to {most}"
        elif least is not None and not item >= least:
            expected = f"at least {least}"
        else:
            continue
        raise UserError(f"{name} is {item}, expected {expected}")
