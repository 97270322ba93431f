"""What the clients' tests need: compilers, and texts to disagree about."""

import contextlib
import json
import os
import random
import shutil
import sys
import unicodedata
import unittest.mock
from pathlib import Path

import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.student import text as vocabulary
from keras_distill.student.text import SPECIALS, StudentTokenizer

# Spellings that are rewritten, and what stands between.
FRAGMENTS = (
    "do n't|can not|can not only|-lrb-|-RRB-|``|''|`|'|\"|gon na|got ta|"
    "lem me|\\/|[MASK]|it 's| |  |\t|\u00a0|.|,|film|Film|-|can|not|n't"
).split("|")


# `npm ci --prefix clients` fills it: a Kotlin compiler, LiteRT.js.
PACKAGES = Path(__file__).parent.parent / "clients" / "node_modules"


def find_kotlinc():
    """Return the command that compiles Kotlin, None where it is missing."""
    if not shutil.which("java"):
        return None
    fetched = PACKAGES / "kotlin-compiler" / "bin" / "kotlinc"
    return (
        os.environ.get("KOTLINC")
        or shutil.which("kotlinc")
        or (fetched if fetched.is_file() else None)
    )


@contextlib.contextmanager
def python_classifier():
    """Import the Python client as its user does; yield its class."""
    folder = str(Path(__file__).parent.parent / "clients" / "python")
    with (
        unittest.mock.patch.object(sys, "path", [folder, *sys.path]),
        unittest.mock.patch.dict(sys.modules),
    ):
        import classifier

        yield classifier.Classifier


def old_characters():
    """Return the characters of Unicode 3.2: every runtime knows them."""
    return [
        character
        for character in map(chr, range(0x30000))
        if unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Cs")
    ]


def write_random_vectors(folder, characters, texts, seed=0):
    """Write vectors of random characters, in the form of the golden ones.

    Every character is in the vocabulary, alone and as a piece, so that ids
    tell what became of each.
    """
    rng = random.Random(seed)
    old = old_characters()
    if characters < len(old):
        old = rng.sample(old, characters)
    simple = sorted(
        {
            part
            for character in old
            for form in (character, character.casefold(), character.upper())
            for part in unicodedata.normalize("NFKD", form)
            if part.isprintable() and part != " "
        }
        | set("abcdefghijklmnopqrstuvwxyz")
    )
    words = [*SPECIALS, *simple, *(f"##{part}" for part in simple)]
    vocabulary.save_vocabulary(folder / "vocab.txt", words)
    lines = []
    for lower_case in (True, False):
        tokenizer = StudentTokenizer(words, lower_case, 40)
        chosen = [f"a{character}b" for character in old]
        chosen += [
            "".join(
                rng.choice(FRAGMENTS if rng.random() < 0.5 else old)
                for _ in range(rng.randint(1, 12))
            )
            for _ in range(texts)
        ]
        found = tokenizer(tf.constant([normalize(text) for text in chosen]))
        lines += [
            json.dumps(
                {
                    "vocabulary": "vocab.txt",
                    "lower_case": lower_case,
                    "max_length": 40,
                    "text": text,
                    "ids": ids,
                }
            )
            for text, ids in zip(chosen, found.to_list(), strict=True)
        ]
    (folder / "tokens.jsonl").write_text(
        "".join(f"{line}\n" for line in lines), encoding="ascii"
    )
