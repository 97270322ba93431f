"""From a configuration to the splits of a run: what is learned from what."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from keras_distill.config import Config, DataConfig
from keras_distill.data.corpus import read_corpus, unlabeled_corpus
from keras_distill.data.download import download_glue, glue_cache_dir
from keras_distill.data.examples import Example
from keras_distill.data.glue import find_glue_files, label_column, read_glue
from keras_distill.data.phrases import group_phrases
from keras_distill.data.settings import check_settings
from keras_distill.data.splits import hold_out
from keras_distill.data.tables import read_table
from keras_distill.errors import UserError
from keras_distill.tasks import Task, get_task

logger = logging.getLogger(__name__)

TEXT_COLUMN = "text"
LABEL_COLUMN = "label"
# Below this a choice between learning rates or epochs is mostly luck.
_FEW_ROWS = 100


@dataclass(frozen=True)
class Splits:
    """The examples of a run.

    Attributes:
        labels: Class names in logit order.
        pair: Whether examples have two texts.
        train: What teacher and students learn from.
        select: What chooses learning rate, epoch and the like.
        dev: What is reported; `select` itself when `selected_on` is `dev`.
        dev_mismatched: MNLI's second dev set, reported too.
        test: A labelled test set, reported too.
        unlabeled: Files of unlabelled text, not read yet.
        selected_on: `heldout` when `select` is a part of train that was set
            aside, `dev` when it is dev.
    """

    labels: list[str]
    pair: bool
    train: list[Example]
    select: list[Example]
    dev: list[Example]
    dev_mismatched: list[Example] | None
    test: list[Example] | None
    unlabeled: list[Path]
    selected_on: str


@dataclass
class _Parts:
    """What the files hold, before it is decided what chooses."""

    labels: list[str]
    pair: bool
    train: list[Example]
    dev: list[Example] | None = None
    dev_mismatched: list[Example] | None = None
    test: list[Example] | None = None


def load_splits(config: Config) -> Splits:
    """Read a run's data and decide which split chooses and which reports.

    With dev and labelled test: dev chooses, test is reported (and dev).
    With dev alone, as GLUE has it: a part of train is held out for choosing
    and dev stays untouched. With test alone: the held-out part is dev. With
    neither: dev is held out too. `data.select_on` overrides the first two.

    Args:
        config: The run's configuration.

    Returns:
        The splits, equal for equal files, `config.data` and seed.

    Raises:
        UserError: A file or setting does not fit.
    """
    task = get_task(config.task)
    settings = config.data
    check_settings(task, settings)
    unlabeled = [Path(name) for name in settings.unlabeled]
    if task.name == "quick":
        unlabeled.append(unlabeled_corpus())
    for path in unlabeled:
        if not path.is_file():
            raise UserError(f"cannot read {path}: no such file")
    if task.name == "custom":
        parts = _read_custom(settings)
    elif task.name == "quick":
        parts = _read_quick(task, settings)
    else:
        parts = _read_glue(task, settings)
    _check_classes(parts)
    _warn_of_overlap(parts)
    train, select, dev, selected_on = _decide(parts, settings, config.seed)
    if settings.train_limit is not None:
        every = {example.label for example in train}
        train = _sample(train, settings.train_limit, config.seed)
        lost = every - {example.label for example in train}
        if lost:
            raise UserError(
                f"data.train_limit is {settings.train_limit}, which leaves no "
                f"training row of the class {parts.labels[min(lost)]!r}; "
                "expected more"
            )
    logger.info(
        "data: %d rows to train on, %d to choose on (%s), %d in dev%s",
        len(train),
        len(select),
        selected_on,
        len(dev),
        "" if parts.test is None else f", {len(parts.test)} in test",
    )
    return Splits(
        labels=parts.labels,
        pair=parts.pair,
        train=train,
        select=select,
        dev=dev,
        dev_mismatched=parts.dev_mismatched,
        test=parts.test,
        unlabeled=unlabeled,
        selected_on=selected_on,
    )


def _read_custom(settings: DataConfig) -> _Parts:
    columns = (
        settings.text_column or TEXT_COLUMN,
        settings.text_pair_column,
        settings.label_column or LABEL_COLUMN,
    )
    train, labels = read_table(
        Path(settings.train_file), *columns, settings.labels
    )
    parts = _Parts(labels, settings.text_pair_column is not None, train)
    if settings.dev_file is not None:
        parts.dev, _ = read_table(Path(settings.dev_file), *columns, labels)
    if settings.test_file is not None:
        parts.test, _ = read_table(Path(settings.test_file), *columns, labels)
    return parts


def _read_quick(task: Task, settings: DataConfig) -> _Parts:
    if settings.labels not in (None, list(task.labels)):
        raise UserError(
            f"data.labels is {settings.labels}, but --task quick has its "
            f"own, expected {list(task.labels)}"
        )
    splits = {split: read_corpus(split) for split in ("train", "dev", "test")}
    return _Parts(list(task.labels), task.pair, **splits)


def _read_glue(task: Task, settings: DataConfig) -> _Parts:
    if settings.data_dir is not None:
        folder = Path(settings.data_dir)
    else:
        folder = download_glue(task.name, glue_cache_dir())
    files = find_glue_files(task.name, folder)
    labels = settings.labels or list(task.labels)
    splits = {}
    for split in ("train", "dev", "dev_mismatched"):
        if split in files:
            splits[split] = read_glue(task.name, files[split], labels)
            if any(example.label is None for example in splits[split]):
                raise UserError(
                    f"{files[split]}, line 1: no column "
                    f"{label_column(task.name)!r} in the header, expected "
                    f"labels in {split}"
                )
        elif split != "dev_mismatched":
            raise UserError(
                f"{folder} holds no {split} file for {task.name}, found: "
                + ", ".join(path.name for path in files.values())
            )
    # Most rows are phrases of a few thousand sentences: keep them together.
    if task.name == "sst2":
        splits["train"] = group_phrases(splits["train"])
    return _Parts(labels, task.pair, **splits)


def _check_classes(parts: _Parts) -> None:
    if len(parts.labels) < 2:
        raise UserError(
            f"the training data has the classes {parts.labels}, expected "
            "at least two"
        )
    seen = {example.label for example in parts.train}
    for i, name in enumerate(parts.labels):
        if i not in seen:
            logger.warning("no training row has the label %r", name)


def _warn_of_overlap(parts: _Parts) -> None:
    known = {(e.text_a, e.text_b) for e in parts.train}
    for name in ("dev", "dev_mismatched", "test"):
        examples = getattr(parts, name)
        shared = sum((e.text_a, e.text_b) in known for e in examples or ())
        if shared:
            logger.warning(
                "%d of %d rows of %s are in train too",
                shared,
                len(examples),
                name,
            )


def _decide(
    parts: _Parts, settings: DataConfig, seed: int
) -> tuple[list[Example], list[Example], list[Example], str]:
    """Return train, select, dev and what select is."""
    choice = settings.select_on
    if choice == "dev" and parts.dev is None:
        raise UserError(
            "data.select_on is dev, but there is no dev file; expected one "
            "(--dev-file), or heldout"
        )
    if choice == "auto":
        both = parts.dev is not None and parts.test is not None
        choice = "dev" if both else "heldout"
    if choice == "dev":
        return parts.train, parts.dev, parts.dev, "dev"
    train, dev = parts.train, parts.dev
    if dev is None and parts.test is None:
        train, dev = _hold_out(train, settings, seed, "reporting")
    train, select = _hold_out(train, settings, seed, "choosing")
    if dev is None:
        return train, select, select, "dev"
    return train, select, dev, "heldout"


def _hold_out(
    train: list[Example], settings: DataConfig, seed: int, purpose: str
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
        logger.warning(
            "only %d rows are held out for %s; a larger "
            "data.heldout_fraction makes that less of a lottery",
            len(held),
            purpose,
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
