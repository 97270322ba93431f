"""The embedded corpus keeps the promises that the README makes."""

import re
from collections import Counter

import pytest

from keras_distill.data.splits import read_corpus, unlabeled_corpus

SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    labelled = [e.text_a for split in SPLITS for e in read_corpus(split)]
    unlabeled = unlabeled_corpus().read_text(encoding="utf-8").splitlines()
    return labelled + unlabeled


def test_it_has_1200_labelled_reviews_and_300_to_test_on():
    sizes = {split: len(read_corpus(split)) for split in SPLITS}
    assert sum(sizes.values()) >= 1200
    assert sizes["test"] >= 300


@pytest.mark.parametrize("split", SPLITS)
def test_both_classes_are_about_equally_frequent(split):
    counts = Counter(e.label for e in read_corpus(split))
    assert set(counts) == {0, 1}
    assert abs(counts[0] - counts[1]) <= 0.1 * sum(counts.values())


def test_no_two_texts_share_six_words_in_a_row(texts):
    owner: dict[tuple[str, ...], int] = {}
    for number, text in enumerate(texts):
        words = re.findall(r"\w+(?:['’]\w+)?", text.lower())
        for i in range(len(words) - 5):
            first = owner.setdefault(tuple(words[i : i + 6]), number)
            assert first == number, (texts[first], text)


def test_texts_are_varied_in_length_and_opening(texts):
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) <= 5
    assert max(lengths) >= 35
    openings = Counter(" ".join(text.lower().split()[:3]) for text in texts)
    assert openings.most_common(1)[0][1] <= 0.01 * len(texts)


def test_negation_is_frequent(texts):
    negated = re.compile(r"\b(?:not|no|never|nothing|nobody|without|\w+n't)\b")
    share = sum(bool(negated.search(t.lower())) for t in texts) / len(texts)
    assert share >= 0.2
