import csv
import gzip
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from user_files import parquet

from keras_distill.data.examples import Example
from keras_distill.data.tables import read_table, read_unlabeled
from keras_distill.data.told import Told
from keras_distill.errors import UserError


@pytest.fixture
def table(tmp_path):
    """Write a file and read it as text, label."""

    def read(name, content, **options):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode("utf-8")
        path.write_bytes(content)
        options = {
            "text_column": "text",
            "text_pair_column": None,
            "label_column": "label",
            "labels": None,
        } | options
        return read_table(path, **options)

    return read


def error_of(read, *arguments, **options):
    with pytest.raises(UserError) as caught:
        read(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_csv_is_read_by_header_with_quotes_and_line_breaks(table):
    examples, labels = table(
        "my.csv", 'label,other,text\npos,1,"a ""b"",\nc"\nneg,2,do n\'t\n'
    )
    assert labels == ["neg", "pos"]
    assert examples == [
        Example('a "b", c', None, 1, "my-0"),
        Example("don't", None, 0, "my-1"),
    ]


def test_texts_can_stay_as_they_are(table):
    rows = "text,second,label\n do n't ,it\u2019s,a\n"
    options = {"text_pair_column": "second", "normalized": False}
    ((row,), _) = table("my.csv", rows, **options)
    assert (row.text_a, row.text_b) == (" do n't ", "it\u2019s")


def test_tsv_is_read_without_quoting(table):
    examples, _ = table("my.tsv", 'text\tlabel\n"a "quote\t1\n"\t0\n')
    assert [e.text_a for e in examples] == ['"a "quote', '"']


def test_jsonl_takes_string_and_number_labels(table):
    rows = [
        {"text": "a", "label": 10},
        {"label": 9, "text": "b", "more": [1]},
    ]
    examples, labels = table("my.jsonl", "\n".join(map(json.dumps, rows)))
    assert labels == ["9", "10"]
    assert [e.label for e in examples] == [1, 0]


def test_a_whole_number_is_one_label_however_json_writes_it(table):
    rows = '{"text": "a", "label": 1}\n{"text": "b", "label": 1.0}\n'
    rows += '{"text": "c", "label": 1e1}\n{"text": "d", "label": -0.5}\n'
    examples, labels = table("my.jsonl", rows)
    assert labels == ["-0.5", "1", "10"]
    assert [e.label for e in examples] == [1, 1, 2, 0]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["text", "label"])
def test_a_json_number_that_is_not_finite_names_line_and_field(
    table, number, field
):
    values = {"text": '"b"', "label": '"1"'} | {field: number}
    row = ", ".join(f'"{name}": {value}' for name, value in values.items())
    content = '{"text": "a", "label": 0}\n{' + row + "}\n"
    message = error_of(table, "my.jsonl", content)
    assert f"my.jsonl, line 2, field {field}: found " in message
    assert "expected a string or a finite number" in message


def test_a_json_number_in_a_field_that_is_not_read_does_no_harm(table):
    rows = '{"text": "a", "label": 0, "score": NaN}\n'
    assert len(table("my.jsonl", rows)[0]) == 1


def test_gz_files_are_unpacked_on_the_way(table):
    content = gzip.compress(b"text,label\na,0\nb,1\n")
    assert len(table("my.csv.gz", content)[0]) == 2


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(table):
    examples, labels = table(
        "my.csv", b"\xef\xbb\xbftext,label\r\na,x\r\nb,y\r\n\r\n"
    )
    assert labels == ["x", "y"]
    assert [e.text_a for e in examples] == ["a", "b"]


def test_number_labels_are_sorted_by_value(table):
    _, labels = table("my.csv", "text,label\na,10\nb,-1\nc,2\nd,1.5\n")
    assert labels == ["-1", "1.5", "2", "10"]


def test_given_labels_keep_their_order(table):
    examples, labels = table(
        "my.csv", "text,label\na,low\nb,high\n", labels=["low", "mid", "high"]
    )
    assert labels == ["low", "mid", "high"]
    assert [e.label for e in examples] == [0, 2]


def test_pairs_have_both_texts(table):
    examples, _ = table(
        "my.csv", "q,a,label\nx,y,0\nz,w,1\n", text_column="q",
        text_pair_column="a",
    )  # fmt: skip
    assert [(e.text_a, e.text_b) for e in examples] == [("x", "y"), ("z", "w")]


def test_without_label_column_rows_are_unlabelled(table):
    examples, labels = table("my.csv", "text\na\nb\n", label_column=None)
    assert [e.label for e in examples] == [None, None]
    assert labels == []


def test_an_id_column_names_the_rows(table):
    examples, _ = table("my.csv", "id,text,label\nr7,a,0\nr3,b,1\n")
    assert [e.id for e in examples] == ["r7", "r3"]


def test_a_missing_column_in_a_row_names_line_and_column(table):
    for name, content in {
        "my.csv": "text,label\na,0\nb\n",
        "my.tsv": "text\tlabel\na\t0\nb\n",
    }.items():
        message = error_of(table, name, content)
        assert f"{name}, line 3: column 'label' is missing" in message
        assert "found 1 fields, expected 2 (text, label)" in message


def test_too_many_fields_in_a_row_name_the_line(table):
    message = error_of(table, "my.csv", "text,label\nwell, no,0\n")
    assert "line 2: found 3 fields, expected 2" in message


def test_a_missing_json_field_names_line_and_field(table):
    message = error_of(table, "my.jsonl", '{"text": "a"}\n{"text": "b"}\n')
    assert "line 1: no field 'label', found: text" in message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ('["a", "b"]', "found a JSON list"),
        ('{"text": ["a"], "label": 1}', "field text: found a list"),
        ('{"text": "\\ud800", "label": 1}', "surrogate"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_json_line_is_named(table, line, reason):
    good = '{"text": "a", "label": 1}\n'
    message = error_of(table, "my.jsonl", good + line + "\n")
    assert "line 2" in message
    assert reason in message


def test_a_label_outside_the_set_names_line_and_labels(table):
    message = error_of(
        table, "my.csv", "text,label\na,0\nb,7\n", labels=["0", "1"]
    )
    assert "line 3, column label: found '7', expected one of: 0, 1" in message


def absent(name, column, cells):
    """A table of 40 rows, the last ones with such cells in a column."""
    rows = [{"text": f"text {i}", "label": f"{i % 2}"} for i in range(40)]
    for row, cell in zip(rows[::-1], cells, strict=False):
        row[column] = cell
    if name.endswith("jsonl"):
        return "\n".join(map(json.dumps, rows))
    lines = [f"{row['text'] or ''},{row['label'] or ''}" for row in rows]
    return "\n".join(["text,label", *lines])


@pytest.mark.parametrize("name", ["my.csv", "my.jsonl"])
@pytest.mark.parametrize("column", ["text", "label"])
@pytest.mark.parametrize("labels", [None, ["0", "1"]])
def test_absent_cells_are_skipped_and_counted_in_every_format(
    table, name, column, labels
):
    told = Told(name)
    content = absent(name, column, [None, " \u00a0"])
    examples, names = table(name, content, labels=labels, told=told)
    assert [e.id for e in examples] == [f"my-{i}" for i in range(38)]
    assert names == ["0", "1"]
    assert (told.rows, told.skipped) == (40, {f"no {column}": 2})
    assert told.notes == [f"skipped 2 of 40 rows: no {column} (2)"]


@pytest.mark.parametrize("name", ["my.csv", "my.jsonl"])
@pytest.mark.parametrize("column", ["text", "label"])
def test_more_absent_cells_than_a_twentieth_are_an_error(table, name, column):
    message = error_of(table, name, absent(name, column, [None, "", None]))
    line = 38 + name.endswith("csv")
    assert f"{name}, line {line}: no {column}, as in 3 of 40 rows" in message
    assert "at most 5%" in message and f"--{column}-column" in message


def test_what_is_wrong_in_parquet_names_its_row(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "my.parquet"
    columns = {"id": [7, 7], "text": ["a", "b"], "label": ["x", "y"]}
    path.write_bytes(parquet(columns))
    with pytest.raises(UserError, match="my.parquet, row 2, column label"):
        read_table(path, "text", None, "label", ["x"])
    assert "'7' on row 2 was already used on row 1" in caplog.text


def test_dropped_rows_need_no_text(table):
    rows = "".join(f"a {i},{i % 2}\n,spam\n" for i in range(20))
    told = Told("my.csv")
    _, names = table("my.csv", "text,label\n" + rows, drop=["spam"], told=told)
    assert (names, told.skipped) == (["0", "1"], {"dropped spam": 20})


def test_a_json_field_that_a_row_lacks_is_absent(table):
    rows = absent("my.jsonl", "label", []).splitlines()
    rows[5] = '{"text": "no label here"}'
    told = Told("my.jsonl")
    examples, _ = table("my.jsonl", "\n".join(rows), told=told)
    assert (len(examples), told.skipped) == (39, {"no label": 1})


def test_a_thousand_and_one_labels_are_no_class_names(table):
    rows = "".join(f"a,{i}\n" for i in range(1001))
    message = error_of(table, "my.csv", "text,label\n" + rows)
    assert "more than 1,000 different labels" in message


def test_broken_utf8_names_line_and_byte(table):
    for name in ("my.csv", "my.tsv", "my.jsonl"):
        first = b'{"text": "a", "label": 1}' if "json" in name else b"text"
        message = error_of(
            table, name, first + b"\nab\xff,0\n", label_column=None
        )
        assert f"{name}, line 2: byte 3 (0xff) is not valid UTF-8" in message


def test_a_broken_byte_inside_a_quoted_field_names_its_line(table):
    content = b'text,label\n"a\n,\xff",0\n'
    assert "a.csv, line 3: byte 2 (0xff)" in error_of(table, "a.csv", content)


@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my.jsonl", "my.csv.gz"])
def test_an_empty_file_is_an_error(table, name):
    content = gzip.compress(b"") if name.endswith("gz") else b""
    assert f"{name} is empty" in error_of(table, name, content)


def test_a_file_with_a_header_alone_is_an_error(table):
    assert "holds no rows" in error_of(table, "my.csv", "text,label\n")


def test_a_header_that_does_not_fit_lists_what_was_found(table):
    message = error_of(table, "my.csv", "review;stars\na;1\n")
    assert "line 1: no column 'text' in the header" in message
    assert "found: review, stars" in message


def test_a_column_that_occurs_twice_is_an_error(table):
    message = error_of(table, "my.csv", "text,label,text\na,0,b\n")
    assert "column 'text' occurs 2 times" in message


@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my.jsonl"])
def test_a_line_of_a_megabyte_is_an_error(table, name):
    first = '{"text": "a", "label": 1}' if "json" in name else "text"
    message = error_of(
        table, name, f"{first}\n{'x' * (1 << 20)}\n", label_column=None
    )
    assert f"{name}, line 2: longer than 1,000,000 bytes" in message


def test_a_field_of_more_than_a_hundred_thousand_characters_is_an_error(table):
    head = "text\tlabel\n"
    assert table("my.tsv", f"{head}{'x' * 100_000}\t0\n")
    message = error_of(table, "my.tsv", f"{head}{'x' * 100_001}\t0\n")
    assert "line 2, column text: 100,001 characters" in message


def test_a_quote_that_never_closes_names_where_it_opened(table):
    short = 'text,label\nok,0\n"a,0\nb,1\n'
    message = error_of(table, "my.csv", short)
    assert "line 3: a quoted field never ends" in message
    message = error_of(table, "my.csv", short + "more,1\n" * 50_000)
    assert "line 3" in message
    assert "is a closing quote missing?" in message


def test_a_stray_quote_is_not_guessed_at(table):
    message = error_of(table, "my.csv", 'text,label\n"a "b" c",0\n')
    assert "line 2" in message
    assert "written twice" in message


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (["1", "2", "1"], "'1' on line 4 was already used on line 2"),
        (["1", " ", "3"], "line 3 has none"),
        (["1", "nan", "3"], "line 3 has none"),
        (["1.2E+17", "2", "3"], "'1.2E+17' on line 2 is a number cut short"),
        (["1", "2", "x" * 201], "that on line 4 is long"),
    ],
)
def test_ids_that_name_no_rows_are_told_and_rows_numbered(table, ids, reason):
    told = Told("my.csv")
    rows = "".join(f"{id},a {i},{i % 2}\n" for i, id in enumerate(ids))
    examples, _ = table("my.csv", "id,text,label\n" + rows, told=told)
    assert [e.id for e in examples] == ["my-0", "my-1", "my-2"]
    assert told.notes == [
        f"the column id names no rows ({reason}): they are numbered"
    ]


@pytest.mark.parametrize("id", ['{"$oid": "5f"}', '["5f"]', "null"])
def test_nested_ids_are_told_and_rows_numbered(table, id):
    told = Told("my.jsonl")
    row = f'{{"id": {id}, "text": "a", "label": 1}}\n'
    examples, _ = table("my.jsonl", row * 2, told=told)
    assert [e.id for e in examples] == ["my-0", "my-1"]
    assert "column id names no rows (line 1 has none)" in told.notes[0]


def test_two_columns_of_ids_name_no_rows(table):
    examples, _ = table("my.csv", "id,id,text,label\n7,8,a,0\n9,10,b,1\n")
    assert [e.id for e in examples] == ["my-0", "my-1"]


def test_a_truncated_gz_file_is_damaged(table):
    whole = gzip.compress(b"text,label\n" + b"abc,0\n" * 1000)
    assert "is damaged" in error_of(table, "my.csv.gz", whole[:-20])


def test_a_missing_file_and_a_folder_say_so(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match="cannot read"):
            read_table(path, "text", None, "label", None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.sampled_from("abc")), min_size=1))
def test_what_csv_writes_comes_back_row_by_row(tmp_path_factory, rows):
    rows = [(t.encode("utf-8", "ignore").decode(), label) for t, label in rows]
    rows = [(f"a {text}", label) for text, label in rows]
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerows([("text", "label"), *rows])
    examples, labels = read_table(path, "text", None, "label", None)
    assert [labels[e.label] for e in examples] == [label for _, label in rows]


def texts(paths, pair=False, **columns):
    return [
        (e.text_a, e.text_b) for e in read_unlabeled(paths, pair, **columns)[1]
    ]


def test_every_line_of_plain_text_is_an_example(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text("do n't stop\n\n  \nsecond \"line\n")
    assert texts([path]) == [("don't stop", None), ('second "line', None)]


def test_unlabelled_tables_are_read_by_column(tmp_path):
    jsonl = tmp_path / "more.jsonl"
    jsonl.write_text('{"text": "a", "label": 3}\n')
    csv = tmp_path / "more.csv"
    csv.write_text("n,review\n1,b\n")
    assert texts([jsonl]) == [("a", None)]
    assert texts([csv], text_column="review") == [("b", None)]


def test_unlabelled_pairs_come_from_two_columns_or_a_tab(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text("a\tb\n")
    table = tmp_path / "more.tsv"
    table.write_text("q1\tq2\nc\td\n")
    assert texts([path], pair=True) == [("a", "b")]
    assert texts(
        [table], pair=True, text_column="q1", text_pair_column="q2"
    ) == [("c", "d")]


def test_unlabelled_ids_differ_between_files_and_rows(tmp_path):
    paths = []
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "same.txt")
        paths[-1].write_text("a\nb\n")
    ids = [e.id for e in read_unlabeled(paths, False)[1]]
    assert len(set(ids)) == 4


def test_unlabelled_examples_have_no_label(tmp_path):
    path = tmp_path / "more.txt"
    path.write_text("a\n")
    assert next(read_unlabeled([path], False)[1]).label is None


def test_unlabelled_rows_without_text_are_skipped_and_counted(tmp_path):
    rows = [{"text": "a"}, {"text": None}, {"text": " "}, {"text": "b'c'"}]
    path = tmp_path / "more.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    plain = tmp_path / "more.txt"
    plain.write_text("a\n\n b\n\n")
    told, examples = read_unlabeled([path, plain], False)
    assert [e.text_a for e in examples] == ["a", "b'c'", "a", "b"]
    assert (told[0].rows, told[0].skipped) == (4, {"no text": 2})
    assert told[0].notes == ["skipped 2 of 4 rows: no text (2)"]
    (warning,) = told[0].warnings
    assert warning.startswith("bytes that Python printed (b'...') in 1 row, ")
    # A blank line between texts is none of them.
    assert (told[1].rows, told[1].skipped) == (2, {})
    assert told[1].notes == told[1].warnings == []


def test_reading_unlabelled_text_streams(tmp_path):
    path = tmp_path / "more.txt"
    path.write_bytes(b"good\n" * 100_000 + b"\xff\n")
    first = list(itertools.islice(read_unlabeled([path], False)[1], 3))
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
def test_a_bad_file_of_text_is_named_with_its_line(
    tmp_path, content, pair, reason
):
    path = tmp_path / "more.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"more.txt.*{reason}"):
        texts([path], pair=pair)


def test_a_missing_file_of_text_is_named(tmp_path):
    with pytest.raises(UserError, match="none.txt"):
        texts([tmp_path / "none.txt"])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("it\ufffds good", "characters that were lost"),
        ("it\u00e2\u20ac\u2122s good", "UTF-8 that was read as cp1252"),
        ("a caf\u00c3\u00a9", "UTF-8 that was read as cp1252"),
        ("good<br />bad", "HTML"),
        ("it&#39;s good", "HTML"),
        (r"good.\nbad", "line breaks written out"),
        ("#NAME?", "Excel's errors"),
        ("nan", "words for nothing"),
        ("[removed]", "words for nothing"),
        ("['the', 'film']", "lists that Python printed"),
        ("b'good film'", "bytes that Python printed"),
        ('b"it\'s good"', "bytes that Python printed"),
    ],
)
def test_what_other_programs_left_in_texts_is_told(table, tmp_path, text, what):
    told = Told(tmp_path / "my.csv")
    rows = [{"text": t, "label": "x"} for t in ["a < b & c", text]]
    content = "\n".join(map(json.dumps, rows))
    examples, _ = table("my.csv", content, told=told)
    assert examples[1].text_a == text
    (warning,) = told.warnings
    assert warning.startswith(what)
    assert "in 1 row, the first on line 2: " in warning
    assert told.notes == []
