import itertools

import pytest

from keras_distill.data.tables import read_unlabeled
from keras_distill.errors import UserError


def texts(paths, pair=False, **columns):
    return [
        (e.text_a, e.text_b) for e in read_unlabeled(paths, pair, **columns)
    ]


def test_every_line_of_plain_text_is_an_example(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text("do n't stop\n\n  \nsecond \"line\n")
    assert texts([path]) == [("don't stop", None), ('second "line', None)]


def test_tables_are_read_by_column(tmp_path):
    jsonl = tmp_path / "more.jsonl"
    jsonl.write_text('{"text": "a", "label": 3}\n')
    csv = tmp_path / "more.csv"
    csv.write_text("n,review\n1,b\n")
    assert texts([jsonl]) == [("a", None)]
    assert texts([csv], text_column="review") == [("b", None)]


def test_pairs_come_from_two_columns_or_a_tab(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text("a\tb\n")
    table = tmp_path / "more.tsv"
    table.write_text("q1\tq2\nc\td\n")
    assert texts([path], pair=True) == [("a", "b")]
    assert texts(
        [table], pair=True, text_column="q1", text_pair_column="q2"
    ) == [("c", "d")]


def test_ids_differ_between_files_and_rows(tmp_path):
    paths = []
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "same.txt")
        paths[-1].write_text("a\nb\n")
    ids = [e.id for e in read_unlabeled(paths, False)]
    assert len(set(ids)) == 4


def test_examples_have_no_label(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text("a\n")
    assert next(read_unlabeled([path], False)).label is None


def test_reading_streams(tmp_path):
    path = tmp_path / "more.txt"
    path.write_bytes(b"good\n" * 100_000 + b"\xff\n")
    first = list(itertools.islice(read_unlabeled([path], False), 3))
    assert len(first) == 3


@pytest.mark.parametrize(
    ("content", "pair", "reason"),
    [
        (b"", False, "holds no text"),
        (b"\n \n", False, "holds no text"),
        (b"a\nb\xc3\n", False, "line 2: byte 2"),
        (b"a\n" + b"x" * (1 << 20), False, "line 2: longer than"),
        (b"a\n" + b"x" * 100_001, False, "line 2, column text: 100,001"),
        (b"a\tb\nc\n", True, "line 2: found 1 texts, expected two"),
        (b"a\tb\tc\n", True, "line 1: found 3 texts, expected two"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, content, pair, reason):
    path = tmp_path / "more.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"more.txt.*{reason}"):
        texts([path], pair=pair)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="none.txt"):
        texts([tmp_path / "none.txt"])
