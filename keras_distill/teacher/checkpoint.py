"""Loading, checking and saving a teacher checkpoint."""

import errno
import inspect
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    TFAutoModelForSequenceClassification,
    TFPreTrainedModel,
)

from keras_distill.errors import UserError
from keras_distill.files import atomic_path, write_json
from keras_distill.teacher.classes import Matched, match_classes
from keras_distill.teacher.families import (
    check_family,
    check_ids,
    fit_padding,
    longest_input,
    needs_autograph,
    reads_padding,
)
from keras_distill.teacher.folder import normalizer_lower_cases
from keras_distill.teacher.source import find_checkpoint, not_on_hub

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """A loaded sequence-classification model.

    Attributes:
        model: The TF model; its logits are [batch, classes].
        tokenizer: Its tokenizer.
        columns: `columns[i]` is the logit of the task's class i.
        matched: How these were found, of one that came fine-tuned.
    """

    model: TFPreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    columns: list[int]
    matched: Matched | None = None

    def cut(self, max_length: int) -> int:
        """Return `max_length`, or the longest input the model takes."""
        limits = (
            max_length,
            self.tokenizer.model_max_length,
            longest_input(self.model.config) or max_length,
        )
        return min(limit for limit in limits if limit > 0)

    @property
    def reads_padding(self) -> bool:
        """Say whether padding behind a text changes its logits."""
        return reads_padding(self.model.config.model_type)

    @property
    def needs_autograph(self) -> bool:
        """Say whether a graph of it may need AutoGraph."""
        return needs_autograph(self.model.config.model_type)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a checkpoint.

    Raises:
        UserError: There is no such checkpoint or no fast tokenizer in it.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
    # The tokenizers library raises bare exceptions on a damaged file.
    except Exception as error:
        raise _not_loaded(name, error) from error
    if not tokenizer.is_fast:
        raise UserError(f"teacher {name}: it has no fast tokenizer")
    if tokenizer.pad_token is None:
        raise UserError(
            f"teacher {name}: its tokenizer has no padding token, expected "
            "an encoder such as BERT"
        )
    return tokenizer


def lower_cases(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Say whether the teacher's tokenizer lower-cases its text."""
    return normalizer_lower_cases(
        json.loads(tokenizer.backend_tokenizer.to_str())["normalizer"]
    )


def load_teacher(name: str, labels: list[str]) -> Teacher:
    """Load a checkpoint with a new, random head for `labels`."""
    name = find_checkpoint(name)
    tokenizer = load_tokenizer(name)
    model, random = _load_model(
        name,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        ignore_mismatched_sizes=True,
    )
    # The head, and perhaps a pooler, are new; the encoder must not be.
    if len(random) > len(model.weights) / 2:
        raise UserError(
            f"teacher {name}: its weights do not fit its config.json; "
            f"{len(random)} of {len(model.weights)} are missing or have "
            f"another shape, such as {random[0]}"
        )
    _fit_tokenizer(name, tokenizer, model)
    return Teacher(model, tokenizer, list(range(len(labels))))


def load_fine_tuned(
    name: str, labels: list[str], told: list[str] | None = None
) -> Teacher:
    """Load a checkpoint that was already fine-tuned on the task.

    Its class names must be the task's, in any order, or be told. Names that
    say nothing (`LABEL_0`, `LABEL_1`, ...) are taken to be in the task's
    order. Saved again it has the task's names.

    Args:
        name: The checkpoint.
        labels: The task's classes.
        told: As `match_classes` takes it.

    Raises:
        UserError: There is no such checkpoint, it was never fine-tuned, or
            its classes do not fit; both lists of classes are shown.
    """
    name = find_checkpoint(name)
    tokenizer = load_tokenizer(name)
    config = _load_config(name)
    names = [str(config.id2label[i]) for i in sorted(config.id2label)]
    matched = match_classes(name, names, labels, told)
    if matched.by == "place":
        logger.info(
            "teacher %s has classes without names; taken to be %s", name, labels
        )
    model, random = _load_model(name)
    if random:
        raise UserError(
            f"teacher {name} is not fine-tuned: it has no weights for "
            f"{', '.join(random[:3])}. Give it as --teacher to fine-tune it"
        )
    _fit_tokenizer(name, tokenizer, model)
    ours = dict(zip(matched.columns, labels, strict=True))
    model.config.id2label = dict(sorted(ours.items()))
    model.config.label2id = {label: c for c, label in ours.items()}
    return Teacher(model, tokenizer, matched.columns, matched)


def _fit_tokenizer(
    name: str, tokenizer: PreTrainedTokenizerBase, model: TFPreTrainedModel
) -> None:
    """Let the tokenizer give what the model takes.

    They may be of two families: DistilBERT takes no token types, RoBERTa
    knows a single one, BERT's tokenizer gives two.

    Raises:
        UserError: The tokenizer has ids for which the model has no row.
    """
    check_ids(
        f"teacher {name}: its tokenizer",
        max(tokenizer.get_vocab().values()),
        model.config.vocab_size,
    )
    fit_padding(tokenizer, model.config)
    taken = set(inspect.signature(model.call).parameters)
    if getattr(model.config, "type_vocab_size", 2) < 2:
        taken.discard("token_type_ids")
    names = tokenizer.model_input_names
    tokenizer.model_input_names = [name for name in names if name in taken]


def save_teacher(teacher: Teacher, folder: Path) -> None:
    """Write model, tokenizer and teacher.json to `folder`, atomically.

    `teacher.json` holds `lower_case` (whether the tokenizer lower-cases,
    which the student's text follows) and `parameters`.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        try:
            teacher.model.save_pretrained(temporary, safe_serialization=True)
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error)) from error
        teacher.tokenizer.save_pretrained(temporary)
        facts = {
            "lower_case": lower_cases(teacher.tokenizer),
            "parameters": teacher.model.num_parameters(),
        }
        write_json(temporary / "teacher.json", facts)


def _load_config(name: str) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(name)
    except Exception as error:
        raise _not_loaded(name, error) from error


def _load_model(
    name: str, **settings: Any
) -> tuple[TFPreTrainedModel, list[str]]:
    """Return the model and the weights that the checkpoint does not give."""
    check_family(name, _load_config(name).model_type)
    try:
        model, info = TFAutoModelForSequenceClassification.from_pretrained(
            name, output_loading_info=True, **settings
        )
    # safetensors, h5py and TensorFlow each raise errors of their own.
    except Exception as error:
        raise _not_loaded(name, error) from error
    mismatched = [key[0] for key in info["mismatched_keys"]]
    return model, [*info["missing_keys"], *mismatched]


def _not_loaded(name: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if Path(name).is_dir():
        return UserError(f"teacher folder {name} cannot be loaded: {reason}")
    return not_on_hub(name, reason)
