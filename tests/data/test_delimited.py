"""Tables of text in the dialects that programs write."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from user_files import PACKERS, ROWS, written

from keras_distill.data.dialect import Reading
from keras_distill.data.records import read_records
from keras_distill.errors import UserError


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


def test_with_bad_rows_the_way_is_chosen_by_which_most_rows_fit(tmp_path):
    path = tmp_path / "my.csv"
    rows = [f'"say \\"no{i}\\", he said",{i}' for i in range(20)]
    path.write_text("\n".join(["text,label", *rows[:9], "bad", *rows[9:]]))
    errors = []
    _, records = read_records(path, ["text"], on_bad=errors.append)
    assert errors == []
    found = [fields["text"] for _, fields in records]
    assert found == [f'say "no{i}", he said' for i in range(20)]
    (error,) = errors
    assert f"{path}, line 11: column 'label' is missing" in str(error)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_without_header_a_bad_row_does_not_hide_the_separator(
    separator, tmp_path
):
    path = tmp_path / "my.txt"
    rows = [f"number {i}{separator}{'ab'[i % 2]}" for i in range(20)]
    path.write_text("\n".join([*rows, "bad"]))
    errors = []
    _, records = read_records(
        path, ["1"], reading=Reading(header=False), on_bad=errors.append
    )
    assert [f["1"] for _, f in records] == [f"number {i}" for i in range(20)]
    assert len(errors) == 1 and "line 21" in str(errors[0])


@given(
    st.lists(
        st.one_of(st.tuples(st.text('ab," \n'), st.text("xy")), st.just("bad")),
        max_size=8,
    )
)
def test_every_row_is_a_record_or_an_error(rows):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["text", "label"])
    for row in rows:
        writer.writerow([row] if row == "bad" else row)
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "my.csv"
        path.write_text(stream.getvalue(), newline="")
        _, records = read_records(path, ["text"], on_bad=errors.append)
        found = [fields["text"] for _, fields in records]
    assert found == [row[0] for row in rows if row != "bad"]
    assert len(errors) == rows.count("bad")


@pytest.mark.parametrize("end", ["", ","])
@pytest.mark.parametrize("start", ["", ","])
def test_a_separator_at_the_end_of_header_or_rows_alone(cells, start, end):
    rows = "".join(f"it was {i},{'xy'[i % 2]}{end}\n" for i in range(4))
    wanted = [(f"it was {i}", "xy"[i % 2]) for i in range(4)]
    assert cells(f"text,label{start}\n{rows}") == wanted


@pytest.mark.parametrize(
    "content",
    [
        "text,label,\na,x\nwell, b,y\n",
        "text,label\na,x,\nwell, b,y\n",
        "text,label\nwell, a,x\nb,y\n",
        "text,label\n1, a,x\n1, b,y\n",
        "text,label\n1,a,x\nb,y\n",
    ],
)
def test_a_comma_in_a_text_is_not_taken_for_one_at_an_end(refused, content):
    assert "fields, expected" in refused(content)


@pytest.mark.parametrize("first", [0, 1])
def test_rs_row_numbers_have_no_name(cells, first):
    content = f'"text"\t"label"\n"{first}"\t"a"\t"x"\n"7"\t"b"\t"y"\n'
    assert cells(content, "my.tsv") == [("a", "x"), ("b", "y")]


def test_a_table_of_markdown(cells):
    content = "| text | label |\n|:---|---|\n| a | x |\n| --- | y |\n"
    found = [tuple(map(str.strip, row)) for row in cells(content, "my.md")]
    assert found == [("a", "x"), ("---", "y")]


def test_lines_before_the_header_are_pointed_out(refused, cells):
    message = refused("# from 2024\n\ntext,label\na,x\n")
    assert "line 3 has the columns: leave out those before it" in message
    assert cells(",\ntext,label\na,x\n") == [("a", "x")]


def test_a_separator_that_is_not_tried_is_asked_for(refused):
    assert "--separator says" in refused("text~label\na~x\n")


def test_a_mark_where_files_were_joined_does_no_harm(read):
    part = "\ufefftext,label\na,x\n"
    dialect, records = read(part + part)
    assert [fields["text"] for _, fields in records] == ["a", "a"]
    assert dialect.repeated_headers == 1
    assert dialect.notes == ("skipped 1 line that repeats the header",)
