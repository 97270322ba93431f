"""What the student's words start from: vectors of a file, of the teacher."""

import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_distill.config import StudentConfig
from keras_distill.files import (
    read_lines,
    write_array,
    write_json,
    write_text,
)
from keras_distill.student.text import PAD_ID, SPECIALS
from keras_distill.student.vectors import (
    Coverage,
    Sources,
    file_words,
    is_fasttext,
    random_vectors,
    read_vectors,
)
from keras_distill.student.vocabulary import (
    is_piece,
    learned_pieces,
    select_words,
    split_word,
    unsplit,
)

logger = logging.getLogger(__name__)

# The spread of GloVe's numbers, where no file tells another one.
_SPREAD = 0.37
# Penalties of the ridge regression, tried on a tenth of the words.
_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
# Tokens of a file that are looked through for each word that is wanted.
_LOOKED_AT = 3


def write_words(
    folder: Path,
    settings: StudentConfig,
    counts: Mapping[str, int],
    tokens: Sequence[str] | None,
    lower_case: bool,
) -> Path:
    """Write the words that a student may know, before its text is complete.

    Args:
        folder: Gets `words.txt`: words of the run's own text by frequency,
            then the open list, then pieces; and `words.json`, how many of
            each.
        settings: `embeddings`, `vocabulary_size`, `open_vocabulary`.
        counts: How often each word of the run's own text occurs.
        tokens: The teacher's WordPiece vocabulary; None if it has none.
        lower_case: Whether the student's text is lower-cased.

    Returns:
        The path of `words.txt`.
    """
    own = select_words(counts, settings.vocabulary_size, settings.min_count)
    own = own[len(SPECIALS) :]
    sources = Sources.of(settings.embeddings)
    opened: list[str] = []
    if settings.open_vocabulary:
        if sources.learned == "teacher":
            opened += [t for t in tokens or () if not is_piece(t)]
        if sources.file is not None and not is_fasttext(sources.file):
            opened += file_words(
                sources.file,
                settings.embedding_dim,
                _LOOKED_AT * settings.vocabulary_size,
            )
        opened = unsplit(list(dict.fromkeys(opened)), lower_case)
        known = {*own, *SPECIALS}
        room = max(0, settings.vocabulary_size - len(known))
        opened = [word for word in opened if word not in known][:room]
    pieces = [*filter(is_piece, tokens or learned_pieces(counts))]
    known = {*own, *opened}
    pieces = [piece for piece in pieces if piece not in known]
    words = [*own, *opened, *pieces]
    write_text(folder / "words.txt", "".join(f"{word}\n" for word in words))
    write_json(
        folder / "words.json",
        {"own": len(own), "open": len(opened), "pieces": len(pieces)},
    )
    return folder / "words.txt"


def write_vectors(
    folder: Path,
    settings: StudentConfig,
    states: np.ndarray | None,
    texts: Iterable[str],
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
        vectors, found = trained_vectors(texts, words, dim, seed)
    else:
        vectors = reduced(states, dim, _SPREAD)
    if sources.file is not None and states is not None:
        spread = float(vectors[found].std()) if found.any() else _SPREAD
        vectors = filled(vectors, found, states)
        own = reduced(states, dim, spread)
        write_array(folder / "trainable.npy", own)
    write_array(folder / "found.npy", found)
    write_array(folder / "vectors.npy", vectors)


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
    teacher_fills = (folder / "trainable.npy").is_file()
    has = found if not teacher_fills else np.ones(len(words), bool)
    usable = {word for word, row in rows.items() if has[row]}
    parts = [
        [rows[word]]
        if word in usable
        else [rows[part] for part in split_word(word, usable)]
        for word in vocabulary
    ]
    result = {}
    for path in sorted(folder.glob("*.npy")):
        if path.name not in ("vectors.npy", "trainable.npy"):
            continue
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
    texts: Iterable[str], words: Sequence[str], dim: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Train word2vec (Mikolov et al. 2013) on the run's own text, by gensim.

    One thread and a hash of its own: equal text gives equal vectors.

    Returns:
        As `read_vectors`.
    """
    from gensim.models import Word2Vec

    model = Word2Vec(
        [text.split() for text in texts],
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
    for row in np.flatnonzero(found):
        vectors[row] = model.wv[words[row]]
    spread = float(vectors[found].std()) if found.any() else 1.0
    return vectors * np.float32(_SPREAD / max(spread, 1e-12)), found
