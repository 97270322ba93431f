"""Synthetic text pairs and a tiny teacher, for sets of any size.

Run as a script it writes the teacher: importing a TensorFlow class of
transformers turns `tf.keras` into tf_keras for the whole process.
"""

import json
import sys
from pathlib import Path

import measuring  # noqa: F401  (puts the package on the path)
import numpy as np

from keras_distill.progress import progress

CLASSES = ["no", "yes"]
_ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr gr pl sh st th tr"
_NUCLEI = "a e i o u ai ea ou"
_ROWS_AT_ONCE = 10_000


def word_list(size: int) -> list[str]:
    """Return so many different words, at most a million."""
    syllables = [o + n for o in _ONSETS.split() for n in _NUCLEI.split()]
    rng = np.random.default_rng(0)
    words: dict[str, None] = {}
    while len(words) < size:
        for row in rng.integers(len(syllables), size=(size, 4)).tolist():
            words["".join(syllables[i] for i in row[: 2 + row[3] % 3])] = None
    return list(words)[:size]


def sentences(
    words: list[str], rows: int, mean_words: float, seed: int = 0
) -> list[str]:
    """Return sentences whose words occur as in text (Zipf's law).

    The most frequent of `words` come first; lengths lie between half the
    mean and one and a half.
    """
    rng = np.random.default_rng([seed, rows, round(mean_words)])
    low = max(2, round(mean_words * 0.5))
    high = max(low, round(mean_words * 1.5))
    lengths = rng.integers(low, high + 1, size=rows)
    ends = np.cumsum(lengths)
    # The place of a word is spread evenly on a logarithmic scale.
    draws = np.exp(rng.uniform(0, np.log(len(words)), size=int(ends[-1])))
    ids = np.minimum(draws.astype(np.int64), len(words) - 1).tolist()
    starts = [0, *ends[:-1].tolist()]
    return [
        " ".join(words[i] for i in ids[start:end])
        for start, end in zip(starts, ends.tolist(), strict=True)
    ]


def write_pairs(
    path: Path, rows: int, vocabulary: int, mean_words: tuple[float, float]
) -> None:
    """Write labelled pairs as TSV: text_a, text_b, label."""
    words = word_list(vocabulary)
    rng = np.random.default_rng(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(path, "w", encoding="utf-8") as stream,
        progress(rows, "writing pairs", "rows") as bar,
    ):
        stream.write("text_a\ttext_b\tlabel\n")
        for start in range(0, rows, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, rows - start)
            first, second = (
                sentences(words, count, mean, seed=2 * start + side)
                for side, mean in enumerate(mean_words)
            )
            labels = rng.integers(2, size=count).tolist()
            for a, b, label in zip(first, second, labels, strict=True):
                stream.write(f"{a}\t{b}\t{CLASSES[label]}\n")
            bar.update(count)


def train_command(
    pairs: Path, teacher: Path, run: Path, *more: str
) -> list[str]:
    """Return what distils such a teacher on such pairs, for Python."""
    return [
        *("train.py", "--task", "custom", "--recipe", "paper"),
        *("--output-dir", str(run)),
        *("--train-file", str(pairs)),
        *("--text-column", "text_a", "--text-pair-column", "text_b"),
        *("--teacher-checkpoint", str(teacher), "--precision", "float32"),
        *("--embedding-mode", "random", *more),
    ]


def write_teacher(
    folder: Path, vocabulary: int, hidden: int = 32, layers: int = 2
) -> None:
    """Write a BERT with random weights over the first synthetic words.

    Other words are cut into letters; `hidden` is a multiple of 16.
    """
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        TFBertForSequenceClassification,
    )

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    pieces += [f"##{letter}" for letter in letters]
    pieces += word_list(vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    model = TFBertForSequenceClassification(
        BertConfig(
            vocab_size=len(pieces),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(1, hidden // 64) if hidden > 64 else 2,
            intermediate_size=4 * hidden,
            id2label=dict(enumerate(CLASSES)),
            label2id={name: i for i, name in enumerate(CLASSES)},
        )
    )
    model.build_in_name_scope()
    model.save_pretrained(folder, safe_serialization=True)


if __name__ == "__main__":
    write_teacher(Path(sys.argv[1]), **json.loads(sys.argv[2]))
