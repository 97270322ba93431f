"""What the card says of the files that a run read."""

import pytest
from report_runs import sample_results

from keras_distill.config import Config, DataConfig, config_from_dict
from keras_distill.data.splits import write_data
from keras_distill.files import read_json
from keras_distill.report.card import model_card
from keras_distill.report.understood import shown, understood


@pytest.fixture
def facts(tmp_path):
    """Of a run with a little of everything."""
    rows = [f"it was | number {i};{'ab'[i % 2]}\n" for i in range(400)]
    rows += ["it was | number 0;b\n", "it was | number 1;b\n", ";a\n"]
    rows += ["one <br /> more;b \n", "two;B\n"]
    train, more = tmp_path / "my.csv", tmp_path / "more.txt"
    train.write_text("text;label\n" + "".join(rows))
    more.write_text("a text\n")
    data = DataConfig(train_file=str(train), unlabeled=[str(more)])
    write_data(Config("custom", data=data), tmp_path / "data")
    return understood(read_json(tmp_path / "data" / "manifest.json"))


def test_files_classes_and_what_is_odd_are_told(facts):
    files, classes, rows, warnings = shown(facts)
    assert files.splitlines()[2:] == [
        "| `my.csv` | train | 405 | csv, ';', quotes inside quotes are "
        "doubled, utf-8 |",
        "| `more.txt` | unlabeled | 1 | plain text, utf-8 |",
    ]
    assert classes.splitlines()[0] == (
        "| class | train | select | dev | such as |"
    )
    assert r"`it was \| number" in classes.splitlines()[3]
    assert " ".join(rows.split()) == (
        "Left out: 1 row: no text. Labels read: `'b '` as `b` (1). In the "
        "training file 1 row repeats another; 1 text (2 rows) has several "
        "labels."
    )
    assert "- classes that look alike stay apart: 'B' (1 row)" in warnings


def test_files_have_no_folder(facts, tmp_path):
    assert str(tmp_path) not in str(facts)


def test_many_classes_and_spellings_are_cut_short():
    one = {"rows": {"train": 1}, "sample": ""}
    classes = [one | {"name": f"c{i}"} for i in range(30)]
    merged = [[f"C{i} ", f"c{i}", 1] for i in range(30)]
    table, rows = shown({"classes": classes, "merged": merged})
    assert table.splitlines()[-2:] == [
        "| `c19` | 1 | - |",
        "| and 10 more | ... | ... |",
    ]
    assert rows.endswith("and 10 more.")


def test_a_run_of_an_older_version_tells_nothing_of_them():
    assert understood({"labels": ["a", "b"], "splits": {}}) == {}
    assert shown({}) == []


def test_it_is_in_the_card(facts):
    config = config_from_dict({"task": "custom"})
    text = model_card(sample_results(data=facts), config)
    section = text.split("## Data")[1].split("\n## ")[0]
    for block in shown(facts):
        assert block in section
