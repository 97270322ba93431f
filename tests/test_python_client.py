import json

import client_tools
import numpy as np
import pytest
import tensorflow as tf
from golden import make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.python.tokenizer import Tokenizer
from keras_distill.data.normalize import normalize
from keras_distill.student.text import SPECIALS, StudentTokenizer

WORDS = [*SPECIALS, "a", "film"]
OLD = client_tools.old_characters()


def wrong_lines(folder):
    """Return the lines of a folder's vectors that have other ids."""
    tokenizers, wrong = {}, []
    for line in (folder / "tokens.jsonl").read_text("ascii").splitlines():
        case = json.loads(line)
        key = case["vocabulary"], case["lower_case"], case["max_length"]
        if key not in tokenizers:
            vocabulary = (folder / key[0]).read_text("utf-8")
            tokenizers[key] = Tokenizer(vocabulary, *key[1:])
        if tokenizers[key].encode(case["text"]) != case["ids"]:
            wrong.append(line)
    return wrong


def test_the_package_reads_text_by_the_same_file():
    root = make.HERE.parent.parent
    inside = root / "keras_distill" / "student" / "plain_text.py"
    outside = root / "clients" / "python" / "tokenizer.py"
    assert inside.read_bytes() == outside.read_bytes()


def test_the_golden_texts_have_their_ids():
    assert wrong_lines(make.HERE) == []


def test_random_texts_have_their_ids(tmp_path):
    client_tools.write_random_vectors(tmp_path, characters=3000, texts=3000)

    assert wrong_lines(tmp_path) == []


@pytest.mark.slow
def test_every_character_has_its_ids(tmp_path):
    client_tools.write_random_vectors(tmp_path, characters=1 << 18, texts=0)

    assert wrong_lines(tmp_path) == []


@st.composite
def texts_and_vocabularies(draw):
    """Draw a text, and words and pieces that are to be found in it."""
    parts = st.sampled_from(client_tools.FRAGMENTS) | st.text(
        st.sampled_from(OLD), max_size=6
    )
    text = "".join(draw(st.lists(parts, max_size=10)))
    found = {*text, *text.split(), *text.casefold(), *text.casefold().split()}
    words = draw(st.sets(st.sampled_from(sorted(found)))) if found else set()
    starts = {word[: 1 + len(word) // 2] for word in words}
    ends = {word[1 + len(word) // 2 :] for word in words}
    known = words | starts | {f"##{part}" for part in words | ends}
    known -= {*SPECIALS, "", "##"}
    # No vocabulary has words of blanks or controls.
    words = sorted(w for w in known if w.isprintable() and " " not in w)
    return text, [*SPECIALS, *words]


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(texts_and_vocabularies(), st.booleans(), st.none() | st.integers(1, 12))
def test_any_text_has_the_ids_that_the_student_is_trained_with(
    case, lower_case, max_length
):
    text, vocabulary = case
    student = StudentTokenizer(vocabulary, lower_case, max_length)
    expected = student(tf.constant([normalize(text)])).to_list()[0]

    found = Tokenizer(vocabulary, lower_case, max_length).encode(text)

    assert found == expected


def test_a_batch_is_padded_to_its_longest_text():
    batch = Tokenizer(WORDS).encode_batch(["a film", "", "a"])

    assert batch.dtype == np.int32
    assert batch.tolist() == [[5, 6], [1, 0], [5, 0]]


def test_an_empty_batch_has_no_rows():
    assert Tokenizer(WORDS).encode_batch([]).shape == (0, 0)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_may_end_as_on_windows(end):
    vocabulary = end.join([*WORDS, ""])

    assert Tokenizer(vocabulary).encode("a film") == [5, 6]


def test_a_vocabulary_without_its_special_tokens_is_refused():
    with pytest.raises(ValueError, match=r"line 1 is '\[UNK\]', .* '\[PAD\]'"):
        Tokenizer(WORDS[1:])


def test_half_a_character_is_an_unknown_one():
    assert Tokenizer(WORDS).encode("a \ud83d") == [5, 1]


class TestClassifier:
    @pytest.fixture
    def classifier(self):
        pytest.importorskip("ai_edge_litert")
        with client_tools.python_classifier() as classifier:
            yield classifier

    @pytest.mark.parametrize("model", make.MODELS)
    def test_it_gives_the_golden_probabilities(self, classifier, model):
        lines = (make.HERE / make.LOGITS).read_text("ascii").splitlines()
        cases = [c for c in map(json.loads, lines) if c["model"] == model]
        columns = zip(*(case["texts"] for case in cases), strict=True)

        found = classifier(make.HERE / model).probabilities(*columns)

        expected = [case["probabilities"] for case in cases]
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_it_names_the_class_of_each_text(self, classifier):
        student = classifier(make.HERE / "student.tflite")
        texts = ["a good film", "good", "the film is not good"]

        answers = list(student.classify(texts))

        probabilities = student.probabilities(texts)
        assert [label for label, _ in answers] == [
            student.labels[place] for place in probabilities.argmax(axis=1)
        ]
        assert [value for _, value in answers] == list(probabilities.max(1))

    def test_no_texts_have_no_answers(self, classifier):
        student = classifier(make.HERE / "student.tflite")

        assert student.probabilities([]).shape == (0, 2)

    def test_texts_of_one_length_are_asked_together(self, classifier):
        student = classifier(make.HERE / "student.tflite")
        asked, run = [], student._run

        def spy(ids_a):
            asked.append(ids_a)
            return run(ids_a=ids_a)

        student._run = spy
        student.probabilities(["a", "a film " * 5] * 40)

        # 40 of each length; the batch between holds the rest of both.
        shapes = [batch.shape for batch in asked]
        assert shapes == [(32, 1), (32, 10), (16, 10)]

    def test_a_student_of_pairs_wants_two_columns(self, classifier):
        student = classifier(make.HERE / "student_pair.tflite")

        with pytest.raises(ValueError, match="columns of texts: 2"):
            student.probabilities(["a film"])
