import json

import pytest
from report_runs import ROWS
from search_runs import make_run

from keras_distill.data.examples import Example, write_examples
from keras_distill.files import write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("ladder") / "run")
    rows = [Example("a good film", None, 1, str(i)) for i in range(9)]
    write_examples(run / "data" / "dev.jsonl.gz", rows)
    write_json(
        run / "results.json",
        {"teacher": {"name": "x", "dev": {"accuracy": 0.75}}},
    )
    return run


def test_each_kind_is_trained_measured_and_drawn(run, call):
    asked = [run, "--kinds", "bag", "--seeds", "2"]
    result, printed = call("ladder", *asked)
    assert result["teacher"] == {"dev": 75.0}
    assert [one["seed"] for one in result["kinds"]["bag"]] == [7, 8]
    for one in result["kinds"]["bag"]:
        assert one["int8_bytes"] > 1000 and one["texts_per_s"] > 0
        right = one["dev"]["accuracy"] * ROWS["dev"] / 100
        assert right == pytest.approx(round(right), abs=0.01)
    assert "| bag |" in printed
    # What is there is not trained again.
    again, _ = call("ladder", *asked)
    assert again["kinds"] == result["kinds"]
    anew, _ = call("ladder", *asked, "--speeds")
    for kind, found in anew["kinds"].items():
        for one, before in zip(found, result["kinds"][kind], strict=True):
            assert one["dev"] == before["dev"]
            assert one["int8_bytes"] == before["int8_bytes"]


def test_the_picture_has_a_panel_for_each_run(module, tmp_path, monkeypatch):
    one = {"dev": {"accuracy": 80.0}, "latency_ms": 0.2}
    result = {
        "task": "sst2",
        "rows": 100,
        "teacher": {"select": 91.0, "dev": 90.0},
        "kinds": {"bag": [one], "bilstm": [one | {"latency_ms": 0.5}]},
    }
    table, picture = tmp_path / "ladder.json", tmp_path / "ladder.png"
    table.write_text(json.dumps(result))
    command = ["ladder.py", table, table, "--draw", picture]
    monkeypatch.setattr("sys.argv", list(map(str, command)))
    assert module("ladder").main() == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
