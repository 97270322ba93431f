"""A static-embedding classifier: model2vec's mean of vectors, one product.

Its own vocabulary of whole words and random vectors of 256 numbers, as wide
as the published models of that kind. From raw text.
"""

from pathlib import Path

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from work import Inference, Work, compete

VERSIONS = ("model2vec", "tokenizers", "numpy")
WIDTH = 256


def build(kind: str, folder: Path, options: dict) -> Inference:
    """Make the contender."""
    work = Work(folder)
    words = {word: id for id, word in enumerate(work.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(words), WIDTH)).astype(np.float32)
    model = StaticModel(vectors, tokenizer)
    classes = len(work.weights["output_bias"])
    kernel = rng.normal(size=(WIDTH, classes)).astype(np.float32)

    def prepare(rows: list[int]) -> list[str]:
        return [work.texts[row] for row in rows]

    def answer(batch: list[str]) -> np.ndarray:
        return model.encode(batch) @ kernel

    size = vectors.nbytes + kernel.nbytes
    return Inference(work, prepare, answer, size, options)


if __name__ == "__main__":
    compete(build, *VERSIONS)
