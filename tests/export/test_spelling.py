import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.data.normalize import normalize
from keras_distill.export.spelling import _normalized, normalize_for_ids
from keras_distill.student.text import WordSplitter

split = WordSplitter(lower_case=False)
in_graph = tf.function(
    normalize_for_ids, input_signature=[tf.TensorSpec([None], tf.string)]
)

by_all_rules = tf.function(
    _normalized, input_signature=[tf.TensorSpec([None], tf.string)]
)


def words_here(texts):
    return split(in_graph(tf.constant(texts))).to_list()


def words_in_training(texts):
    return split(tf.constant([normalize(text) for text in texts])).to_list()


TREEBANK = [
    "it 's a film you ca n't CAN'T CA N'T miss",
    "-lrb- twice -RRB- , -lsb- x -rsb- -lcb- y -rcb- -lrb-rrb-",
    "`` the best , '' she said",
    "typed ` chris rock , ' ` anthony hopkins ' and ` terrorists ' here",
    "you can not say , can not only , Can Not",
    "gon na wan na got ta lem me gim me gonna",
    *("Gon na", "wan na", "GOT TA", "lem me", "gim me"),
    *("a -Rsb-", "typed ` x", "the '' end", "he ca N'T", "I can not"),
    *("x ' ' y", "2 \\* 3"),
    "either \\/ or 2 \\* 3",
    "the girls ' room ' ' x",
    "can not only can not only CAN NOT just can not only can not",
]
TYPED = [
    "",
    "   ",
    "don't say \"no\" 😀 it's 5 % of $ 10",
    "scan not, can nothing, can\tnot, écan not, can noté",
    "a\u200bb\u00adc\x07d\x00e",
    "a\nb\x0bc\x1cd\x85e\u2028f\u00a0g\u3000h",
    "[MASK] a[MASK]b",
    "-l\u017fb- -r\u017fb-",
    "it\u2019s \u201cgood\u201d, ca n\u2019t \u2018\u2018x\u2019\u2019",
    "a\ue000lrb\ue000 b\ue001c",
]


@pytest.mark.parametrize("text", TREEBANK + TYPED)
def test_the_graph_gives_the_words_of_training(text):
    assert words_here([text]) == words_in_training([text])


def test_the_treebank_texts_need_it():
    raw = split(tf.constant(TREEBANK)).to_list()
    for spelled, here in zip(raw, words_here(TREEBANK), strict=True):
        assert spelled != here


def test_a_text_does_not_depend_on_its_neighbours():
    texts = TREEBANK + TYPED
    assert words_here(texts) == [words_here([text])[0] for text in texts]


def test_no_texts_give_no_texts():
    assert in_graph(tf.constant([], tf.string)).shape == [0]


pieces = st.sampled_from(
    "do ca can not only Can n't 's `` '' \" -lrb- -RRB- gon na got ta lem me "
    "' ` \\/ \\* , . ! : ( ) é naïve 5 % $ x 😀 好 \u200b \u2028 \x07".split(
        " "
    )
)


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces, max_size=8), st.sampled_from([" ", "", "  "]))
def test_treebank_tokens_in_any_order_give_the_words_of_training(parts, gap):
    # Contractions stuck together by nobody are left out: the graph takes
    # away one space at a time, Python all at once.
    parts = [
        part
        for part, before in zip(parts, ["", *parts], strict=False)
        if not (part == before == "n't")
    ]
    text = gap.join(parts)
    assert words_here([text]) == words_in_training([text])


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=30))
def test_any_text_gives_the_words_of_training(text):
    assert words_here([text]) == words_in_training([text])


joined = st.tuples(st.lists(pieces, max_size=8), st.sampled_from([" ", ""]))
texts = st.one_of(
    joined.map(lambda both: both[1].join(both[0]).encode()),
    st.text(st.characters(codec="ascii"), max_size=12).map(str.encode),
    # Not always UTF-8.
    st.binary(max_size=12),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, max_size=4))
def test_the_rules_find_nothing_in_a_text_that_is_spared_them(batch):
    batch = tf.constant(batch, tf.string)
    assert in_graph(batch).numpy().tolist() == (
        by_all_rules(batch).numpy().tolist()
    )
