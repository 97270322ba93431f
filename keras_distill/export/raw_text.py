"""Raw text in a TFLite graph, which cannot rewrite strings.

Spaces, accents and punctuation are the splitter's own work. Of what
`data.normalize` does beyond that, a graph can put one mark in the place of
another: quotes that are not straight become lines of the vocabulary, whose
ids are exchanged for those of the straight ones. The rest (words joined or
cut, two marks that become one, characters that vanish within a word,
`[MASK]`) takes regular expressions, which TFLite has not.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.student.text import UNK_ID, StudentTokenizer

# Each one is a word by itself to BERT's splitter.
_STRAIGHT = {quote: normalize(quote) for quote in "\u2018\u2019\u201c\u201d`"}


class RawTextTokenizer:
    """Turns text into word ids by ops that TFLite can run.

    Args:
        vocabulary: See `StudentTokenizer`.
        lower_case: Likewise.
        max_length: Likewise.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        lower_case: bool,
        max_length: int | None,
    ) -> None:
        words = list(dict.fromkeys([*vocabulary, *_STRAIGHT]))
        lines = {word: line for line, word in enumerate(words)}
        ids = np.arange(len(words), dtype=np.int32)
        for quote, straight in _STRAIGHT.items():
            ids[lines[quote]] = lines.get(straight, UNK_ID)
        self._ids = ids
        self._tokenizer = StudentTokenizer(
            words, lower_case, max_length, protect_mask=False
        )

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Look up the ids of texts, padded with 0 to the longest.

        Args:
            texts: string [batch].

        Returns:
            int32 [batch, len], len at least 1.
        """
        return tf.gather(self._ids, self._tokenizer.dense(texts))


def read_alike(texts: Sequence[str], tokenizer: StudentTokenizer) -> list[bool]:
    """Tell which texts a graph has to read as the student does.

    Found without `RawTextTokenizer`, which is held to it.

    Args:
        texts: Any texts.
        tokenizer: The student's.
    """
    unprotected = StudentTokenizer(
        tokenizer.vocabulary,
        tokenizer.lower_case,
        tokenizer.max_length,
        protect_mask=False,
    )
    marks = str.maketrans(_STRAIGHT)
    in_graph = unprotected(tf.constant([t.translate(marks) for t in texts]))
    students = tokenizer(tf.constant(list(map(normalize, texts))))
    return [
        found == expected
        for found, expected in zip(
            in_graph.to_list(), students.to_list(), strict=True
        )
    ]
