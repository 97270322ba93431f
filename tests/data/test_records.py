"""Columns, Parquet and plain text; what is told of a file."""

import gzip
import json

import pyarrow as pa
import pytest
from user_files import parquet


@pytest.mark.parametrize(
    "name", ["Text ", "TEXT", "\ufefftext", " text", "te\u200bxt", "\xa0Text"]
)
@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_header_is_matched_but_for_blanks_case_and_marks(read, name, form):
    if form == "csv":
        content = f"label,{name}\nb,a\n".encode()
    elif form == "json":
        content = json.dumps({"label": "b", name: "a"}).encode()
    else:
        content = parquet({"label": ["b"], name: ["a"]})
    dialect, records = read(content)
    assert list(records[0][1].values()) == ["a", "b"]
    (note,) = dialect.notes
    assert note.endswith(f"{name!r} read as 'text'")


def test_two_columns_are_not_one(refused):
    message = refused("text,label\na,b\n", columns=("text", "TEXT"))
    assert "no column 'TEXT' in the header, found: text, label" in message


def test_a_mark_written_twice_does_no_harm(cells):
    content = '\ufeff\ufeff"text","label"\na,b\n'
    assert cells(content) == [("a", "b")]


def test_an_exact_name_wins_and_two_near_ones_are_refused(read, refused):
    dialect, records = read("TEXT,text,label\na,b,c\n")
    assert (records[0][1]["text"], dialect.notes) == ("b", ())
    message = refused("TEXT,Text,label\na,b,c\n")
    assert "no column 'text', but 'TEXT' and 'Text'" in message


def test_an_optional_column_is_taken_by_its_own_name_alone(read):
    for header, found in (("id", "7"), ("ID", None)):
        content = f"{header},text,label\n7,a,b\n"
        _, records = read(content, optional=["id"])
        assert records[0][1].get("id") == found


def test_what_is_told_of_a_file_is_ready_for_a_manifest(read):
    dialect, _ = read(gzip.compress(b"\xef\xbb\xbfTEXT;label\na;x\n"))
    told = dialect.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert told.pop("path").endswith("my.csv")
    assert told == {
        "format": "csv",
        "separator": ";",
        "quotes": "quotes inside quotes are doubled",
        "encoding": "utf-8-sig",
        "compression": "gzip",
        "notes": ["column 'TEXT' read as 'text'"],
        "skipped": {},
    }


def test_parquet_is_read_whatever_its_name(read):
    content = parquet({"n": [1, 2], "label": ["x", None], "text": ["a", ""]})
    for name in ("a.parquet", "a.csv", "a"):
        dialect, records = read(content, name)
        assert (dialect.format, dialect.unit) == ("parquet", "row")
        assert records == [
            (1, {"text": "a", "label": "x"}),
            (2, {"text": "", "label": None}),
        ]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array([True, None]), ["true", None]),
        (pa.array([1, 2], pa.int8()), ["1", "2"]),
        (pa.array([1.0, 0.1], pa.float32()), ["1", "0.1"]),
        (pa.array([1e22, float("nan")]), [str(10**22), None]),
        (pa.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
        (pa.array([b"b", b"\xc3\xa9"]), ["b", "\xe9"]),
    ],
    ids=["bool", "int8", "float32", "float64", "dictionary", "binary"],
)
def test_parquet_values_are_the_text_of_tables(cells, values, wanted):
    table = parquet(pa.table({"text": ["t", "u"], "label": values}))
    assert [label for _, label in cells(table)] == wanted


def test_parquet_rows_are_numbered_over_row_groups(read):
    content = parquet({"text": [f"t{i}" for i in range(25)]}, row_group_size=4)
    _, records = read(content, columns=("text",))
    assert records[24] == (25, {"text": "t24"})


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"text": ["a"]}, "no column 'label' in the header, found: text"),
        ({"text": [["a"]], "label": [1]}, "column text: found list<"),
        ({"text": [b"\xff"], "label": [1]}, "row 1 or later"),
        ({"text": [float("inf")], "label": [1]}, "row 1 or later"),
        (
            {"text": ["x" * 100_001], "label": [1]},
            "row 1, column text: 100,001",
        ),
    ],
)
def test_parquet_that_does_not_fit_is_named(refused, columns, reason):
    assert reason in refused(parquet(columns), "a.parquet")


def test_damaged_parquet_is_named(refused):
    content = parquet({"text": ["a"], "label": [1]})
    assert "is damaged" in refused(content[:-9], "a.parquet")


def texts_of(read, content, name="more.txt", columns=("text",)):
    _, records = read(content, name, columns=columns, plain=True)
    return [tuple(fields.values()) for _, fields in records]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('["a b", "c"]', "line 1: found a JSON str, expected an object"),
        ("{'text': 'a'}\n{'text': 'b'}\n", "line 1: not valid JSON"),
        ('{"text": "a"\n{"text": "b"}\n', "line 1: not valid JSON"),
        ('{"review": "a"}\n', "line 1: no field 'text', found: review"),
    ],
)
def test_what_is_nearly_json_is_not_taken_for_plain_text(
    refused, content, reason
):
    options = {"columns": ("text",), "plain": True}
    assert reason in refused(content, "more.txt", **options)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_plain_text_is_a_text_a_line(read, end):
    content = end.join(['say "no', "", "a; b, c", "text, too", ""])
    assert texts_of(read, content) == [
        ('say "no',),
        # Whoever answers texts answers it; unlabelled ones leave it out.
        ("",),
        ("a; b, c",),
        ("text, too",),
    ]


@pytest.mark.parametrize("name", ["more.txt", "more", "more.text.gz"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "header", [("text", "label"), ("id", "Text"), ("stars", "review")]
)
def test_a_table_is_not_taken_for_plain_text(refused, header, separator, name):
    rows = [header] + [("ab"[i % 2], f"number {i}") for i in range(20)]
    content = "\n".join(separator.join(row) for row in rows)
    message = refused(content, name, columns=("text",), plain=True)
    assert "line 1: found a table, 2 columns with a" in message
    assert f"({header[0]}, {header[1]})" in message
    assert f"FILE{'.tsv' if separator == chr(9) else '.csv'}" in message


def test_texts_under_a_tables_name_are_told_where_to_go(refused):
    options = {"columns": ("text",), "plain": True}
    message = refused("it was good\nit was bad\n", "more.csv", **options)
    assert "no column 'text' in the header, found: it was good" in message
    assert "texts without columns go into FILE.txt" in message


def test_a_column_of_texts_may_have_its_header(read):
    content = 'Text\n"a, b"\nc; d\n"e" f\n'
    assert texts_of(read, content) == [("a, b",), ("c; d",), ('"e" f',)]


def test_tags_are_not_taken_for_plain_text(refused, read):
    content = '<p class="x">good</p>\n\n<br/>\nbad\n'
    message = refused(content, "a.txt", columns=("text",), plain=True)
    assert "line 1: found tags of HTML or XML" in message
    assert len(texts_of(read, "a <b> c\n<br />d\n<3 it\n")) == 3


def test_sentences_with_a_comma_each_are_plain_text(read):
    lines = [f"the number {i}, which was odd or even" for i in range(30)]
    assert len(texts_of(read, "\n".join(lines))) == 30


def test_a_table_of_pairs_is_not_taken_for_pairs_of_texts(refused, read):
    columns = ("text", "text_b")
    pairs = "a\tb\nc\td\n"
    assert texts_of(read, pairs, columns=columns) == [("a", "b"), ("c", "d")]
    content = "text\ttext_b\n" + pairs
    assert "found a table, 2 columns with a tab" in refused(
        content, "more.txt", columns=columns, plain=True
    )


@pytest.mark.parametrize("header", [[], ["pos,the first was good"]])
@pytest.mark.parametrize("separator", [",", "|||"])
def test_labels_without_a_name_are_not_taken_for_text(
    refused, header, separator
):
    rows = [*header, *(f"{'pn'[i % 2]},the next {i}" for i in range(20))]
    content = "\n".join(row.replace(",", separator) for row in rows)
    message = refused(content, "more.txt", columns=("text",), plain=True)
    assert "line 1: found a table" in message


def test_quotes_around_every_line_are_undone(read):
    assert texts_of(read, '"a ""b"""\n"c"\n') == [('a "b"',), ("c",)]
    assert texts_of(read, '"a"\nb\n') == [('"a"',), ("b",)]
    assert texts_of(read, '"a"\n') == [('"a"',)]
