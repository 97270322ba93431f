"""Teachers that are found, loaded and refused; see teacher_process.py."""

import os
import sys

import numpy as np
import teacher_tiny as tiny
from teacher_process import attempt

from keras_distill.data.examples import Example
from keras_distill.files import read_json, write_json

PACKAGE = "tiny_teacher_package"
REPOSITORY = "acme/tiny-bert"


def checkpoints(folder):
    with tiny.hub({REPOSITORY: folder / "hub"}) as (address, seen):
        os.environ |= {
            "HF_ENDPOINT": address,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(folder / "cache"),
            "NO_PROXY": "127.0.0.1",
        }
        from keras_distill.teacher.runtime import prepare_environment
        from keras_distill.teacher.source import prepare_hub

        prepare_environment("float32")
        prepare_hub(REPOSITORY)
        return {
            **_found(folder),
            **_from_hub(folder, seen),
            **_texts(folder),
            **_refused(folder),
            **_columns(folder),
        }


def _found(folder):
    from keras_distill.teacher.checkpoint import (
        find_checkpoint,
        load_fine_tuned,
        load_teacher,
        lower_cases,
        save_teacher,
    )
    from keras_distill.teacher.predict import Predictor

    place = folder / "site" / PACKAGE / "model"
    tiny.checkpoint(place, head=False)
    (place.parent / "__init__.py").touch()
    sys.path.append(str(folder / "site"))
    found = find_checkpoint(PACKAGE.replace("_", "-"))
    # A pretrained encoder gets a new head, whose saved form is fine-tuned.
    teacher = load_teacher(found, ["a", "b", "c"])
    saved = folder / "saved"
    save_teacher(teacher, saved)
    again = load_fine_tuned(str(saved), ["a", "b", "c"])
    rows = tiny.examples(6)
    before, _ = Predictor(teacher, 32, 64).logits(rows)
    after, _ = Predictor(again, 32, 64).logits(rows)
    cased = tiny.tokenizer(folder / "cased", lower_case=False)
    roberta = tiny.roberta_tokenizer(folder / "roberta")
    return {
        "package": {"found": found, "expected": str(place)},
        "round_trip": {
            "files": sorted(path.name for path in saved.iterdir()),
            "facts": read_json(saved / "teacher.json"),
            "parameters": sum(
                int(np.prod(w.shape)) for w in tiny.weights(teacher)
            ),
            "spread": float(np.std(before)),
            "difference": float(np.abs(before - after).max()),
        },
        "lower_case": {
            "uncased": lower_cases(teacher.tokenizer),
            "cased": lower_cases(cased),
            "roberta": lower_cases(roberta),
        },
    }


def _from_hub(folder, seen):
    from keras_distill.teacher.checkpoint import load_teacher

    tiny.checkpoint(folder / "hub", seed=3)
    teacher = load_teacher(REPOSITORY, tiny.LABELS)
    origin = load_teacher(str(folder / "hub"), tiny.LABELS)
    return {
        "hub": {
            "requests": sorted(set(seen)),
            "offline": os.environ["HF_HUB_OFFLINE"],
            "difference": max(
                float(np.abs(a - b).max())
                for a, b in zip(
                    tiny.weights(teacher), tiny.weights(origin), strict=True
                )
            ),
            "words": teacher.tokenizer.tokenize("a superb film"),
            "missing": attempt(load_teacher, "acme/nothing", tiny.LABELS),
        }
    }


def _texts(folder):
    from keras_distill.teacher.checkpoint import Teacher
    from keras_distill.teacher.predict import Predictor, encode

    bert = tiny.tokenizer(folder / "texts")
    roberta = tiny.roberta_tokenizer(folder / "roberta")
    pair = [Example("a [MASK] film", "the [MASK]")]
    ids = {
        "bert": (bert, encode(bert, pair, 32)),
        "roberta": (roberta, encode(roberta, pair, 64)),
    }
    long = [Example("a " * 40, "the " * 40)]
    cut = encode(bert, long, 16)
    teachers = {
        "bert": Teacher(tiny.bert(), bert, [0, 1]),
        "roberta": Teacher(tiny.roberta(roberta), roberta, [0, 1]),
    }
    return {
        "mask": {
            name: {
                "count": encoded.columns["input_ids"][0]
                .tolist()
                .count(own.mask_token_id),
                "text": own.decode(encoded.columns["input_ids"][0]),
            }
            for name, (own, encoded) in ids.items()
        },
        "pair_types": ids["bert"][1].columns["token_type_ids"][0].tolist(),
        "cut": {
            "asked": teachers["bert"].cut(8),
            "pair": int(cut.lengths[0]),
            **{name: teachers[name].cut(128) for name in teachers},
        },
        "long": {
            name: Predictor(teacher, 128, 64).logits(long)[0].tolist()
            for name, teacher in teachers.items()
        },
    }


def _refused(folder):
    from transformers import BertConfig, BertTokenizerFast

    from keras_distill.teacher.checkpoint import (
        find_checkpoint,
        load_fine_tuned,
        load_teacher,
    )

    bare = folder / "bare"
    tiny.tokenizer(bare).save_pretrained(bare)
    no_config = attempt(find_checkpoint, str(bare))
    BertConfig().save_pretrained(bare)
    damaged = tiny.checkpoint(folder / "damaged")
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[:-100])
    tokens = tiny.checkpoint(folder / "tokens")
    (tokens / "tokenizer.json").write_text('{"half": ')
    other = tiny.checkpoint(folder / "other")
    config = read_json(other / "config.json")
    write_json(other / "config.json", config | {"hidden_size": 8})
    no_class = tiny.checkpoint(folder / "no_class")
    write_json(no_class / "config.json", config | {"model_type": "modernbert"})
    unpadded = tiny.checkpoint(folder / "unpadded")
    BertTokenizerFast(
        str(unpadded / "vocab.txt"), pad_token=None
    ).save_pretrained(unpadded)
    encoder = tiny.checkpoint(folder / "encoder", head=False)
    labels = tiny.LABELS
    return {
        "refused": {
            "no_config": no_config,
            "no_weights": attempt(load_teacher, str(bare), labels),
            "damaged": attempt(load_teacher, str(damaged), labels),
            "tokens": attempt(load_teacher, str(tokens), labels),
            "other_weights": attempt(load_teacher, str(other), labels),
            "no_class": attempt(load_teacher, str(no_class), labels),
            "unpadded": attempt(load_teacher, str(unpadded), labels),
            "encoder": attempt(load_fine_tuned, str(encoder), labels),
        }
    }


def _columns(folder):
    from keras_distill.teacher.checkpoint import load_fine_tuned, match_labels
    from keras_distill.teacher.predict import Predictor

    class Config:
        def __init__(self, *names):
            self.id2label = dict(enumerate(names))

    def columns(names, labels):
        return match_labels("t", Config(*names), labels)

    rows = tiny.examples(5)
    names = ["positive", "negative"]
    permuted = tiny.checkpoint(folder / "permuted", names=names)
    teacher = load_fine_tuned(str(permuted), tiny.LABELS)
    own = load_fine_tuned(str(permuted), names)
    logits, _ = Predictor(teacher, 32, 64).logits(rows)
    plain, _ = Predictor(own, 32, 64).logits(rows)
    stars = ["1", "2", "3", "4", "5"]
    return {
        "columns": {
            "same": columns(tiny.LABELS, tiny.LABELS),
            "permuted": columns("cab", ["a", "b", "c"]),
            "case": columns(["POSITIVE", "NEGATIVE"], tiny.LABELS),
            "two_cases": columns(["a", "A"], ["A", "a"]),
            "generic": columns(["LABEL_0", "LABEL_1"], tiny.LABELS),
            "numbers_permuted": columns(["0", "1"], ["1", "0"]),
            "count": attempt(columns, tiny.LABELS, stars),
            "names": attempt(columns, ["ham", "spam"], tiny.LABELS),
            "logits": float(np.abs(logits - plain[:, ::-1]).max()),
            "spread": float(np.abs(logits - plain).max()),
        }
    }
