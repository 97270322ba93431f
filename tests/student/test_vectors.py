import bz2
import gzip
import lzma
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from gensim.models import KeyedVectors
from tiny_runs import ROOT

from keras_distill.errors import UserError
from keras_distill.student import vector_file
from keras_distill.student.embeddings import load_vectors, random_vectors
from keras_distill.student.text import SPECIALS
from keras_distill.student.vector_file import check_ends

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


@pytest.mark.whole
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


ROW = np.ones(6, "<f4").tobytes()
BINARY = b"3 6\n" + b"".join(b"w%d " % i + ROW for i in range(3))
GLOVE = b"".join(b"w%d 1 2 3 4 5 6\n" % i for i in range(3))
GOOD = {"binary": BINARY, "text": b"3 6\n" + GLOVE, "glove": GLOVE}
PACKED = {
    ".x": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def refusal(path, dim=6):
    with pytest.raises(UserError) as caught:
        check_ends(path, dim)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.fixture(params=GOOD)
def content(request):
    return GOOD[request.param]


@pytest.fixture(params=PACKED)
def packed(request, tmp_path, content):
    path = tmp_path / f"vectors{request.param}"
    path.write_bytes(PACKED[request.param](content))
    return path


def test_a_good_file_passes(packed):
    check_ends(packed, 6)


def test_a_file_of_another_width_is_refused(packed):
    message = refusal(packed, 300)
    assert "vectors of 6 numbers, expected 300" in message
    assert "student.embedding_dim" in message


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_packed_file_that_ends_in_its_head_is_cut_short(tmp_path, suffix):
    path = tmp_path / f"vectors{suffix}"
    path.write_bytes(PACKED[suffix](BINARY)[:20])
    assert "cut short" in refusal(path)


def test_a_packed_file_under_a_plain_name_is_refused(tmp_path):
    path = tmp_path / "vectors.bin"
    path.write_bytes(gzip.compress(BINARY))
    assert "line 1 is" in refusal(path)


def test_a_plain_file_under_a_packed_name_is_refused(tmp_path):
    path = tmp_path / "vectors.gz"
    path.write_bytes(BINARY)
    assert "cannot read" in refusal(path)


def test_a_plain_binary_too_small_for_its_vectors_is_cut_short(tmp_path):
    path = tmp_path / "vectors.bin"
    path.write_bytes(BINARY[: len(BINARY) // 2])
    assert "cut short" in refusal(path)


@pytest.mark.parametrize(
    "content, part",
    [
        (b"", "line 1 is ''"),
        (b"<html>not found</html>\n", "expected the header"),
        (b"a 1 2 3 4 5 6\n" * 2, None),
        (b"a 1 2 3 4 5 6", "without a newline"),
        (b"2 6\nonly text here\n", "cut short"),
        (b"2 6\n" + b"x" * 20_000, "line 2 has 0 numbers, expected 6"),
        (b"2 6\n" + b"\0" * 20_000, "has no word"),
    ],
)
def test_what_the_first_rows_say_is_told(tmp_path, content, part):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    if part is None:
        check_ends(path, 6)
    else:
        assert part in refusal(path)


@pytest.mark.parametrize("head", [b"", b"30 6\n"])
@pytest.mark.parametrize("lost", [1, 2, 9, 300])
def test_a_plain_text_file_that_is_cut_is_refused(tmp_path, head, lost):
    path = tmp_path / "vectors.txt"
    whole = head + b"".join(b"w%d 1 2 3 4 5 16\n" % i for i in range(30))
    path.write_bytes(whole)
    check_ends(path, 6)
    path.write_bytes(whole[:-lost])
    # A header's file may lack its last newline; half a number is a number.
    if head and lost < 3:
        check_ends(path, 6)
    else:
        assert "cut short" in refusal(path)


def test_a_header_that_promises_more_lines_is_told(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"4 6\n" + GLOVE)
    assert "holds 3 of the 4 vectors" in refusal(path)


def test_an_empty_line_without_a_header_is_refused_here_too(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(GLOVE + b"\n")
    assert "line 4 has 0 numbers, expected 6" in refusal(path)


def test_empty_lines_after_the_promised_ones_do_no_harm(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"3 6\n" + GLOVE + b"\n\n")
    check_ends(path, 6)


NAN = np.array([1, np.nan, 1, 1, 1, 1], "<f4").tobytes()


@pytest.mark.parametrize(
    "content, part",
    [
        (GLOVE + b"bad 1 2 x 4 5 6\n", "line 4: .*'bad' holds 'x'"),
        (GLOVE + b"bad 1 2 inf 4 5 6\n", "line 4: .*'bad' holds 'inf'"),
        (b"bad 1 nan 3 4 5 6\n" + GLOVE, "line 1: .*'bad' holds 'nan'"),
        (b"4 6\nbad 1 nan 3 4 5 6\n" + GLOVE, "line 2: .*'bad' holds 'nan'"),
        (b"2 6\nbad " + NAN + b"w " + ROW, "vector 1: .*'bad' holds nan"),
    ],
)
def test_junk_in_the_first_or_last_vector_names_line_and_word(
    tmp_path, content, part
):
    path = tmp_path / "vectors.x"
    path.write_bytes(content)
    assert re.search(part, refusal(path))


def rows(between=" ", point=".", width=6, count=10):
    """Lines as people's own scripts write them."""
    return [
        between.join([f"w{i}", *(f"{i}{point}{j}5" for j in range(width))])
        for i in range(count)
    ]


def written(folder, lines, name="vectors.txt"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("head", [[], ["10 6"], ["10\t6"], ["\ufeff10 6"]])
@pytest.mark.parametrize("between", ["\t", "  ", " \t ", "word-tab"])
def test_columns_between_tabs_or_several_spaces_are_read(
    tmp_path, head, between
):
    lines = rows(" " if between == "word-tab" else between)
    if between == "word-tab":
        lines = [line.replace(" ", "\t", 1) for line in lines]
    path = written(tmp_path, [*head, *lines])
    check_ends(path, 6)
    vectors, coverage = load_vectors(path, [*SPECIALS, "w3"], 6)
    assert vectors[-1] == pytest.approx([3.05, 3.15, 3.25, 3.35, 3.45, 3.55])
    assert coverage.types == 1


def test_a_vector_of_nothing_does_not_stop_the_file(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"a 1 2 3\n 4 5 6\ngood 7 8 9\n")
    check_ends(path, 3)
    vectors, _ = load_vectors(path, VOCABULARY, 3)
    assert vectors[VOCABULARY.index("good")].tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    "lines, part",
    [
        (rows(","), "line 1 .* found ',' between the numbers"),
        (rows(", "), "line 1 .* found ',' between the numbers"),
        (rows(";"), "line 1 .* found ';' between the numbers"),
        (["10 6", *rows(",")], "line 2 .* found ',' between the numbers"),
        (rows(" ", ","), "line 1 .* found a decimal comma, expected a point"),
        (["10 6", *rows(" ", ",")], "line 2: .*'w0'.* a decimal comma"),
        (["10 7", *rows()], "line 2 has 6 numbers, expected 7 by line 1"),
        (["10 5", *rows()], "line 2 has 6 numbers, expected 5"),
        (["12 6", *rows()], "holds 10 of the 12 vectors"),
        (["8 6", *rows()], "line 1 promises 8 vectors, found 10 lines"),
        ([*rows(), *rows(width=5)], "line 11 has 5 numbers, expected 6"),
        ([*rows(), *rows(width=7)], "line 11 has 7 numbers, expected 6"),
        (
            [*rows(count=5000), *rows(width=7)],
            "line 5010 has 7 numbers, expected 6",
        ),
        (
            [*rows(count=999), *rows(width=5, count=1), *rows()],
            "line 1000 has 5 numbers, expected 6",
        ),
        (["word d1 d2", *rows(width=2)], "line 1 is 'word d1 d2'"),
    ],
)
@pytest.mark.parametrize("suffix", PACKED)
def test_vectors_that_cannot_be_read_are_refused_before_the_first_stage(
    tmp_path, lines, part, suffix
):
    content = ("\n".join(lines) + "\n").encode()
    path = tmp_path / f"vectors{suffix}"
    path.write_bytes(PACKED[suffix](content))
    assert re.search(part, refusal(path))


@pytest.mark.parametrize("width, part", [(5, "has 5"), (7, "has 7")])
def test_the_middle_of_a_file_too_large_to_count_is_looked_at(
    tmp_path, monkeypatch, width, part
):
    """As large as those of 840 billion words."""
    monkeypatch.setattr(vector_file, "_MAX_COUNTED", 1000)
    monkeypatch.setattr(vector_file, "_TAIL", 500)
    good = rows() * 300
    path = written(tmp_path, good)
    check_ends(path, 6)
    written(tmp_path, [*good[:1500], *rows(width=width), *good[1500:]])
    assert part in refusal(path)
    written(tmp_path, [*good, *rows(width=width)])
    assert part in refusal(path)


def test_a_word_may_end_in_a_whole_number(tmp_path):
    path = written(tmp_path, [*rows(), "Windows 10 .1 .2 .3 .4 .5 .6"])
    check_ends(path, 6)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.bin")
    assert "no such file" in refusal(tmp_path)


def test_only_the_head_of_a_large_file_is_read(tmp_path):
    """As large as Google News, packed; damaged where nobody looks."""
    path = tmp_path / "vectors.bin.gz"
    head = b"3000000 6\n" + (b"w " + ROW) * 400_000
    with open(path, "wb") as stream:
        stream.write(gzip.compress(head, 1))
        stream.truncate(3_600_000_000)
    started = time.process_time()
    check_ends(path, 6)
    assert time.process_time() - started < 0.5


def test_the_check_imports_no_library_that_is_slow():
    script = (
        "import sys\n"
        "import keras_distill.student.vector_file\n"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    modules = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "keras_distill" in modules
    assert not {"gensim", "numpy", "tensorflow", "keras"} & set(modules)
