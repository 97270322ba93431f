import json

import pytest

from keras_distill.benchmark.__main__ import note_latencies
from keras_distill.benchmark.measure import REFERENCES, ratios
from keras_distill.benchmark.table import markdown, plain
from keras_distill.errors import UserError


def contender(speed, rows=1000, p50=0.2, p99=0.5, **changes):
    return {
        "parameters": 960_000,
        "parameters_without_embeddings": 96_000,
        "bytes": 1_500_000,
        "single": "ids",
        "batched": True,
        "loads": True,
        "note": "",
        "throughput": {
            "rows": rows,
            "sample": rows < 1000,
            "batches": 2,
            "batch_size": 512,
            "sentences_per_s": speed,
            "sentences_per_processor_s": speed / 2,
            "seconds": [1.0],
        },
        "load_seconds": 0.25,
        "processors_busy": 1.0,
        "latency": {
            str(words): {"ms_p50": p50, "ms_p99": p99, "calls": 200}
            for words in (10, 20, 60)
        },
        **changes,
    }


@pytest.fixture
def result():
    contenders = {
        "teacher": contender(50.0, rows=40, p99=None, note="MiniLM"),
        "bert_large": contender(10.0, rows=8, load_seconds=None),
        "saved_model": contender(6000.0),
        "student_int8.tflite": contender(3000.0),
    }
    for name in contenders:
        contenders[name]["ratios"] = ratios(contenders, name)
    return {
        "command": "python -m keras_distill.benchmark RUN",
        "date": "2030-01-01 00:00 UTC",
        "settings": {
            "batch_size": 512,
            "words": [10, 20, 60],
            "repeats": 3,
            "seed": 1,
        },
        "processors": 2,
        "processor": "A CPU",
        "gpus": 0,
        "load_average": [0.1, 0.2, 0.3],
        "load_average_after": [1.5, 0.2, 0.3],
        "versions": {"python": "3.11"},
        "rows": 1000,
        "pair": False,
        "contenders": contenders,
    }


def line(text, name):
    """The line of a model in the throughput table."""
    table = text.partition("Throughput")[2]
    (found,) = [x for x in table.splitlines() if x.startswith(f"{name} ")][:1]
    return found.split()


def test_ratios_are_to_what_was_measured(result):
    contenders = result["contenders"]
    assert ratios(contenders, "saved_model") == {
        "bert_large": 600.0,
        "teacher": 120.0,
    }
    assert "stock_lstm" in REFERENCES


def test_the_table_shows_rates_and_ratios(result):
    assert line(plain(result), "SavedModel") == [
        *("SavedModel", "6,000", "600", "120", "3,000", "1,000", "512")
    ]


def test_a_sample_is_called_one(result):
    assert line(plain(result), "BERT-large")[5:8] == ["sample", "of", "8"]
    assert "sample" not in line(plain(result), "SavedModel")


def test_too_few_answers_show_no_p99(result):
    latency = plain(result).partition("Latency")[2]
    (teacher,) = [x for x in latency.splitlines() if x.startswith("teacher  ")]
    assert teacher.split()[2:] == ["0.200", "-"] * 3


def test_more_than_one_busy_processor_is_told(result):
    assert "processors busy" not in plain(result)
    result["contenders"]["teacher"]["processors_busy"] = 1.8
    assert "teacher kept 1.8 processors busy" in plain(result)


def test_the_page_says_how_it_was_made(result):
    page = markdown(result)
    assert "`python -m keras_distill.benchmark RUN`" in page
    assert "python 3.11" in page and "seed 1" in page
    assert "| SavedModel | 6,000 | 600 | 120 | 3,000 | 1,000 | 512 |" in page


class TestNoteLatencies:
    def test_exports_get_their_latency_and_keep_the_rest(
        self, tmp_path, result
    ):
        path = tmp_path / "results.json"
        old = {"accuracy": 0.9, "latency_ms_p50": None, "latency_ms_p99": None}
        path.write_text(
            json.dumps({"seed": 7, "exports": {"saved_model": old}})
        )
        note_latencies(path, result)
        found = json.loads(path.read_text())
        assert found["seed"] == 7
        assert found["exports"]["saved_model"] == {
            "accuracy": 0.9,
            "latency_ms_p50": 0.2,
            "latency_ms_p99": 0.5,
        }

    def test_an_export_made_after_the_report_is_added(self, tmp_path, result):
        path = tmp_path / "results.json"
        path.write_text(json.dumps({"exports": {}}))
        note_latencies(path, result)
        exports = json.loads(path.read_text())["exports"]
        assert set(exports) == {"saved_model", "student_int8.tflite"}
        assert exports["saved_model"]["accuracy"] is None
        assert exports["saved_model"]["bytes"] == 1_500_000

    def test_an_accuracy_of_another_file_is_not_kept(self, tmp_path, result):
        path = tmp_path / "results.json"
        old = {"bytes": 9_000_000, "accuracy": 0.9, "rows": 872}
        path.write_text(json.dumps({"exports": {"saved_model": old}}))
        note_latencies(path, result)
        form = json.loads(path.read_text())["exports"]["saved_model"]
        assert form["accuracy"] is None and form["rows"] is None
        assert form["bytes"] == 1_500_000
        assert form["latency_ms_p50"] == 0.2

    def test_a_run_without_results_is_left_so(self, tmp_path, result):
        note_latencies(tmp_path / "results.json", result)
        assert not list(tmp_path.iterdir())

    def test_damaged_results_are_an_error(self, tmp_path, result):
        path = tmp_path / "results.json"
        path.write_text("[]")
        with pytest.raises(UserError, match=r"results\.json"):
            note_latencies(path, result)
