"""Tiny checkpoints of many families, for the teacher's own process.

Run as a script, `teacher_families.py FOLDER FAMILY`, it writes one, with
`--pieces` behind it one that has a SentencePiece model alone: importing a
TensorFlow class of transformers turns `tf.keras` into tf_keras, which must not
happen in the process of the tests.
"""

import os
import random
import sys
from pathlib import Path

from teacher_tiny import BAD, GOOD, LABELS, OTHER
from tiny_runs import WORDS

LONGEST = 32  # tokens
TEXT = [*GOOD, *BAD, *OTHER, *WORDS]

_SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": LONGEST,
    "initializer_range": 0.3,
}
# What makes a family's architecture as its published checkpoints have it.
FAMILIES = {
    "albert": {"embedding_size": 8},
    "bert": {},
    "convbert": {"embedding_size": 16, "conv_kernel_size": 9},
    "deberta": {
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
        "pooler_hidden_size": 16,
    },
    "distilbert": {"hidden_dim": 32},
    "electra": {"embedding_size": 8},
    "mobilebert": {
        "embedding_size": 16,
        "intra_bottleneck_size": 8,
        "num_feedforward_networks": 2,
    },
    "mpnet": {"max_position_embeddings": LONGEST + 2},
    "roberta": {
        "max_position_embeddings": LONGEST + 2,
        "type_vocab_size": 1,
    },
    "xlm-roberta": {
        "max_position_embeddings": LONGEST + 2,
        "type_vocab_size": 1,
    },
    "bart": {
        **{"d_model": 16, "encoder_layers": 1, "decoder_layers": 1},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2},
        **{"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "init_std": 0.3},
    },
    # Two that read the last token, the first with padding on the left.
    "xlnet": {
        **dict.fromkeys(_SIZES),
        **{"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32},
        "initializer_range": 0.3,
    },
    "gpt2": {},
}
# How a family's weights are packed here, where not in one safetensors file.
PACKED = {"mobilebert": "h5", "electra": "h5", "xlm-roberta": "sharded"}
CASED = {
    *("bart", "deberta", "deberta-v2", "gpt2", "roberta", "xlm-roberta"),
    "xlnet",
}
WORD_PIECE = {
    *("bert", "convbert", "distilbert", "electra", "mobilebert", "mpnet"),
}
# The file of a SentencePiece model, where the family has one.
PIECES = {
    "albert": "spiece.model",
    "deberta-v2": "spm.model",
    "xlm-roberta": "sentencepiece.bpe.model",
}


def write(folder, family, tokens=None, pieces=False, **changes):
    """Write a checkpoint with random weights; return its folder.

    Args:
        folder: Is made.
        family: Of the model.
        tokens: The family of the tokenizer, where it is another.
        pieces: Whether the tokenizer is a SentencePiece model alone.
        changes: To the model's configuration.
    """
    import tf_keras
    from transformers import (
        AutoConfig,
        TFAutoModelForSequenceClassification,
    )

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer = _sentencepiece if pieces else tokenizer
    write_tokenizer(folder, tokens or family)
    read = _class(tokens or family).from_pretrained(folder)
    settings = {
        **_SIZES,
        "vocab_size": max(read.get_vocab().values()) + 1,
        "pad_token_id": read.pad_token_id,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
        **FAMILIES[family],
        **changes,
    }
    for key in [key for key, value in settings.items() if value is None]:
        del settings[key]
    tf_keras.utils.set_random_seed(0)
    model = TFAutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(family, **settings)
    )
    model.build_in_name_scope()
    packed = PACKED.get(family)
    model.save_pretrained(
        folder,
        safe_serialization=packed != "h5",
        max_shard_size="10KB" if packed == "sharded" else "5GB",
    )
    return folder


def tokenizer(folder, family):
    """Write a family's fast tokenizer, as its published ones are made."""
    make = {
        "roberta": _byte_level,
        "deberta": _byte_level,
        "bart": _byte_level,
        "gpt2": _byte_level,
        "xlnet": _unigram,
        "albert": _unigram,
        "deberta-v2": _unigram,
        "xlm-roberta": _unigram,
    }
    make.get(family, _word_piece)(folder, family)


def _class(family):
    from transformers.models.auto.tokenization_auto import (
        TOKENIZER_MAPPING_NAMES,
        tokenizer_class_from_name,
    )

    return tokenizer_class_from_name(TOKENIZER_MAPPING_NAMES[family][1])


def _word_piece(folder, family):
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if family == "mpnet":
        specials = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    letters = sorted({letter for word in TEXT for letter in word})
    pieces = [*letters, *(f"##{letter}" for letter in letters)]
    words = dict.fromkeys([*specials, *TEXT, *pieces])
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    made = _class(family)(str(folder / "vocab.txt"), do_lower_case=True)
    made.save_pretrained(folder)
    if family == "distilbert":
        # As old checkpoints are.
        (folder / "tokenizer.json").unlink()


def _byte_level(folder, family):
    from tokenizers import ByteLevelBPETokenizer

    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if family == "deberta":
        specials = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    trained = ByteLevelBPETokenizer()
    text = " ".join(TEXT)
    trained.train_from_iterator(
        [text] * 9, vocab_size=400, show_progress=False, special_tokens=specials
    )
    trained.save_model(str(folder))
    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    # GPT-2 has no padding of its own.
    special = {"pad_token": "<pad>"} if family == "gpt2" else {}
    _class(family)(*files, **special).save_pretrained(folder)
    if family == "roberta":
        (folder / "tokenizer.json").unlink()


def _unigram(folder, family):
    from tokenizers import (
        Regex,
        Tokenizer,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    specials = {
        "albert": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
        "deberta-v2": ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
        "xlm-roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        "xlnet": ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"],
    }[family]
    words = dict.fromkeys(f"▁{word}" for word in TEXT)
    letters = sorted({letter for word in words for letter in word})
    pieces = [(special, 0.0) for special in specials]
    pieces += [(word, -5.0) for word in words]
    pieces += [(letter, -10.0) for letter in letters if letter not in words]
    unknown = next(
        i for i, name in enumerate(specials) if "unk" in name.lower()
    )
    made = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    steps = [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    if family == "albert":
        steps.insert(0, normalizers.Lowercase())
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    single, pair = {
        "xlm-roberta": ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
        "xlnet": (
            "$A <sep> <cls>:2",
            "$A <sep> $B:1 <sep>:1 <cls>:2",
        ),
    }.get(family, ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"))
    made.post_processor = processors.TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(name, i) for i, name in enumerate(specials)],
    )
    _class(family)(tokenizer_object=made).save_pretrained(folder)


def _sentencepiece(folder, family):
    """Write a family's SentencePiece model, and nothing beside it."""
    from sentencepiece import SentencePieceTrainer

    specials = {
        "albert": {
            **{"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1},
            "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
            "pad_piece": "<pad>",
        },
        "deberta-v2": {
            **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
            **{"pad_piece": "[PAD]", "bos_piece": "[CLS]"},
            **{"eos_piece": "[SEP]", "unk_piece": "[UNK]"},
        },
        "xlm-roberta": {},
    }[family]
    text = folder.parent / "pieces.txt"
    text.write_text("\n".join(tiny_sentences()) + "\n")
    SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "made"),
        vocab_size=100,
        hard_vocab_limit=False,
        minloglevel=2,
        **specials,
    )
    (folder / "made.vocab").unlink()
    (folder / "made.model").rename(folder / PIECES[family])


def tiny_sentences(count=400):
    """Sentences of all words, for what learns pieces from text."""
    rng = random.Random(0)
    return [" ".join(rng.choices(TEXT, k=8)) for _ in range(count)]


if __name__ == "__main__":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    write(*sys.argv[1:3], pieces="--pieces" in sys.argv)
