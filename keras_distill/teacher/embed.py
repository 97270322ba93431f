"""Vectors of words and sentences: means of a teacher's last states."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_distill.config import Config
from keras_distill.data.examples import Example, read_examples
from keras_distill.files import read_json, read_lines, write_array
from keras_distill.progress import progress
from keras_distill.teacher.checkpoint import (
    Teacher,
    load_fine_tuned,
    load_teacher,
)
from keras_distill.teacher.members import member_sources
from keras_distill.teacher.predict import Encoded, Predictor, encode

WORDS, SENTENCES = "states.npy", "sentences.npy"
# In tokens: a word has few.
_LONGEST = 32


def embed(
    config: Config,
    data: Path,
    teacher: Path,
    output: Path,
    words: Path | None,
    sentences: bool,
) -> None:
    """Write vectors of words, of the training set's sentences, or of both.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The run's `teacher/`, which gives the words' vectors.
        output: Gets `states.npy`, float32 [words, hidden], and
            `sentences.npy`, float16 [sentences, hidden]: the distinct texts
            of the training set in the order of their first appearance, by
            the teacher before it was fine-tuned, where there is one. Of
            several teachers the best gives both.
        words: A file of words and `##` pieces, one a line; None for none.
        sentences: Whether the sentences are wanted.

    Raises:
        UserError: There is no such teacher, or the disk is full.
    """
    labels = read_json(data / "manifest.json")["labels"]
    if words is not None and not (output / WORDS).is_file():
        tokens = read_lines(words)
        loaded = load_fine_tuned(str(teacher), labels)
        encoded = _encode_words(loaded, tokens)
        states = _means(loaded, config, encoded, "words")
        write_array(output / WORDS, states)
    if sentences and not (output / SENTENCES).is_file():
        if not config.teacher.checkpoints:
            # Fine-tuning teaches it what to forget of a sentence.
            name = member_sources(config.teacher, teacher)[0]
            loaded = load_teacher(name, labels)
        else:
            loaded = load_fine_tuned(str(teacher), labels)
        texts = distinct_texts(data / "train.jsonl.gz")
        encoded = encode(
            loaded.tokenizer,
            [Example(text) for text in texts],
            loaded.cut(config.teacher.max_length),
        )
        states = _means(loaded, config, encoded, "sentences")
        write_array(output / SENTENCES, states.astype(np.float16))


def distinct_texts(path: Path) -> list[str]:
    """Return a file's texts, each once, in the order of their appearance."""
    return list(
        dict.fromkeys(
            text
            for example in read_examples(path)
            for text in (example.text_a, example.text_b)
            if text is not None
        )
    )


def _means(
    teacher: Teacher, config: Config, encoded: Encoded, what: str
) -> np.ndarray:
    predictor = Predictor(
        teacher, config.teacher.max_length, config.teacher.tokens_per_batch
    )
    with progress(len(encoded.lengths), f"embedding {what}", what) as bar:
        return predictor.mean_states(encoded, bar.update)


def _encode_words(teacher: Teacher, words: Sequence[str]) -> Encoded:
    """Tokenize words; a `##` piece of the teacher's is its own token.

    One that it does not have (learned from the run's text) is read as a word.
    """
    tokenizer = teacher.tokenizer
    # Behind a space, as in a text: RoBERTa has other tokens there.
    texts = [
        Example(word[2:] or word if word.startswith("##") else f" {word}")
        for word in words
    ]
    encoded = encode(tokenizer, texts, _LONGEST)
    tokens = tokenizer.get_vocab()
    for row, word in enumerate(words):
        token = tokens.get(word)
        if not word.startswith("##") or token is None:
            continue
        ids = tokenizer.build_inputs_with_special_tokens([token])
        values = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        for name, column in encoded.columns.items():
            column[row] = np.array(values.get(name, [0] * len(ids)), np.int32)
        encoded.lengths[row] = len(ids)
    return encoded
