"""What the student's words start from: vectors of a file, of the teacher."""

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_distill.config import Config, StudentConfig
from keras_distill.files import (
    read_json,
    read_lines,
    write_array,
    write_json,
    write_text,
)
from keras_distill.student.text import PAD_ID, SPECIALS, save_vocabulary
from keras_distill.student.vector_file import (
    Sources,
    file_words,
    is_fasttext,
)
from keras_distill.student.vectors import read_vectors
from keras_distill.student.vocabulary import (
    count_words,
    is_piece,
    learned_pieces,
    select_words,
    split_texts,
    split_word,
    teacher_tokens,
    unsplit,
)
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import read_texts

# The spread of GloVe's numbers, where no file tells another one.
_SPREAD = 0.37
# Penalties of the ridge regression, tried on a tenth of the words.
_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
# Of the run's own text and the open list together.
_MOST_WORDS = 200_000
# Words without a vector, as in Kim 2014 and the paper's released code.
_RANGE = 0.25


@dataclass(frozen=True)
class Coverage:
    """How much of the text has a pretrained vector.

    Attributes:
        tokens: Share of the running words; None when they were not counted.
        types: Share of the vocabulary's words, without special tokens and
            `##` pieces.
    """

    tokens: float | None
    types: float

    @classmethod
    def of(
        cls,
        vocabulary: Sequence[str],
        found: Sequence[bool],
        counts: Mapping[str, int] | None,
    ) -> "Coverage":
        """Count the words of a vocabulary that have a vector."""
        words = [
            (word, has)
            for word, has in zip(vocabulary, found, strict=True)
            if word not in SPECIALS and not word.startswith("##")
        ]
        known = [word for word, has in words if has]
        tokens = None
        if counts is not None:
            total = sum(n for word, n in counts.items() if word not in SPECIALS)
            tokens = sum(counts.get(word, 0) for word in known) / max(total, 1)
        return cls(tokens, len(known) / len(words) if words else 0.0)


def write_words(
    folder: Path,
    settings: StudentConfig,
    counts: Mapping[str, int],
    tokens: Sequence[str] | None,
    lower_case: bool,
) -> None:
    """Write the words that a student may know, before its text is complete.

    More than it will know: the size of its vocabulary does not decide, so
    that another size needs no other transfer set.

    Args:
        folder: Gets `words.txt`: words of the run's own text by frequency,
            then the open list, then pieces; and `words.json`, how many are
            `own` and `open`.
        settings: `embeddings`, `embedding_dim`, `open_vocabulary`.
        counts: How often each word of the run's own text occurs.
        tokens: The teacher's WordPiece vocabulary; None if it has none.
        lower_case: Whether the student's text is lower-cased.
    """
    sources = Sources.of(settings.embeddings)
    opened: list[str] = []
    if settings.open_vocabulary:
        if sources.learned == "teacher":
            opened += [t for t in tokens or () if not is_piece(t)]
        if sources.file is not None and not is_fasttext(sources.file):
            listed = file_words(sources.file, settings.embedding_dim)
            opened += itertools.islice(listed, _MOST_WORDS)
    opened = unsplit(list(dict.fromkeys(opened)), lower_case)
    pieces = tokens or learned_pieces(counts)
    own, known, words = (
        select_words(counts, _MOST_WORDS, 1, *more)[len(SPECIALS) :]
        for more in ((), (opened,), (opened, pieces))
    )
    write_text(folder / "words.txt", "".join(f"{word}\n" for word in words))
    write_json(
        folder / "words.json",
        {"own": len(own), "open": len(known) - len(own)},
    )


def write_vectors(
    folder: Path,
    settings: StudentConfig,
    states: np.ndarray | None,
    texts: Iterable[str],
    lower_case: bool,
    seed: int,
) -> None:
    """Give the words of `words.txt` the vectors that the student starts from.

    Args:
        folder: Holds `words.txt`. Gets `vectors.npy`, float32 [words, dim],
            for the frozen channel; `trainable.npy` of the same shape, where
            the other channel starts from others; `found.npy`, bool [words]:
            which words the file, or word2vec, has.
        settings: `embeddings`, `embedding_dim`.
        states: float32 [words, hidden], the teacher's; None without it.
        texts: The run's own text, for word2vec.
        lower_case: Whether the student's text is lower-cased.
        seed: Of word2vec.

    Raises:
        UserError: A vector file is damaged or the disk is full.
    """
    words = read_lines(folder / "words.txt")
    dim, sources = settings.embedding_dim, Sources.of(settings.embeddings)
    found = np.ones(len(words), bool)
    if sources.file is not None:
        vectors, found = read_vectors(sources.file, words, dim)
    elif sources.learned == "word2vec":
        vectors, found = trained_vectors(texts, words, dim, lower_case, seed)
    else:
        vectors = reduced(states, dim, _SPREAD)
    if sources.file is not None and sources.learned == "teacher":
        spread = float(vectors[found].std()) if found.any() else _SPREAD
        vectors = filled(vectors, found, states)
        write_array(folder / "trainable.npy", reduced(states, dim, spread))
    write_array(folder / "found.npy", found)
    write_array(folder / "vectors.npy", vectors)


def write_vocabulary(
    config: Config,
    run_dir: Path,
    place: Path,
    lower_case: bool,
    vectors: Path | None,
) -> None:
    """Choose the student's words and give them their vectors.

    Args:
        config: The run's configuration.
        run_dir: The run folder, with teacher and transfer set.
        place: Gets `vocab.txt`; `words.json`, how many words of it are the
            transfer set's own; `vectors.npy` and perhaps `trainable.npy`;
            `coverage.json`.
        lower_case: Whether the student's text is lower-cased.
        vectors: A folder as `write_words` and `write_vectors` leave it; None
            where the run has none.

    Raises:
        UserError: A part of the run is damaged, the vector file is, or the
            disk is full.
    """
    settings = config.student
    manifest = Manifest.load(run_dir / "transfer_set")
    files = manifest.files(run_dir / "transfer_set", "train")
    counts = count_words(read_texts(files, manifest.pair), lower_case)
    known, opened = [], []
    if vectors is not None:
        known = read_lines(vectors / "words.txt")
        sizes = read_json(vectors / "words.json")
        opened = known[sizes["own"] :][: sizes["open"]]
    pieces: Sequence[str] = ()
    if settings.word_pieces:
        # Those that have vectors, where there are some.
        tokens = known or teacher_tokens(run_dir / "teacher")
        pieces = tokens or learned_pieces(counts)
    words = select_words(
        counts,
        settings.vocabulary_size,
        settings.min_count,
        opened if settings.open_vocabulary else (),
        pieces,
    )
    save_vocabulary(place / "vocab.txt", words)
    own = itertools.takewhile(counts.__contains__, words[len(SPECIALS) :])
    write_json(place / "words.json", {"own": len(list(own))})
    tables: dict[str, np.ndarray] = {}
    coverage = Coverage(None, None)
    if settings.embeddings != "none" and vectors is not None:
        tables, coverage = vocabulary_vectors(
            vectors, words, counts, config.seed
        )
    elif settings.embeddings != "none":
        tables["vectors.npy"], coverage = load_vectors(
            settings.embeddings,
            words,
            settings.embedding_dim,
            counts=counts,
            seed=config.seed,
        )
    for name, table in tables.items():
        write_array(place / name, table)
    write_json(place / "coverage.json", asdict(coverage))


def load_vectors(
    path: Path | str,
    vocabulary: Sequence[str],
    dim: int,
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, Coverage]:
    """Read the vectors of the vocabulary's words.

    Args:
        path: The vector file.
        vocabulary: The words in the order of their ids.
        dim: Width of the vectors.
        counts: How often each word occurs, for the coverage by tokens.
        seed: For words without a vector: uniform in -0.25..0.25.

    Returns:
        float32 [V, dim] with zeros for `[PAD]`, and the coverage.

    Raises:
        UserError: As `read_vectors`.
    """
    vectors, found = read_vectors(path, vocabulary, dim)
    drawn = random_vectors(vocabulary, dim, seed)
    vectors = np.where(found[:, None], vectors, drawn)
    return vectors, Coverage.of(vocabulary, found, counts)


def random_vectors(
    vocabulary: Sequence[str], dim: int, seed: int
) -> np.ndarray:
    """Draw the vectors of words that have none.

    Returns:
        float32 [V, dim], uniform in -0.25..0.25; zeros for `[PAD]`.
    """
    generator = np.random.default_rng(seed)
    shape = (len(vocabulary), dim)
    vectors = generator.uniform(-_RANGE, _RANGE, shape).astype(np.float32)
    vectors[PAD_ID] = 0
    return vectors


def vocabulary_vectors(
    folder: Path,
    vocabulary: Sequence[str],
    counts: Mapping[str, int],
    seed: int,
) -> tuple[dict[str, np.ndarray], Coverage]:
    """Look up the vectors of a vocabulary.

    A word that has none takes the mean of its pieces'; where that fails, a
    random one.

    Args:
        folder: As `write_vectors` leaves it.
        vocabulary: The words in the order of their ids.
        counts: How often each word occurs in the transfer set.
        seed: Of random vectors.

    Returns:
        float32 [V, dim] by the name of the file, `vectors.npy` and perhaps
        `trainable.npy`, zeros for `[PAD]`; and the coverage.
    """
    words = read_lines(folder / "words.txt")
    rows = {word: row for row, word in enumerate(words)}
    found = np.load(folder / "found.npy")
    files = [folder / "vectors.npy", folder / "trainable.npy"]
    files = [path for path in files if path.is_file()]
    # With a second file the teacher has filled the first one.
    usable = {word for word, row in rows.items() if files[1:] or found[row]}
    parts = [
        [rows[word]]
        if word in usable
        else [rows[part] for part in split_word(word, usable)]
        for word in vocabulary
    ]
    result = {}
    for path in files:
        source = np.load(path)
        vectors = random_vectors(vocabulary, source.shape[1], seed)
        for row, places in enumerate(parts):
            if places:
                vectors[row] = source[places].mean(axis=0)
        vectors[PAD_ID] = 0
        result[path.name] = vectors
    known = [word in rows and bool(found[rows[word]]) for word in vocabulary]
    return result, Coverage.of(vocabulary, known, counts)


def reduced(states: np.ndarray, dim: int, spread: float) -> np.ndarray:
    """Return the principal components of vectors, scaled to a spread.

    Args:
        states: float32 [words, hidden].
        dim: How many components; zeros follow where there are fewer.
        spread: The standard deviation of all numbers of the result.

    Returns:
        float32 [words, dim].
    """
    centred = states.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    # eigh has the smallest first; a component's sign is a convention.
    axes = axes[:, ::-1][:, :dim]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    vectors = centred @ axes
    vectors *= spread / max(float(vectors.std()), 1e-12)
    missing = dim - vectors.shape[1]
    return np.pad(vectors, [(0, 0), (0, missing)]).astype(np.float32)


def filled(
    vectors: np.ndarray, found: np.ndarray, states: np.ndarray
) -> np.ndarray:
    """Fill the words that a file lacks by ridge regression from others.

    Args:
        vectors: float32 [words, dim], the file's.
        found: bool [words], which of them it has.
        states: float32 [words, hidden], the teacher's, of all words.

    Returns:
        float32 [words, dim]; the file's own stay.
    """
    if found.all() or not found.any():
        return vectors
    inputs = (states - states.mean(axis=0)) / (states.std() + 1e-12)
    inputs = np.pad(inputs, [(0, 0), (0, 1)], constant_values=1.0)
    rows = np.flatnonzero(found)
    probe = rows[::10]
    known = np.setdiff1d(rows, probe) if len(rows) > 10 else rows
    errors = {
        penalty: np.square(
            inputs[probe] @ _ridge(inputs[known], vectors[known], penalty)
            - vectors[probe]
        ).mean()
        for penalty in _PENALTIES
    }
    weights = _ridge(inputs[rows], vectors[rows], min(errors, key=errors.get))
    guessed = (inputs @ weights).astype(np.float32)
    return np.where(found[:, None], vectors, guessed)


def _ridge(
    inputs: np.ndarray, targets: np.ndarray, penalty: float
) -> np.ndarray:
    square = inputs.T @ inputs
    square[np.diag_indices_from(square)] += penalty
    return np.linalg.solve(square, inputs.T @ targets)


def trained_vectors(
    texts: Iterable[str],
    words: Sequence[str],
    dim: int,
    lower_case: bool,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Train word2vec (Mikolov et al. 2013) on the run's own text, by gensim.

    One thread and a hash of its own: equal text gives equal vectors.

    Returns:
        As `read_vectors`.
    """
    from gensim.models import Word2Vec

    model = Word2Vec(
        list(split_texts(texts, lower_case)),
        vector_size=dim,
        min_count=1,
        sg=1,
        epochs=10,
        seed=seed,
        workers=1,
        hashfxn=lambda text: zlib.crc32(str(text).encode()),
    )
    found = np.array([word in model.wv for word in words])
    vectors = np.zeros((len(words), dim), np.float32)
    vectors[found] = model.wv[[w for w in words if w in model.wv]]
    spread = float(vectors[found].std()) if found.any() else 1.0
    return vectors * np.float32(_SPREAD / max(spread, 1e-12)), found
