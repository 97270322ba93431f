"""Two texts as one: which, how, and never too long."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation.joining import CONNECTORS, Joiner, join
from keras_distill.augmentation.tagged import tag_examples
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize


def joined(texts, copies=3, seed=0):
    examples = [Example(text, id=str(i)) for i, text in enumerate(texts)]
    part = tag_examples(examples, False, lambda words: [""] * len(words))
    joiner = Joiner(AugmentationConfig(joined=copies))
    return list(joiner.rows(part, np.random.default_rng(seed)))


def test_a_text_is_joined_to_others_in_every_way():
    rows = joined(["a good film", "bad", "never again"], copies=60)
    assert all(re.fullmatch(r"[012]-j\d+", name) for name, _ in rows)
    assert {text for name, text in rows if name[0] == "0"} == {
        f"a good film{connector}{other}"
        for connector in CONNECTORS
        for other in ("bad", "never again")
    }


@pytest.mark.parametrize("stop", ".!?;:,")
def test_after_a_stop_there_is_only_a_space(stop):
    assert join(f"one{stop}", "two", " and ") == f"one{stop} two"


def test_the_whole_is_normalised():
    assert join("they can", "not say", " ") == "they cannot say"


def test_equal_empty_and_long_texts_are_not_joined():
    assert not join("one", "one", " ")
    assert not join("", "one", " ")
    assert not join("one", "", " ")
    assert not join("a " * 20, "b " * 21, " ")
    assert not join("a " * 20, "b " * 20, " and ")
    assert len(join("a " * 20, "b " * 20, " ").split()) == 40


def test_a_part_of_one_text_or_none_has_no_rows():
    assert joined(["alone"]) == []
    assert joined([]) == []
    assert joined(["same", "same"], copies=9) == []


TEXTS = st.text(st.sampled_from("aBé don't (it's) \"x\" ,. $5% -`[]"))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(TEXTS | TEXTS.map(lambda text: f"{text} " * 9), max_size=6),
    st.integers(0, 9),
    st.integers(0, 99),
)
def test_every_row_is_two_texts_normalised_and_not_too_long(
    texts, copies, seed
):
    texts = [normalize(text) for text in texts]
    rows = joined(texts, copies, seed)
    for name, text in rows:
        place, number = name.split("-j")
        first = texts[int(place)]
        assert int(number) < copies
        assert normalize(text) == text
        assert len(text.split()) <= 40
        assert text in {
            join(first, other, connector)
            for other in texts
            if other != first
            for connector in CONNECTORS
        }
    assert len({(n.split("-")[0], t) for n, t in rows}) == len(rows)
    assert rows == joined(texts, copies, seed)


def test_pairs_are_not_joined(tmp_path):
    from keras_distill.augmentation.generate import augment_file
    from keras_distill.data.examples import write_examples

    pairs = tmp_path / "pairs.jsonl"
    write_examples(pairs, [Example(f"a{i}", f"b{i}", 1) for i in range(5)])
    chosen = AugmentationConfig(joined=4, pos_tagger="none", workers=1)
    augment_file(pairs, tmp_path / "out", chosen, 1, True)
    assert not (tmp_path / "out" / "joined").exists()
