"""JSON in the layouts that programs write."""

import json

import pytest
from user_files import ITEMS, LAYOUTS

from keras_distill.data.json_rows import json_record
from keras_distill.data.records import read_records
from keras_distill.errors import UserError

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


@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_that_is_longer_than_what_is_looked_at_is_read(
    tmp_path, indent
):
    path = tmp_path / "a.json"
    items = [{"TEXT": f"{i} was good"} for i in range(60_000)]
    path.write_text(json.dumps({"data": items}, indent=indent))
    dialect, records = read_records(path, ["text"])
    assert sum(1 for _ in records) == 60_000
    assert dialect.format == "json array"


def test_a_label_in_a_list_of_its_own_is_that_label(cells, refused):
    rows = [{"text": "a", "label": ["x"]}, {"text": "b", "label": []}]
    assert cells("\n".join(map(json.dumps, rows))) == [("a", "x"), ("b", None)]
    message = refused('{"text": "a", "label": ["x", "y"]}')
    assert "field label: found a list" in message
    assert "write one value a row" in message


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_what_was_rejected_in_prodigy_is_no_label(cells, refused, answer):
    row = {"text": "a", "label": "x", "_input_hash": 1, "answer": "accept"}
    assert cells(json.dumps(row)) == [("a", "x")]
    message = refused(json.dumps(row | {"answer": answer}))
    assert f"line 1, field answer: found '{answer}'" in message
    del row["_input_hash"]
    assert cells(json.dumps(row | {"answer": answer})) == [("a", "x")]


def test_lines_of_json_may_each_have_a_mark(cells):
    line = '\ufeff{"text": "a", "label": "x"}\n'
    assert cells(line + line) == [("a", "x"), ("a", "x")]


@pytest.mark.parametrize(
    "layout", ["{}\n{}", "[{},\n{}]", '{{"data": [{},\n{}]}}']
)
@pytest.mark.parametrize("name", ["text", "label"])
def test_a_field_that_stands_twice_in_a_row_is_not_chosen_from(
    refused, cells, layout, name
):
    good = '{"text": "a", "label": "x", "more": {"k": 1}}'
    bad = good[:-1] + f', "{name}": "y"' + "}"
    message = refused(layout.format(good, bad))
    assert f"line 2, field {name}: stands twice in its row" in message
    assert "expected once" in message
    # What is not read may, as in the header of a table.
    others = good[:-1] + ', "more": 2, "id": 1, "id": 2}'
    found = cells(layout.format(good, others), optional=["id"])
    assert found == [("a", "x", None)] * 2


def test_of_a_json_line_asked_about_no_field_may_stand_twice():
    with pytest.raises(UserError, match="-, line 3, field text: stands twice"):
        json_record("-", 3, '{"text": "a", "text": "a"}', ["text"])
