"""How text becomes the student's ids, by its vocabulary file."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text

from keras_distill.errors import UserError
from keras_distill.files import read_lines, write_text

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIALS = (PAD, UNK, CLS, SEP, MASK)
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(5)

# Longer words are unknown to BERT's tokenizer, whatever the vocabulary.
MAX_WORD_BYTES = 100

# BERT's splitter cuts "[MASK]" in three. While ids are looked up this
# punctuation mark (right angle bracket with dot, unused in running text)
# stands for it: always a token of its own, and kept by the normaliser.
_MASK_MARK = "\u2e16"


class WordSplitter:
    """Splits text into the words that a student looks up.

    Args:
        lower_case: Lower-case and strip accents, as uncased BERT does.
    """

    def __init__(self, lower_case: bool = True) -> None:
        self._normalizer = tf_text.FastBertNormalizer(
            lower_case_nfd_strip_accents=lower_case
        )
        # Every word is unknown to this one, so that the offsets of its
        # tokens are those of whole words: the splitter is BERT's own.
        self._splitter = tf_text.FastWordpieceTokenizer(
            vocab=[UNK, _MASK_MARK],
            token_out_type=tf.int32,
            unknown_token=UNK,
            max_bytes_per_word=MAX_WORD_BYTES,
        )

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Split texts into words.

        Args:
            texts: string [batch].

        Returns:
            string [batch, (words)]; `[MASK]` is one word; an empty text has
            no word.
        """
        text = self._normalizer.normalize(_protect_mask(texts))
        tokens, starts, ends = self._splitter.tokenize_with_offsets(text)
        words = tf.strings.substr(
            tf.gather(text, tokens.value_rowids()),
            starts.flat_values,
            ends.flat_values - starts.flat_values,
        )
        words = tf.where(words == _MASK_MARK, MASK, words)
        return tokens.with_values(words)


class StudentTokenizer:
    """Turns text into the student's word ids.

    Args:
        vocabulary: The words in the order of their ids, or the path of a
            `vocab.txt`. The first five are `[PAD]`, `[UNK]`, `[CLS]`,
            `[SEP]`, `[MASK]`. Without `##` pieces a word outside the
            vocabulary is one `[UNK]`; with them it may split.
        lower_case: Lower-case and strip accents, as uncased BERT does.
        max_length: Longer texts lose their tail; None keeps all.
        protect_mask: Read `[MASK]` in a text as one token. TFLite has no
            regular expressions, so graphs for it leave this off.

    Raises:
        UserError: The vocabulary does not begin with the special tokens or
            holds a word twice.
    """

    def __init__(
        self,
        vocabulary: Sequence[str] | Path | str,
        lower_case: bool = True,
        max_length: int | None = None,
        protect_mask: bool = True,
    ) -> None:
        if isinstance(vocabulary, (str, Path)):
            vocabulary = load_vocabulary(vocabulary)
        self.vocabulary = list(vocabulary)
        self.lower_case = lower_case
        self.max_length = max_length
        self.protect_mask = protect_mask
        _check_vocabulary(self.vocabulary, "the vocabulary")
        words = list(self.vocabulary)
        words[MASK_ID] = _MASK_MARK
        self._tokenizer = tf_text.FastBertTokenizer(
            vocab=words,
            max_bytes_per_word=MAX_WORD_BYTES,
            token_out_type=tf.int32,
            unknown_token=UNK,
            lower_case_nfd_strip_accents=lower_case,
        )
        self._split: WordSplitter | None = None

    def __len__(self) -> int:
        """Return the number of ids, special tokens included."""
        return len(self.vocabulary)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Look up the ids of texts.

        Args:
            texts: string [batch].

        Returns:
            int32 [batch, (len)] with len from 1 to `max_length`: a text
            without a single word is one `[UNK]`, because cuDNN's LSTM
            accepts no fully masked row.
        """
        ids = self._ids(texts)
        if self.max_length is not None:
            ids = ids[:, : self.max_length]
        empty = tf.cast(ids.row_lengths() == 0, tf.int64)
        unknown = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(empty)], UNK_ID), empty
        )
        return tf.concat([ids, unknown], axis=1)

    def dense(self, texts: tf.Tensor) -> tf.Tensor:
        """Look up the ids of texts, padded with 0 to the longest.

        The same ids as a call gives, by ops that TFLite can run (with
        `tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS`).

        Args:
            texts: string [batch].

        Returns:
            int32 [batch, len], len at least 1.
        """
        ids = self._ids(texts).to_tensor(PAD_ID)
        if self.max_length is not None:
            ids = ids[:, : self.max_length]
        # One more column gives a batch of empty texts its first token; it
        # is cut off again when another text fills the first column.
        ids = tf.pad(ids, [[0, 0], [0, 1]])
        first = tf.where(ids[:, :1] == PAD_ID, UNK_ID, ids[:, :1])
        width = tf.maximum(tf.shape(ids)[1] - 1, 1)
        return tf.concat([first, ids[:, 1:width]], axis=1)

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Split texts into the words that are looked up.

        Args:
            texts: string [batch].

        Returns:
            string [batch, (words)], neither truncated nor cut into pieces.
        """
        if self._split is None:
            self._split = WordSplitter(self.lower_case)
        return self._split(texts)

    def _ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        if self.protect_mask:
            texts = _protect_mask(texts)
        return self._tokenizer.tokenize(texts)


def save_vocabulary(path: Path, vocabulary: Sequence[str]) -> None:
    """Write `vocab.txt`: one word a line, the line number is the id.

    Raises:
        UserError: The words are no vocabulary, or the file cannot be
            written.
    """
    _check_vocabulary(vocabulary, str(path))
    write_text(path, "".join(f"{word}\n" for word in vocabulary))


def load_vocabulary(path: Path | str) -> list[str]:
    """Read `vocab.txt`.

    Raises:
        UserError: The file is missing, not UTF-8, or no vocabulary.
    """
    vocabulary = read_lines(path)
    _check_vocabulary(vocabulary, str(path))
    return vocabulary


def _check_vocabulary(vocabulary: Sequence[str], name: str) -> None:
    """Check a word list; `name` says what the words come from."""
    for index, word in enumerate(SPECIALS):
        found = vocabulary[index] if index < len(vocabulary) else None
        if found != word:
            raise UserError(
                f"{name}: line {index + 1} is {found!r}, expected {word!r}"
            )
    seen: dict[str, int] = {}
    for index, word in enumerate(vocabulary):
        if not word:
            raise UserError(f"{name}: line {index + 1} is empty")
        if word in seen:
            raise UserError(
                f"{name}: line {index + 1} repeats {word!r} of line "
                f"{seen[word] + 1}"
            )
        seen[word] = index


def _protect_mask(texts: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(texts, r"\[MASK\]", _MASK_MARK)
