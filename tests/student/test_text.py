import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps

from keras_distill.errors import UserError
from keras_distill.student.text import (
    MASK_ID,
    SPECIALS,
    UNK_ID,
    StudentTokenizer,
    WordSplitter,
    load_vocabulary,
    save_vocabulary,
)
from keras_distill.student.vocabulary import select_words

WORDS = ["good", "film", ",", "cafe", "don", "'", "t", "[", "]", "mask"]
VOCABULARY = [*SPECIALS, *WORDS]

any_text = st.text(
    st.characters(blacklist_categories=["Cs"]), min_size=0, max_size=40
)


@pytest.fixture(scope="module")
def tokenizer():
    return StudentTokenizer(VOCABULARY, lower_case=True)


def words_of(tokenizer, text):
    ids = tokenizer(tf.constant([text])).to_list()[0]
    return [tokenizer.vocabulary[i] for i in ids]


def test_words_are_looked_up_by_their_row(tokenizer):
    ids = tokenizer(tf.constant(["good film", "film"]))
    assert ids.to_list() == [[5, 6], [6]]
    assert ids.dtype == tf.int32


def test_an_uncased_tokenizer_lower_cases_and_strips_accents(tokenizer):
    assert words_of(tokenizer, "GOOD Café") == ["good", "cafe"]


def test_a_cased_tokenizer_keeps_case_and_accents():
    cased = StudentTokenizer([*SPECIALS, "Good", "good", "Café"], False)
    assert words_of(cased, "Good good Café cafe") == [
        "Good",
        "good",
        "Café",
        "[UNK]",
    ]


def test_punctuation_is_split_off(tokenizer):
    assert words_of(tokenizer, "good, don't") == ["good", ",", "don", "'", "t"]


@pytest.mark.parametrize(
    "text", ["good [MASK] film", "good[MASK]film", "good [MASK]film"]
)
def test_mask_is_one_token(tokenizer, text):
    assert words_of(tokenizer, text) == ["good", "[MASK]", "film"]


def test_a_lower_case_mask_is_ordinary_text(tokenizer):
    assert words_of(tokenizer, "[mask]") == ["[", "mask", "]"]


def test_an_unknown_word_is_one_unk(tokenizer):
    assert words_of(tokenizer, "goodness gracious") == ["[UNK]", "[UNK]"]


def test_pieces_split_unknown_words():
    open_ended = StudentTokenizer([*VOCABULARY, "##ness"], True)
    assert words_of(open_ended, "goodness") == ["good", "##ness"]


@pytest.mark.parametrize("text", ["", "   ", "\x00\x01", "\u200b"])
def test_a_text_without_words_is_one_unk(tokenizer, text):
    assert tokenizer(tf.constant([text])).to_list() == [[UNK_ID]]
    assert tokenizer.dense(tf.constant([text])).numpy().tolist() == [[UNK_ID]]


def test_an_empty_batch_has_no_rows(tokenizer):
    none = tf.constant([], tf.string)
    assert tokenizer(none).to_list() == []
    assert tokenizer.dense(none).shape[0] == 0


def test_long_texts_lose_their_tail():
    short = StudentTokenizer(VOCABULARY, True, max_length=2)
    texts = tf.constant(["good film, good", "film"])
    assert short(texts).to_list() == [[5, 6], [6]]
    assert short.dense(texts).numpy().tolist() == [[5, 6], [6, 0]]


@settings(max_examples=25, deadline=None)
@given(st.lists(any_text, min_size=1, max_size=4))
def test_dense_ids_are_the_ragged_ids_padded(texts):
    tokenizer = StudentTokenizer(VOCABULARY, True)
    texts = tf.constant(texts)
    dense = tokenizer.dense(texts).numpy()
    np.testing.assert_array_equal(dense, tokenizer(texts).to_tensor().numpy())
    assert (dense[:, 0] != 0).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(any_text, min_size=1, max_size=4), st.booleans())
def test_every_word_that_is_split_off_can_be_looked_up(texts, lower_case):
    words = WordSplitter(lower_case)(tf.constant(texts)).to_list()
    counts = {w.decode(): 1 for row in words for w in row}
    vocabulary = select_words(counts, 10_000, 1)
    tokenizer = StudentTokenizer(vocabulary, lower_case)
    ids = tokenizer(tf.constant(texts)).to_list()
    for row, found in zip(words, ids, strict=True):
        expected = [vocabulary.index(word.decode()) for word in row]
        assert found == (expected or [UNK_ID])


def test_splitting_keeps_mask_whole(tokenizer):
    split = tokenizer.split(tf.constant(["Good [MASK], film", ""]))
    assert split.to_list() == [[b"good", b"[MASK]", b",", b"film"], []]


def test_broken_bytes_do_not_stop_a_served_model(tokenizer):
    ids = tokenizer(tf.constant([b"\xff\xfe good \xc3"]))
    assert ids.to_list() == [[UNK_ID, 5, UNK_ID]]


def test_ids_are_the_same_in_a_data_pipeline(tokenizer):
    texts = ["good [MASK] film", "", "Café don't"]
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(tokenizer)
    ids = [row for batch in dataset for row in batch.to_list()]
    assert ids == tokenizer(tf.constant(texts)).to_list()


def test_ids_are_the_same_in_a_saved_model(tokenizer, tmp_path):
    module = tf.Module()
    module.tokenizer = tokenizer
    module.ids = tf.function(
        tokenizer.dense, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path))
    texts = tf.constant(["good [MASK] film", "", "Café don't"])
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.ids(texts), tokenizer.dense(texts))


def test_ids_are_the_same_in_tflite():
    tokenizer = StudentTokenizer(
        VOCABULARY, True, max_length=4, protect_mask=False
    )
    module = tf.Module()
    module.ids = tf.function(
        lambda text: {"ids": tokenizer.dense(text)},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.ids.get_concrete_function()], module
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.allow_custom_ops = True
    interpreter = InterpreterWithCustomOps(
        model_content=converter.convert(),
        custom_op_registerers=tf_text.tflite_registrar.SELECT_TFTEXT_OPS,
    )
    run = interpreter.get_signature_runner()
    for texts in (["good film, good film", ""], ["Caf\u00e9"], [""]):
        found = run(text=np.array(texts, object))["ids"]
        expected = tokenizer.dense(tf.constant(texts))
        np.testing.assert_array_equal(found, expected)


def test_mask_id_is_the_fifth_row(tokenizer):
    assert tokenizer(tf.constant(["[MASK]"])).to_list() == [[MASK_ID]]


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (["[PAD]", "[UNK]"], "line 3 is None, expected '\\[CLS\\]'"),
        (["good", *SPECIALS], "line 1 is 'good'"),
        ([*SPECIALS, "a", "b", "a"], "line 8 repeats 'a' of line 6"),
        ([*SPECIALS, ""], "line 6 is empty"),
    ],
)
def test_a_list_that_is_no_vocabulary_names_the_line(vocabulary, message):
    with pytest.raises(UserError, match=message):
        StudentTokenizer(vocabulary)


TEXTS = ["A good film", "a bad film", "Café, a good [MASK]", ""]

line = st.text(
    st.characters(blacklist_categories=["Cs"]) | st.sampled_from(" ,é[]"),
    max_size=30,
)


def test_a_vocabulary_comes_back_from_disk_as_it_was(tmp_path):
    path = tmp_path / "vocab.txt"
    words = [*SPECIALS, "good", "\u2028odd", "中", "##ing"]
    save_vocabulary(path, words)
    assert load_vocabulary(path) == words
    assert StudentTokenizer(path).vocabulary == words


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good\nfilm\n", "line 1 is 'good', expected"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\na\n", "line 7 repeats 'a'"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\nb\n", "line 6 is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "line 1"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_named(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_vocabulary(path)
    assert "vocab.txt" in str(caught.value)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(UserError, match="vocab.txt"):
        load_vocabulary(tmp_path / "vocab.txt")


def test_a_word_list_that_is_no_vocabulary_is_not_saved(tmp_path):
    with pytest.raises(UserError):
        save_vocabulary(tmp_path / "vocab.txt", ["good"])
    assert list(tmp_path.iterdir()) == []
