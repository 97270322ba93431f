import bz2
import gzip
import subprocess
import sys

import numpy as np
import pytest
from gensim.models import KeyedVectors

from keras_distill.errors import UserError
from keras_distill.student.text import SPECIALS
from keras_distill.student.vectors import load_vectors, random_vectors

DIM = 6
FILE_WORDS = ["the", "Paris", "PARIS", "good", "Film", "film", "café", "U.S."]
VOCABULARY = [*SPECIALS, "good", "film", "paris", "cafe", "nowhere", "##ing"]


@pytest.fixture
def source():
    vectors = KeyedVectors(DIM)
    numbers = np.random.default_rng(0).normal(size=(len(FILE_WORDS), DIM))
    vectors.add_vectors(FILE_WORDS, numbers.astype(np.float32))
    return vectors


def write(source, path, form):
    if form.startswith("binary"):
        source.save_word2vec_format(str(path), binary=True)
    else:
        source.save_word2vec_format(
            str(path), binary=False, write_header="glove" not in form
        )
    if form.endswith("gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
        path = path.rename(path.with_suffix(".gz"))
    if form.endswith("bz2"):
        path.write_bytes(bz2.compress(path.read_bytes()))
        path = path.rename(path.with_suffix(".bz2"))
    return path


FORMS = [
    "binary",
    "binary.gz",
    "text",
    "text.gz",
    "glove",
    "glove.gz",
    "binary.bz2",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_vectors(tmp_path, source, form):
    path = write(source, tmp_path / "vectors.x", form)
    vectors, _ = load_vectors(path, VOCABULARY, DIM)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(VOCABULARY), DIM)
    row = VOCABULARY.index("good")
    np.testing.assert_allclose(vectors[row], source["good"], rtol=1e-6)


def vector_of(word, path, vocabulary=VOCABULARY):
    return load_vectors(path, vocabulary, DIM)[0][vocabulary.index(word)]


@pytest.fixture
def path(tmp_path, source):
    return write(source, tmp_path / "vectors.bin", "binary")


def test_the_exact_spelling_wins_over_one_that_comes_earlier(path, source):
    assert FILE_WORDS.index("Film") < FILE_WORDS.index("film")
    np.testing.assert_array_equal(vector_of("film", path), source["film"])


def test_another_case_serves_when_the_exact_one_is_missing(path, source):
    np.testing.assert_array_equal(vector_of("paris", path), source["Paris"])


def test_a_cased_word_prefers_its_lower_case(path, source):
    vocabulary = [*SPECIALS, "FILM", "Film"]
    found = vector_of("FILM", path, vocabulary)
    np.testing.assert_array_equal(found, source["film"])
    found = vector_of("Film", path, vocabulary)
    np.testing.assert_array_equal(found, source["Film"])


def test_accents_that_the_tokenizer_strips_are_no_obstacle(path, source):
    np.testing.assert_array_equal(vector_of("cafe", path), source["café"])


def test_words_without_a_vector_are_drawn_by_the_seed(path):
    row = VOCABULARY.index("nowhere")
    first, _ = load_vectors(path, VOCABULARY, DIM, seed=1)
    again, _ = load_vectors(path, VOCABULARY, DIM, seed=1)
    other, _ = load_vectors(path, VOCABULARY, DIM, seed=2)
    np.testing.assert_array_equal(first[row], again[row])
    assert (first[row] != other[row]).any()
    assert (np.abs(first[row]) <= 0.25).all()


def test_padding_is_zero(path):
    vectors, _ = load_vectors(path, VOCABULARY, DIM)
    assert not vectors[0].any()
    assert vectors[1:].any(axis=1).all()


def test_random_vectors_fill_the_range():
    vectors = random_vectors([f"w{i}" for i in range(2000)], DIM, 0)[1:]
    assert -0.25 <= vectors.min() < -0.249
    assert 0.249 < vectors.max() <= 0.25
    assert abs(vectors.mean()) < 0.01


def test_coverage_is_by_types_and_by_tokens(path):
    counts = {"good": 6, "film": 2, "nowhere": 1, "rare": 1, "[MASK]": 50}
    _, coverage = load_vectors(path, VOCABULARY, DIM, counts)
    assert coverage.types == pytest.approx(4 / 5)
    assert coverage.tokens == pytest.approx(8 / 10)


def test_coverage_by_tokens_is_unknown_without_counts(path):
    assert load_vectors(path, VOCABULARY, DIM)[1].tokens is None


def test_special_tokens_take_no_vector_from_the_file(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("[PAD] 9 9 9\n[MASK] 9 9 9\n##ing 9 9 9\n")
    vectors, coverage = load_vectors(path, [*SPECIALS, "##ing"], 3)
    assert np.abs(vectors).max() <= 0.25
    assert coverage.types == 0


def test_words_with_spaces_do_not_stop_a_glove_file(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("a 1 2 3\n. . . 4 5 6\ngood 7 8 9\n")
    vectors, _ = load_vectors(path, VOCABULARY, 3)
    assert vectors[VOCABULARY.index("good")].tolist() == [7, 8, 9]


def test_vectors_that_end_in_a_newline_are_read(tmp_path, source):
    path = tmp_path / "vectors.bin"
    rows = b"".join(
        word.encode() + b" " + source[word].tobytes() + b"\n"
        for word in FILE_WORDS
    )
    path.write_bytes(f"{len(FILE_WORDS)} {DIM}\n".encode() + rows)
    np.testing.assert_array_equal(vector_of("good", path), source["good"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep", [0.5, 0.97])
def test_a_file_cut_in_half_is_named(tmp_path, source, form, keep):
    path = write(source, tmp_path / "vectors.x", form)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match="vectors.*cut short"):
        load_vectors(path, VOCABULARY, DIM)


@pytest.mark.parametrize("form", FORMS)
def test_vectors_of_another_width_are_refused(tmp_path, source, form):
    path = write(source, tmp_path / "vectors.x", form)
    with pytest.raises(UserError, match="6 numbers, expected 300"):
        load_vectors(path, VOCABULARY, 300)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1 is ''"),
        (b"<html>no vectors here</html>\n", "expected the header"),
        (b"good 1 2 x\n", "expected the header"),
        (b"a 1 2 3\ngood 1 x 3\n", "line 2: the vector of 'good'"),
        (b"a 1 2 3\ngood 1 nan 3\n", "line 2: .*'good' .* not finite"),
        (b"2 3\na 1 2 3\ngood 1 nan 3\n", "line 3: .*'good'"),
        (b"1 3\ngood \0\0\xc0\x7f" + bytes(8), "vector 1: .*'good'"),
        (b"a 1 2 3\ngood 1 2\n", "line 2 has 2 numbers"),
        (b"2 3\na 1 2 3\ngood 1 2\n", "line 3 has 2 numbers"),
        (b"9 3\na 1 2 3\n", "1 of the 9 vectors"),
        (b"a 1 2 3\ngood 1 2 3", "line 2 ends without a newline"),
    ],
)
def test_a_file_that_is_no_vector_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_vectors(path, VOCABULARY, 3)
    assert "bad.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_lies_about_the_width_is_an_error(tmp_path):
    path = tmp_path / "vectors.bin"
    row = b"good " + np.full(200, 1.0, "<f4").tobytes()
    path.write_bytes(b"99 100\n" + row * 99)
    with pytest.raises(UserError, match="vectors.bin"):
        load_vectors(path, VOCABULARY, 100)


def test_a_file_that_is_not_gzip_is_named(tmp_path):
    path = tmp_path / "vectors.gz"
    path.write_bytes(b"not gzip at all")
    with pytest.raises(UserError, match="vectors.gz"):
        load_vectors(path, VOCABULARY, DIM)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing.bin: no such file"):
        load_vectors(tmp_path / "nothing.bin", VOCABULARY, DIM)


MEMORY = """
import resource, sys
from keras_distill.student.embeddings import load_vectors
from keras_distill.student.text import SPECIALS
import gensim
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
_, coverage = load_vectors(sys.argv[1], [*SPECIALS, "w7", "w29999"], 300)
assert coverage.types == 1
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) // 1024)
"""


def test_memory_does_not_grow_with_the_file(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "vectors.bin"
    numbers = np.ones(300, "<f4").tobytes()
    with open(path, "wb") as stream:
        stream.write(b"30000 300\n")
        for i in range(30_000):
            stream.write(f"w{i} ".encode() + numbers)
    grown = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    # The file has 36 MB; ru_maxrss counts kilobytes on Linux.
    if sys.platform == "linux":
        assert int(grown.stdout) < 15
