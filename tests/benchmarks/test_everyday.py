"""The forty sentences are none of the embedded corpus."""

import csv
import re

from keras_distill.data.splits import corpus_files


def fours(text):
    words = re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))
    return {tuple(words[i : i + 4]) for i in range(len(words) - 3)}


def test_no_four_words_in_a_row_are_in_the_corpus(module):
    with module("everyday").SENTENCES.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) == 40
    corpus = set()
    for path in corpus_files():
        for line in path.read_text("utf-8").splitlines():
            corpus |= fours(line)
    assert len(corpus) > 10_000
    for row in rows:
        assert not fours(row["text"]) & corpus, row["text"]
