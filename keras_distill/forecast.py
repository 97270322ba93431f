"""The forecast: what the text of a run tells of its hours of work.

How long texts are, how many words have a vector, how many the student will not
know. All of it without TensorFlow.
"""

import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_distill.config import Config
from keras_distill.data.examples import Example, read_examples
from keras_distill.errors import UserError
from keras_distill.progress import progress
from keras_distill.student.vector_file import (
    Sources,
    file_words,
    fold,
    is_fasttext,
)
from keras_distill.teacher.folder import lower_cases, word_pieces
from keras_distill.teacher.source import find_checkpoint

# Beside a run's data: what was measured of it.
FORECAST = "forecast.json"

# Rows that words are counted in, and that lengths are measured on.
_MOST_ROWS = 500_000
_MEASURED_ROWS = 100_000
# A vector file is sorted by frequency; more words tell little more.
_MOST_WORDS = 1_000_000
_MOST_OPEN_WORDS = 200_000
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PERCENTILES = (50, 95, 99)


class _Splitter:
    """Splits text into words as the student and BERT do, in plain Python.

    `tokenizers` has BERT's own rules, without TensorFlow.
    """

    def __init__(self, lower_case: bool) -> None:
        # Said aloud, or it warns in every process that is started later.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        from tokenizers import normalizers, pre_tokenizers

        self.lower_case = lower_case
        self.normalizer = normalizers.BertNormalizer(
            lowercase=lower_case, strip_accents=lower_case
        )
        self.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def __call__(self, text: str) -> list[str]:
        clean = self.normalizer.normalize_str(self.folded(text))
        return [w for w, _ in self.pre_tokenizer.pre_tokenize_str(clean)]

    def folded(self, text: str) -> str:
        """Return text as tensorflow-text folds it: "ß" becomes "ss"."""
        if not self.lower_case or text.isascii():
            return text
        return unicodedata.normalize("NFKC", text).casefold()

    def pieces(self, vocabulary: Iterable[str]) -> Any:
        """Return a tokenizer that reads words by a vocabulary, in pieces."""
        from tokenizers import Tokenizer, models

        # Some teachers call it otherwise.
        words = dict.fromkeys(("[UNK]", *vocabulary))
        ids = {word: i for i, word in enumerate(words)}
        reader = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
        reader.normalizer = self.normalizer
        reader.pre_tokenizer = self.pre_tokenizer
        return reader


def measure(config: Config, data: Path, teacher: Path | None) -> dict[str, Any]:
    """Measure the text of a run.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The folder of its teacher, the first of several; None where
            that is yet to be fetched.

    Returns:
        `text_bytes`, the mean of a training row. `lengths` of texts and,
        where the teacher's WordPiece is known, `pieces` of rows: percentiles
        and the maximum; `letters`, the mean of a word's; `cut`, the share
        that is longer than `teacher`, `student` and `MediaPipe` read;
        `wordless` texts; `teacher_unknown`, the share of words that the
        teacher has no pieces for. `vectors`: the share of the training words
        that the file has, `tokens` as they run and `types`, and how many
        `words` were read of it. `vocabulary`, about how many words and pieces
        the student will know, and `unknown`, about which share of the tokens
        to choose on it will not.

    Raises:
        UserError: The vector file has no word of the training text, or a
            file is damaged.
    """
    lower = _lower_cases(config, teacher)
    split = _Splitter(lower)
    chunks: Counter[str] = Counter()
    texts: list[list[str]] = []
    for example in _rows(data / "train.jsonl.gz"):
        parts = _texts(example)
        if len(texts) < _MEASURED_ROWS:
            texts.append(parts)
        for text in parts:
            # BERT's splitter never looks across a space.
            chunks.update(text.split(" "))
    own = chunks.copy()
    for example in _rows(data / "unlabeled.jsonl.gz"):
        for text in _texts(example):
            chunks.update(text.split(" "))
    words = {chunk: split(chunk) for chunk in chunks}
    size = sum(len(text.encode()) for parts in texts for text in parts)
    facts: dict[str, Any] = {"text_bytes": size / max(len(texts), 1)}
    tokens = teacher and word_pieces(teacher)
    known = {chunk: words[chunk] for chunk in own}
    counts = _counts(own, known)
    letters = sum(len(word) * count for word, count in counts.items())
    facts["letters"] = letters / max(counts.total(), 1)
    pieces = None
    if tokens is not None:
        pieces, facts["teacher_unknown"] = _pieces(tokens, split, counts)
    facts |= _lengths(config, texts, known, pieces)
    opened, facts["vectors"] = _vectors(config, counts)
    facts["vocabulary"], facts["unknown"] = _unknown(
        *(config, data / "select.jsonl.gz", split),
        *(_counts(chunks, words), opened, tokens),
    )
    return facts


def _counts(
    chunks: Mapping[str, int], words: Mapping[str, list[str]]
) -> Counter[str]:
    """Count words, given how often what stands between spaces occurs."""
    counts: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word in words[chunk]:
            counts[word] += count
    return counts


def _rows(path: Path) -> Iterator[Example]:
    return itertools.islice(read_examples(path), _MOST_ROWS)


def _texts(example: Example) -> list[str]:
    return [t for t in (example.text_a, example.text_b) if t is not None]


def _lower_cases(config: Config, teacher: Path | None) -> bool:
    if config.teacher.cased is not None:
        return not config.teacher.cased
    # The student keeps case if one of several teachers does.
    if config.teacher.alone:
        return True
    first, *others = config.teacher.sources
    return _folds(first, teacher) and all(
        _folds(name, Path(find_checkpoint(name))) for name in others
    )


def _folds(name: str, folder: Path | None) -> bool:
    """Say whether a teacher lower-cases; one on the hub tells by its name."""
    if folder is not None and folder.is_dir():
        return lower_cases(folder)
    return "uncased" in name or "cased" not in name


def _pieces(
    tokens: Sequence[str], split: _Splitter, counts: Counter[str]
) -> tuple[dict[str, int], float]:
    """Return each word's number of pieces, and how many are unknown."""
    reader = split.pieces(tokens)
    names = list(counts)
    pieces = {
        name: read.tokens
        for name, read in zip(
            *(names, reader.encode_batch(names, add_special_tokens=False)),
            strict=True,
        )
    }
    unknown = sum(counts[name] for name in names if pieces[name] == ["[UNK]"])
    sizes = {name: len(tokens) for name, tokens in pieces.items()}
    return sizes, unknown / max(counts.total(), 1)


def _lengths(
    config: Config,
    texts: Sequence[Sequence[str]],
    words: Mapping[str, list[str]],
    pieces: Mapping[str, int] | None,
) -> dict[str, Any]:
    size = {chunk: len(parts) for chunk, parts in words.items()}
    lengths = [
        [sum(size[chunk] for chunk in text.split(" ")) for text in parts]
        for parts in texts
    ]
    single = [length for row in lengths for length in row]
    facts = {
        "lengths": _percentiles(single),
        "wordless": sum(length == 0 for length in single),
        "cut": {"student": _above(single, config.student.max_length)},
    }
    if pieces is not None:
        size = {
            chunk: sum(pieces[word] for word in parts)
            for chunk, parts in words.items()
        }
        # With [CLS], and [SEP] behind each text.
        read = [
            1 + sum(1 + sum(size[c] for c in text.split(" ")) for text in row)
            for row in texts
        ]
        facts["pieces"] = _percentiles(read)
        facts["cut"]["teacher"] = _above(read, config.teacher.max_length)
    return facts


def _percentiles(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values) or [0]
    last = len(ordered) - 1
    found = {f"p{p}": ordered[last * p // 100] for p in PERCENTILES}
    return found | {"max": ordered[-1]}


def _above(values: Sequence[int], limit: int) -> float:
    return sum(value > limit for value in values) / max(len(values), 1)


def _vectors(
    config: Config, counts: Mapping[str, int]
) -> tuple[list[str], dict[str, Any] | None]:
    """Return the first words of the vector file, and how many it covers."""
    path = Sources.of(config.student.embeddings).file
    if path is None:
        return [], None
    # Marks and digits are in files of every language.
    counts = {w: n for w, n in counts.items() if any(map(str.isalpha, w))}
    wanted = {fold(word) for word in counts}
    found: set[str] = set()
    opened: list[str] = []
    read = 0
    words = file_words(path, config.student.embedding_dim)
    with progress(None, "looking at vectors", "words") as bar:
        for word in itertools.islice(words, _MOST_WORDS):
            read += 1
            if len(opened) < _MOST_OPEN_WORDS:
                opened.append(word)
            folded = fold(word)
            if folded in wanted:
                found.add(folded)
            if read % 10_000 == 0:
                bar.update(10_000)
    known = [word for word in counts if fold(word) in found]
    tokens = sum(counts[word] for word in known) / max(sum(counts.values()), 1)
    if counts and not known:
        shown = ", ".join(map(repr, itertools.islice(opened, 3)))
        data = ", ".join(map(repr, itertools.islice(counts, 3)))
        raise UserError(
            f"{path} has a vector for none of the {len(counts):,} words of "
            f"the training text (0.0%): found {shown}, expected such as "
            f"{data}. Is it of another language? --embeddings none goes "
            "without a file"
        )
    facts = {"file": path.name, "words": read, "tokens": tokens}
    facts["types"] = len(known) / max(len(counts), 1)
    if is_fasttext(path):
        # A model's words open no vocabulary: it has a vector for any word.
        return [], facts
    return opened, facts


def _unknown(
    config: Config,
    select: Path,
    split: _Splitter,
    counts: Counter[str],
    opened: Sequence[str],
    tokens: Sequence[str] | None,
) -> tuple[int, float]:
    """Estimate the student's words, and the share of tokens without one.

    Its vocabulary is that of `select_words`, but augmentation adds a few
    words that are not counted here.
    """
    student = config.student
    known = [word for word, n in counts.most_common() if n >= student.min_count]
    if student.open_vocabulary:
        if Sources.of(student.embeddings).learned == "teacher":
            known += [t for t in tokens or () if not t.startswith("##")]
        known += opened
    known = known[: max(0, student.vocabulary_size - len(_SPECIALS))]
    if student.word_pieces:
        characters = {c for word in counts for c in word}
        pieces = tokens or (*characters, *(f"##{c}" for c in characters))
        known += [t for t in pieces if len(t) == 1 or t.startswith("##")]
    vocabulary = dict.fromkeys((*_SPECIALS, *known))
    reader = split.pieces(vocabulary)
    texts = [split.folded(t) for e in _rows(select) for t in _texts(e)]
    found: Counter[str] = Counter()
    for read in reader.encode_batch(texts, add_special_tokens=False):
        found.update(read.tokens)
    return len(vocabulary), found["[UNK]"] / max(found.total(), 1)
