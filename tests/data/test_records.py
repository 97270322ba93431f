"""Tables, JSON and Parquet in the dialects that programs write."""

import csv
import gzip
import json

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from user_files import ITEMS, LAYOUTS, PACKERS, ROWS, parquet, written

from keras_distill.data.dialect import Reading
from keras_distill.data.records import read_records
from keras_distill.errors import UserError


@pytest.fixture
def read(tmp_path):
    """Write a file and return its dialect and its numbered records."""

    def run(content, name="my.csv", columns=("text", "label"), **options):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode("utf-8")
        path.write_bytes(content)
        dialect, records = read_records(path, columns, **options)
        return dialect, list(records)

    return run


@pytest.fixture
def cells(read):
    """Write a file and return the cells of its records."""

    def run(*arguments, **options):
        _, records = read(*arguments, **options)
        return [tuple(fields.values()) for _, fields in records]

    return run


@pytest.fixture
def refused(read):
    """Write a file and return why it is not read, in one line."""

    def run(*arguments, **options):
        with pytest.raises(UserError) as caught:
            read(*arguments, **options)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return run


@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my.txt", "my"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_tells_the_separator_whatever_the_name(
    read, separator, name
):
    dialect, records = read(written(delimiter=separator), name)
    assert [tuple(fields.values()) for _, fields in records] == ROWS
    assert dialect.separator == separator
    assert dialect.format == ("tsv" if separator == "\t" else "csv")


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=;"\n', "SEP=;\n"])
def test_excels_line_tells_the_separator(read, line):
    content = line + written(delimiter=";")
    dialect, records = read(content)
    assert dialect.separator == ";"
    assert records[0] == (3, {"text": ROWS[0][0], "label": "pos"})


@pytest.mark.parametrize(
    ("said", "character"), [("tab", "\t"), ("~", "~"), (r"\t", "\t")]
)
def test_a_named_separator_overrides_what_is_told(read, said, character):
    content = written(delimiter=character)
    dialect, records = read(content, reading=Reading(separator=said))
    assert dialect.separator == character
    assert len(records) == 2


@pytest.mark.parametrize("name", ["one.csv", "one.tsv", "one"])
def test_one_column_has_no_separator(read, name):
    content = 'text\nwell; no | never\n"a, b\nc"\n5" nails, cheap\n'
    dialect, records = read(content, name, columns=("text",))
    assert dialect.separator is None
    assert records == [
        (2, {"text": "well; no | never"}),
        (3, {"text": "a, b\nc"}),
        (5, {"text": '5" nails, cheap'}),
    ]


def test_texts_full_of_semicolons_do_not_mislead(cells):
    rows = [("a; b; c; d", "x"), ("e; f; g; h", "y")]
    assert cells(written(rows)) == rows


def test_a_separator_in_the_headers_quotes_does_not_mislead(cells):
    content = 'text,"label;x",label\na,1,b\n'
    assert cells(content) == [("a", "b")]


SAID = 'he said "no", twice'


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quoting": csv.QUOTE_ALL},
        {"quoting": csv.QUOTE_NONNUMERIC},
        {"doublequote": False, "escapechar": "\\"},
        {
            "doublequote": False,
            "escapechar": "\\",
            "quoting": csv.QUOTE_NONNUMERIC,
        },
    ],
    ids=["minimal", "all", "nonnumeric", "escaped", "escaped-nonnumeric"],
)
def test_quotes_of_spreadsheets_frames_and_dumps(cells, options, separator):
    rows = [(SAID, "pos"), ("line one\nline two", "neg"), ("plain", "pos")]
    content = written(rows, delimiter=separator, **options)
    assert cells(content, "my.tsv") == rows


def test_a_dump_with_backslashes_keeps_those_that_escape_nothing(cells):
    content = 'text,label\n"C:\\new \\"x\\" \\\\ y",\\N\n"two\\\nlines",b\n'
    assert cells(content) == [
        ('C:\\new "x" \\ y', None),
        ("two\nlines", "b"),
    ]


def test_blanks_after_separators_do_not_hide_quotes(cells):
    content = 'text, label\n"so, good", "pos"\nso bad, neg\n'
    assert cells(content) == [("so, good", "pos"), ("so bad", "neg")]
    content = 'text,label\n"so", she said,neg\n'
    with pytest.raises(UserError, match="line 2: found 3 fields"):
        cells(content)


def test_doubled_quotes_leave_backslashes_alone(cells):
    content = 'text,label\n"C:\\",a\n"say ""\\n""",b\n\\"x,c\n'
    assert cells(content) == [
        ("C:\\", "a"),
        ('say "\\n"', "b"),
        ('\\"x', "c"),
    ]


def test_tsv_undoes_whole_quotes_and_leaves_others(cells):
    content = (
        'text\tlabel\n"she said ""awful"""\t"neg"\n"a "quote\tpos\n'
        '"\tneg\n5" nails\tpos\n""\tneg\n"half\tpos\n'
    )
    assert cells(content, "my.tsv") == [
        ('she said "awful"', "neg"),
        ('"a "quote', "pos"),
        ('"', "neg"),
        ('5" nails', "pos"),
        ("", "neg"),
        ('"half', "pos"),
    ]


def test_tsv_with_a_quoted_line_break_first_or_last(cells):
    for columns in (("text", "label"), ("label", "text")):
        content = (
            "\t".join(columns)
            + "\n"
            + "\t".join(
                {"text": '"one\ntwo"', "label": "pos"}[c] for c in columns
            )
            + "\n"
        )
        assert cells(content, "my.tsv") == [("one\ntwo", "pos")]


def test_a_row_of_the_wrong_width_is_named_in_any_dialect(refused):
    for separator in ",;\t|":
        content = f"text{separator}label\na{separator}b\nc\n"
        message = refused(content, "my.csv")
        assert "line 3: column 'label' is missing: found 1 fields" in message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_line_ends_of_any_system(read, end):
    rows = [("a", "x"), ("b, c", "y")]
    _, records = read(written(rows, lineterminator=end))
    assert records == [
        (2, {"text": "a", "label": "x"}),
        (3, {"text": "b, c", "label": "y"}),
    ]


@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my"])
def test_a_line_feed_at_the_end_of_carriage_returns_does_no_harm(cells, name):
    for separator in ",\t":
        rows = [("a", "x"), ("b", "y")]
        content = written(rows, delimiter=separator, lineterminator="\r")
        assert cells(content + "\n", name) == rows


def test_line_feeds_inside_quotes_between_carriage_returns(cells):
    assert cells('text,label\r"a\nb",x\rc,y\r') == [("a\nb", "x"), ("c", "y")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_lone_carriage_return_in_a_cell_is_a_blank(cells, end):
    content = end.join(["text,label", "a\rb,x", '"c\rd",y', ""])
    assert cells(content) == [("a b", "x"), ("c d", "y")]


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


NEWS = '"3","Wall, street","Stocks; ""fell"""\n"1","Peace","Talks, again"\n'


def test_a_file_without_a_header_says_how_to_go_on(refused):
    message = refused(NEWS)
    assert "line 1: no column 'text' in the header, found: 3, Wall" in message
    assert (
        "line 1 was taken for a header: if it is a row, say --no-h" in message
    )
    assert "--text-column 2 --label-column 1" in message


def test_without_a_header_columns_are_numbers(read):
    _, records = read(NEWS, columns=("3", "1"), reading=Reading(header=False))
    assert records == [
        (1, {"3": 'Stocks; "fell"', "1": "3"}),
        (2, {"3": "Talks, again", "1": "1"}),
    ]


@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my.txt"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_without_a_header_the_classes_tell_the_separator(read, separator, name):
    others = " or".join(s for s in ",;|" if s != separator)
    lines = [
        f"{'ham' if i % 2 else 'spam'}{separator}number {i}{others} {i % 3}"
        for i in range(20)
    ]
    content = "\n".join(lines)
    dialect, records = read(
        content, name, columns=("2", "1"), reading=Reading(header=False)
    )
    assert dialect.separator == separator
    assert {fields["1"] for _, fields in records} == {"ham", "spam"}


def test_texts_with_one_semicolon_each_do_not_hide_the_comma(read):
    lines = [f"it was {i}; so{i}," + "ab"[i % 2] for i in range(9)]
    dialect, _ = read(
        "\n".join(lines), columns=("1", "2"), reading=Reading(header=False)
    )
    assert dialect.separator == ","


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (("text", "label"), "columns are numbers from 1, found 'text'"),
        (("2", "0"), "found '0'"),
        (("2", "9"), "found 3 columns, expected a column 9"),
    ],
)
def test_without_a_header_other_names_are_refused(refused, columns, reason):
    options = {"columns": columns, "reading": Reading(header=False)}
    assert reason in refused(NEWS, **options)


def test_a_repeated_header_is_skipped_and_counted(read):
    content = "text,label\na,x\ntext,label\nb,y\ntext,label\n"
    dialect, records = read(content)
    assert [line for line, _ in records] == [2, 4]
    assert dialect.as_dict()["skipped"] == {"repeated header": 2}
    assert dialect.notes == ("skipped 2 lines that repeat the header",)


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


WANTED = [("a, b", "1"), ("c\nd", "0")]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt", "a.csv", "a"])
def test_json_is_read_in_any_layout_under_any_name(read, layout, name):
    form, content = LAYOUTS[layout]
    for plain in (False, True):
        dialect, records = read(content, name, plain=plain)
        assert [tuple(fields.values()) for _, fields in records] == WANTED
        assert dialect.format == form


def test_the_rows_of_a_json_array_have_the_lines_they_start_on(read):
    _, records = read(json.dumps(ITEMS, indent=1), "a.json")
    assert [line for line, _ in records] == [2, 6]


def test_a_json_null_and_an_absent_field_are_none(cells):
    rows = [{"text": None, "label": "x"}, {"label": "y"}, {"text": ""}]
    content = "\n".join(map(json.dumps, rows))
    assert cells(content) == [(None, "x"), (None, "y"), ("", None)]


def test_json_values_are_the_text_of_tables(cells):
    values = [True, False, 1, 1.0, 0.5, -2, 1e22, "True"]
    rows = [{"text": v, "label": v} for v in values]
    assert [label for _, label in cells("\n".join(map(json.dumps, rows)))] == [
        *("true", "false", "1", "1", "0.5", "-2", str(10**22), "True"),
    ]


def test_an_optional_json_field_that_is_no_text_is_none(read):
    content = '{"id": {"$oid": "7"}, "text": "a", "label": 1}\n'
    _, ((_, fields),) = read(content, optional=["id"])
    assert fields == {"text": "a", "label": "1", "id": None}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[{"text": "a", "label": 1},\n{"text": }]', "line 2: not valid JSON"),
        ('[{"text": "a", "label": 1},\n3]', "line 2: found a JSON int"),
        ('[{"text": "a", "label": 1}\n', "line 2: not valid JSON: found 'the"),
        ('[{"text": "a", "label": 1}]\n[]', "line 2: found '['"),
        ("[\n]", "is empty"),
        ('{"a": [{"text": "x", "label": 1}], "b": [{"c": 1}]}', "found two"),
        ('{"text": {"0": "a"}, "label": {"0": 1}}', "field text: found a dict"),
        ('{"columns": ["text"],\n "data": [["a"]]}', "orient='records'"),
        ('{"columns": ["text"], "data": [["a"]]}', "orient='records'"),
        ("{\n" * 9_000, "not valid JSON"),
        ('[{"a":' * 9_000, "not valid JSON"),
        ('{"review": "a"}', "line 1: no field 'text', found: review"),
    ],
)
def test_json_that_does_not_fit_is_named_with_its_line(
    refused, content, reason
):
    assert reason in refused(content, "a.json")


def test_a_long_json_array_is_streamed(tmp_path):
    path = tmp_path / "a.json"
    rows = ",\n".join('{"text": "good film"}' for _ in range(50_000))
    path.write_text(f"[{rows}, oops]")
    _, records = read_records(path, ["text"])
    for _ in range(50_000):
        last = next(records)
    assert last == (50_000, {"text": "good film"})
    with pytest.raises(UserError, match="line 50000: not valid JSON"):
        next(records)


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


CELLS = st.text(
    st.one_of(
        st.sampled_from("\",;|\\\n '{[<#aeiou"),
        st.characters(
            codec="cp1252", exclude_categories=["Cc", "Cs"], min_codepoint=32
        ),
    ),
    max_size=12,
).filter(lambda text: text != r"\N")


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_any_table_comes_back_from_any_dialect(tmp_path, data):
    draw = data.draw
    separator = draw(st.sampled_from(",;\t|"))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    escaped = draw(st.booleans())
    quoting = draw(
        st.sampled_from(
            [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]
        )
    )
    encoding = draw(
        st.sampled_from(
            ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "utf-16-le"]
        )
    )
    header = draw(st.sampled_from(["text", "Text ", "TEXT", "text\u200b"]))
    said = Reading(encoding if encoding in ("cp1252", "utf-16-le") else None)
    if encoding == "cp1252":
        header = header.rstrip("\u200b")
    rows = draw(
        st.lists(st.tuples(CELLS, st.sampled_from(["x", "y z", "1", ""])))
    )
    # What 8 bits cannot be taken for, and the quotes that tell their style.
    rows = [(f"caf\xe9 {SAID}", "x"), *rows]
    if end == "\r" and (escaped or quoting == csv.QUOTE_MINIMAL):
        # Python's writer leaves these line feeds without quotes.
        rows = [(text.replace("\n", " "), label) for text, label in rows]
    options = {"doublequote": False, "escapechar": "\\"} if escaped else {}
    content = written(
        rows,
        (header, "label"),
        delimiter=separator,
        lineterminator=end,
        quoting=quoting,
        **options,
    )
    if draw(st.booleans()):
        content = f"sep={separator}{end}{content}"
    packed = draw(st.sampled_from(list(PACKERS)))
    path = tmp_path / draw(st.sampled_from(["a.csv", "a.tsv", "a", "a.txt"]))
    path.write_bytes(PACKERS[packed](content.encode(encoding)))
    dialect, records = read_records(path, ["text", "label"], (), said)
    assert [(f["text"], f["label"]) for _, f in records] == rows
    assert dialect.separator == separator
    assert dialect.compression == packed
    assert ("backslash" in dialect.quotes) == escaped
