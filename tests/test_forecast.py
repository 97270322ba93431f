"""What the text of a run tells of the hours to come, with the right numbers."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import ROOT

from keras_distill import forecast
from keras_distill.config import config_from_dict
from keras_distill.data.examples import Example, write_examples
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.forecast import measure
from keras_distill.student.vocabulary import count_words


@pytest.fixture
def data(tmp_path):
    """Return a function that writes a run's texts; train may be pairs."""

    def write(train, select=("the film",), unlabeled=()):
        for name, texts in (
            ("train", train),
            ("select", select),
            ("unlabeled", unlabeled),
        ):
            rows = [Example(*([t] if isinstance(t, str) else t)) for t in texts]
            write_examples(tmp_path / f"{name}.jsonl.gz", rows)
        return tmp_path

    return write


@pytest.fixture
def teacher(tmp_path):
    """Return a function that writes a teacher's WordPiece."""

    def write(*tokens):
        folder = tmp_path / "bert"
        folder.mkdir()
        specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
        ids = {token: i for i, token in enumerate((*specials, *tokens))}
        content = {
            "normalizer": {"type": "BertNormalizer", "lowercase": True},
            "model": {"type": "WordPiece", "vocab": ids},
        }
        (folder / "tokenizer.json").write_text(json.dumps(content))
        return folder

    return write


def facts(data, teacher=None, config=None):
    return measure(config_from_dict(config or {}), data, teacher)


def test_lengths_are_counted_in_words_and_compared_with_the_windows(data):
    folder = data([" ".join(["word"] * n) for n in range(1, 101)])
    found = facts(folder, config={"student": {"max_length": 90}, "teacher": {}})
    assert found["lengths"] == {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert found["cut"] == {"student": 0.1}
    assert found["letters"] == 4
    assert found["text_bytes"] == pytest.approx(sum(range(1, 101)) / 20 - 1)


def test_a_teacher_s_window_counts_pieces_and_marks_of_both_texts(
    data, teacher
):
    folder = data([("the films", "a film"), ("the film", "film !")])
    place = teacher("the", "a", "film", "##s")
    found = facts(folder, place, {"teacher": {"max_length": 7}})
    # [CLS] the film ##s [SEP] a film [SEP]; the "!" is [UNK].
    assert found["pieces"] == {"p50": 7, "p95": 7, "p99": 7, "max": 8}
    assert found["cut"] == {"student": 0, "teacher": 0.5}
    assert found["teacher_unknown"] == pytest.approx(1 / 8)


def test_a_teacher_may_have_another_name_for_what_it_does_not_know(
    data, tmp_path
):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "bert" / "vocab.txt").write_text("<unk>\nthe\n")
    found = facts(data(["the film"]), tmp_path / "bert")
    assert found["teacher_unknown"] == 1 / 2


def test_punctuation_is_split_off_and_case_is_folded(data, teacher):
    folder = data(["The film, café!"])
    found = facts(folder, teacher("the", "film", "cafe", ",", "!"))
    assert found["lengths"]["max"] == 5
    assert found["teacher_unknown"] == 0


def test_texts_without_a_word_are_counted(data):
    assert facts(data(["the film", "\u00ad", "\u200d"]))["wordless"] == 2


def test_a_word_that_folds_to_another_spelling_is_known(data, teacher):
    folder = data(["die Straße"], ["STRASSE straße"])
    assert facts(folder, teacher("die"))["unknown"] == 0


@pytest.mark.parametrize(
    "student, unlabeled, unknown",
    [
        ({}, [], 2 / 4),
        ({}, ["good"], 1 / 4),
        ({"min_count": 2}, [], 3 / 4),
        # The most frequent one alone.
        ({"vocabulary_size": 6}, [], 3 / 4),
        # "goods" begins with "good"; only the "?" has no piece.
        ({"word_pieces": True}, ["good"], 1 / 4),
    ],
)
def test_the_share_of_unknown_tokens_is_that_of_the_selection_split(
    data, teacher, student, unlabeled, unknown
):
    folder = data(["the the film"], ["the good film ?"], unlabeled)
    place = teacher("the", "##s", "o", "g")
    assert facts(folder, place, {"student": student})["unknown"] == unknown


def test_words_that_have_a_vector_are_known_though_training_lacks_them(
    data, teacher
):
    folder = data(["the film"], ["the good film"])
    student = {"embeddings": "teacher", "open_vocabulary": True}
    for tokens, unknown in ((("good",), 0), (("##good",), 1 / 3)):
        place = teacher(*tokens)
        config = {"student": student}
        assert facts(folder, place, config)["unknown"] == unknown
        (place / "tokenizer.json").unlink()
        place.rmdir()


# Made up, one sentence each, with a number that makes it new.
THAI = "อาหารอร่อยมากบริการดี{}มาก"
JAPANESE = "このホテルはとてもきれいでした{}かいめ"


@pytest.mark.parametrize("text", [THAI, JAPANESE])
def test_a_language_without_spaces_is_unknown_without_its_pieces(
    data, teacher, text
):
    folder = data(
        [text.format(i) for i in range(9)], [text.format(i) for i in (10, 11)]
    )
    place = teacher("the", "##s")
    found = facts(folder, place)
    assert found["unknown"] == 1
    assert found["teacher_unknown"] == 1
    assert found["letters"] > 15
    # A teacher without WordPiece has pieces learned from this text.
    (place / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    found = facts(folder, place, {"student": {"word_pieces": True}})
    assert found["unknown"] == 0
    assert "teacher_unknown" not in found


@pytest.fixture
def vectors(tmp_path):
    """Return a function that writes a vector file of words."""

    def write(*words):
        path = tmp_path / "vectors.txt"
        path.write_text("".join(f"{word} 1 2 3\n" for word in words))
        return {"student": {"embeddings": str(path), "embedding_dim": 3}}

    return write


def test_the_words_that_a_vector_file_has_are_counted(data, vectors):
    folder = data(["the the the film , 1999", "Café nowhere"])
    found = facts(folder, config=vectors("The", "cafe", ",", "unheard"))
    assert found["vectors"] == {
        "file": "vectors.txt",
        "words": 4,
        # Marks and numbers do not count: every file has them.
        "tokens": 4 / 6,
        "types": 2 / 4,
    }


def test_vectors_of_another_language_stop_the_run(data, vectors):
    folder = data(["the film , 1999"])
    with pytest.raises(UserError) as caught:
        facts(folder, config=vectors("фильм", "еда", ",", "1999"))
    message = str(caught.value)
    assert "vectors.txt has a vector for none of the 2 words" in message
    assert "(0.0%): found 'фильм', 'еда', ','" in message
    assert "expected such as 'the', 'film'" in message
    assert "--embeddings none" in message


def test_without_a_vector_file_no_word_is_counted(data):
    folder = data(["the film"])
    for name in ("none", "teacher", "word2vec"):
        config = {"student": {"embeddings": name}}
        assert facts(folder, config=config)["vectors"] is None


@pytest.mark.parametrize(
    "name, lengths",
    [("bert-large-uncased", 1), ("bert-base-cased", 2)],
)
def test_a_teacher_on_the_hub_tells_its_case_by_its_name(data, name, lengths):
    """Words of one spelling more are known words more."""
    folder = data(["film", "Film"])
    config = {"teacher": {"names": [name]}}
    assert facts(folder, config=config)["vocabulary"] == 5 + lengths


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.text("aZéÉñçüßБйЙ中国ひがกา漢07 .,!?-'\"()$@_"), max_size=4),
    st.booleans(),
)
def test_words_are_those_of_the_student_s_own_tokenizer(texts, lower):
    texts = list(map(normalize, texts))
    split = forecast._Splitter(lower)
    ours = Counter(word for text in texts for word in split(text))
    assert ours == count_words(texts, lower)


def test_measuring_imports_no_tensorflow():
    code = (
        "import sys, keras_distill.pipeline, tokenizers;"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"tensorflow", "keras", "transformers"} & set(modules)
