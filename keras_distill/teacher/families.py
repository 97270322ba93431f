"""What is known of a family of teachers, the `model_type` of config.json.

Nothing here imports transformers: a folder is looked at before that.
"""

from typing import Any

from keras_distill.errors import UserError

# Those of transformers' TF_MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.
TF_CLASSES = frozenset(
    {
        *("albert", "bart", "bert", "camembert", "convbert", "ctrl"),
        *("deberta", "deberta-v2", "distilbert", "electra", "esm"),
        *("flaubert", "funnel", "gpt-sw3", "gpt2", "gptj", "layoutlm"),
        *("layoutlmv3", "longformer", "mistral", "mobilebert", "mpnet"),
        *("openai-gpt", "rembert", "roberta", "roberta-prelayernorm"),
        *("roformer", "tapas", "transfo-xl", "xlm", "xlm-roberta", "xlnet"),
    }
)

# Their TensorFlow classes count positions from 2, whatever id the padding has.
_FROM_TWO = frozenset(
    {
        *("camembert", "longformer", "mpnet", "roberta"),
        *("roberta-prelayernorm", "xlm-roberta"),
    }
)

# ConvBERT's convolution and MobileBERT's trigrams look at neighbours, the
# padding behind the last token too: more of it gives other logits.
_READ_PADDING = frozenset({"convbert", "mobilebert"})

# They classify by the last token that is not the configuration's padding.
_READ_LAST = frozenset(
    {"ctrl", "gpt-sw3", "gpt2", "gptj", "mistral", "openai-gpt", "transfo-xl"}
)

# Their TensorFlow classes branch on no tensor, so AutoGraph need not read them,
# which takes seconds whenever a graph is made. Others do, or are not tested.
_STRAIGHT = frozenset(
    {
        *("albert", "bert", "convbert", "distilbert", "electra", "gpt2"),
        *("mobilebert", "mpnet", "roberta", "xlm-roberta", "xlnet"),
    }
)


def check_family(name: str, model_type: str) -> None:
    """Refuse a family that no TensorFlow class loads.

    Args:
        name: The teacher, for the message.
        model_type: As its `config.json` has it.

    Raises:
        UserError: It is one; the message names the way on.
    """
    if model_type not in TF_CLASSES:
        raise UserError(
            f"teacher {name} is of the family {model_type}, for which "
            "transformers 4.53 has no TensorFlow class of sequence "
            "classification: write its logits to a file with PyTorch and "
            "give that as --teacher-logits FILE, see docs/teachers.md"
        )


def longest_input(config: Any) -> int | None:
    """Return how many tokens a model has positions for; None for any number.

    Args:
        config: Its configuration, as transformers loads it.
    """
    positions = getattr(config, "max_position_embeddings", None) or 0
    if config.model_type in _FROM_TWO:
        positions -= 2
    elif config.model_type == "esm":
        positions -= (config.pad_token_id or 0) + 1
    return positions if positions > 0 else None


def reads_padding(model_type: str) -> bool:
    """Say whether padding behind a text changes its logits."""
    return model_type in _READ_PADDING


def needs_autograph(model_type: str) -> bool:
    """Say whether a graph of the model may need AutoGraph."""
    return model_type not in _STRAIGHT


def fit_padding(tokenizer: Any, config: Any) -> None:
    """Have a tokenizer pad as the model needs it, whatever its files say.

    XLNet reads the last token and knows no places; all others count places
    from the left, or look for the first token or the padding.

    Args:
        tokenizer: It is changed.
        config: The model's configuration; it may be changed.
    """
    left = config.model_type == "xlnet"
    tokenizer.padding_side = "left" if left else "right"
    if config.model_type in _READ_LAST:
        config.pad_token_id = tokenizer.pad_token_id


def check_ids(what: str, highest: int, rows: int | None) -> None:
    """Refuse a tokenizer with ids that the model has no embeddings for.

    A CPU fails where the first of them occurs, a GPU reads zeros in silence.

    Args:
        what: The tokenizer, for the message.
        highest: Its highest token id.
        rows: The model's `vocab_size`; None where that is not told.

    Raises:
        UserError: It has.
    """
    if rows is not None and highest >= rows:
        raise UserError(
            f"{what} has token ids up to {highest:,}, its model embeddings "
            f"for {rows:,} (vocab_size in config.json): they do not belong "
            "together; copy the tokenizer's files from where the model is from"
        )
