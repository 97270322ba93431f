"""Makes the golden vectors: python -m tests.golden.make

Run it when the text handling or the exported files change on purpose, and
look at the difference before it is committed.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.export.metadata import packed
from keras_distill.export.saved_model import StudentGraph
from keras_distill.export.student import Exported
from keras_distill.export.tflite import convert_float32
from keras_distill.metrics import softmax
from keras_distill.student import text as vocabulary
from keras_distill.student.text import StudentTokenizer
from keras_distill.student.weights import StudentWeights

HERE = Path(__file__).parent
TOKENS, LOGITS = "tokens.jsonl", "logits.jsonl"
MODELS = {"student.tflite": False, "student_pair.tflite": True}
LABELS = ["negative", "positive"]
MAX_LENGTH = 12
TEMPERATURE = 1.5
# Vocabulary, lower_case, max_length.
SETTINGS = (
    ("vocab.txt", True, MAX_LENGTH),
    ("vocab_pieces.txt", True, MAX_LENGTH),
    ("vocab.txt", False, 6),
)
SEED = 11
WIDTH, UNITS, HIDDEN = 6, 4, 5

# What two tokenizers easily take for different things.
TEXTS = (
    # Nothing, and nothing that is read.
    *("", " ", "\t\r\n", "\x00\x07", "\u200b\ufeff\xad"),
    # One word; words that are not known; the specials by name.
    *("film", "Film", "qwxyz", "[PAD] [UNK] [CLS] [SEP]", "pad"),
    # As long as the window and longer, also by the pieces of one word.
    *("a " * 11 + "film", "a " * 12 + "film", "good " * 500),
    *("unplayable", "unplayableness", "played, playing!", "xs" * 40),
    # The longest word that is looked up, and one byte more.
    *("e" + "n" * 99, "e" + "n" * 100, "é" + "n" * 99, "好" * 40),
    # Punctuation, marks inside words, numbers, addresses.
    *("It's a well-made film!!!", "don't (or can't) -- wow...", "#1 @you"),
    *("7.5/10 in 1999, 20% off for $4", "1,000,000", "a_b=c^d|e~f`g"),
    "https://www.example.org/film?star=5&x=%20#top me@example.com",
    *("“good” ‘bad’ … – — «ok»", "it’s not good, ca n’t ‘‘ok’’"),
    "c++ <html> a\\b ##s s##ed ##",
    # Masks; the mark that stands for one inside the tokenizer.
    *("a [MASK] film", "[mask] [MASK][MASK]x", "a[MASK]b", "\u2e16 a \u2e16"),
    # Accents, composed and apart; letters that fold to several.
    *("Café NAÏVE Über résumé", "Cafe\u0301 u\u0308ber", "É é E\u0301"),
    *("Straße STRASSE ﬁlm ﬁne oﬃce Ǆ Ĳ", "İstanbul ISPARTA ırmak"),
    *("ΧΟΡΟΣ ΟΔΥΣΣΕΥΣ ὈΔΥΣΣΕΎΣ χορός", "ФИЛЬМ Ёлка", "Ꭰꭰ ᏸ"),
    *("Ｆｉｌｍ １９９９ ㎏ ½ ² ™ 𝐱𝐲", "a\u0316\u0301\u0345 \u0301 x\u20dd"),
    # Scripts without spaces, and from right to left.
    *("好电影 ok", "映画を見た", "이 영화 한국", "日本a語b", "𠀀好"),
    *("فيلم جيد جداً، سيء", "סרט טוב. פִילְם", "\u202bסרט\u202c \u061cجيد"),
    *("हिन्दी फ़िल्म", "ภาพยนตร์ดี", "phim hay lắm"),
    # Pictures, with skin, joined, and with a variation selector.
    *("😀 👍🏽 !!!", "good😀film", "❤️ 👨‍👩‍👧 🇩🇪"),
    # Spaces and controls that are seen, and that are not.
    *("a\u00a0b\u2003c\u3000d\u2028e\u0085f", "fi\xadlm", "fi\u200blm"),
    *("fi\u200dlm", "fi\x00lm", "fi\u0600lm", "\ufeffa film", "a\ufffdb"),
    *("one\nline\tand\x0bone\x1cmore\x1f", "a\x1bfilm", "a\ue000b \U000e0041"),
    # Penn-Treebank spelling.
    *("it 's n't bad -lrb- can not say why -rrb-", "do n't", "do N'T"),
    *("`` good '' he said , ` fine '", "-LSB- a -rsb- -lcb-b-rcb-"),
    *("can not only can not only", "-l\u017fb- -LSB-"),
    *("-lrb-rrb- a-lrb-", "1\\/2 \\* a", "' 'film' '", "'' `` ` ''"),
    *("can not", "can not only", "Can Not just", "cannot canot", "can nothing"),
    *("gon na wan na got ta lem me gim me", "wan\tna", "gonna", "we 're"),
)
PAIRS = (
    ("a good film", "the film is not good"),
    ("", ""),
    ("a " * 30, "film"),
    ("Do n't", "don't"),
    ("good 😀", "好电影"),
)


def token_lines() -> list[str]:
    """Return the lines of tokens.jsonl."""
    lines = []
    for name, lower_case, max_length in SETTINGS:
        tokenizer = StudentTokenizer(HERE / name, lower_case, max_length)
        lines += [
            _line(
                vocabulary=name,
                lower_case=lower_case,
                max_length=max_length,
                text=text,
                ids=ids,
            )
            for text, ids in zip(TEXTS, _ids(tokenizer, TEXTS), strict=True)
        ]
    return lines


def exported(pair: bool) -> Exported:
    """Return a tiny student, the same one every time."""
    words = vocabulary.load_vocabulary(HERE / "vocab.txt")
    rng = np.random.default_rng(SEED + pair)

    def random(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype("float32")

    weights = StudentWeights(
        vectors=random(len(words), WIDTH),
        kernel=random(WIDTH, 8 * UNITS),
        recurrent_kernel=random(2, UNITS, 4 * UNITS),
        bias=random(8 * UNITS),
        dense=(
            (random((8 if pair else 2) * UNITS, HIDDEN), random(HIDDEN)),
            (random(HIDDEN, len(LABELS)), random(len(LABELS))),
        ),
        pair=pair,
    )
    return Exported(weights, words, LABELS, True, MAX_LENGTH, TEMPERATURE)


def logit_lines() -> list[str]:
    """Return the lines of logits.jsonl."""
    tokenizer = StudentTokenizer(HERE / "vocab.txt", True, MAX_LENGTH)
    lines = []
    for name, pair in MODELS.items():
        graph = StudentGraph(exported(pair).weights)
        shape = tf.TensorSpec([1, None], tf.int32)
        answer = tf.function(graph.logits, [shape] * (1 + pair))
        for texts in PAIRS if pair else [(text,) for text in TEXTS]:
            ids = [_ids(tokenizer, [text])[0] for text in texts]
            logits = answer(*(tf.constant([row]) for row in ids))
            values = logits.numpy()[0]
            lines.append(
                _line(
                    model=name,
                    texts=texts,
                    ids=ids,
                    logits=_rounded(values),
                    probabilities=_rounded(softmax(values / TEMPERATURE)),
                )
            )
    return lines


def main() -> None:
    """Write everything but the vocabularies, which are chosen by hand."""
    for name, lines in ((TOKENS, token_lines()), (LOGITS, logit_lines())):
        text = "".join(f"{line}\n" for line in lines)
        (HERE / name).write_text(text, encoding="ascii")
    for name, pair in MODELS.items():
        student = exported(pair)
        model = convert_float32(student)
        (HERE / name).write_bytes(packed(student, model, takes_text=False))


def _ids(tokenizer: StudentTokenizer, texts: list[str]) -> list[list[int]]:
    normalized = [normalize(text) for text in texts]
    return tokenizer(tf.constant(normalized, tf.string)).to_list()


def _line(**values: object) -> str:
    # ASCII: no editor and no version control may touch what is tested.
    return json.dumps(values, ensure_ascii=True)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]


if __name__ == "__main__":
    main()
