"""The yardstick: TF-IDF and logistic regression on a run's gold labels."""

import dataclasses
import json

import numpy as np
import pytest
from report_runs import LABELS, sample_results, write_run

from keras_distill.config import config_from_dict
from keras_distill.data.examples import Example, write_examples
from keras_distill.files import write_json
from keras_distill.metrics import classification_metrics
from keras_distill.report import results as results_module
from keras_distill.report import yardstick as module
from keras_distill.report.card import model_card
from keras_distill.report.results import collect_results
from keras_distill.report.table import results_table
from keras_distill.report.yardstick import measure_yardstick
from keras_distill.transfer_set.record import Rows

PLACES = {"good": 1, "bad": 0}


def texts(count, seed=0):
    """Texts that one word decides, and their labels."""
    rng = np.random.default_rng(seed)
    words = rng.choice(list(PLACES), count)
    noise = [
        " ".join(rng.choice("the a film soup is".split(), 4)) for _ in words
    ]
    made = [f"{some} {word} !" for some, word in zip(noise, words, strict=True)]
    return made, [PLACES[word] for word in words]


def rows(columns, labels, logits=None):
    labels = np.array(labels, np.int32)
    if logits is None:
        logits = np.eye(2, dtype=np.float32)[labels]
    return Rows(columns, labels, logits)


def write_data(folder, examples, labels=LABELS, reported=()):
    """Write what the yardstick reads of a run's data."""
    data = folder / "data"
    write_examples(data / "train.jsonl.gz", examples)
    write_examples(data / "test.jsonl.gz", reported)
    counts = {"train": len(examples), "test": len(reported)}
    write_json(data / "manifest.json", {"labels": labels, "splits": counts})
    return folder


def examples(count, seed=0):
    made = zip(*texts(count, seed), strict=True)
    return [Example(text, None, label) for text, label in made]


def measured(folder, splits=None, chosen="select", **config):
    if splits is None:
        splits = {
            name: rows([some], labels)
            for name, (some, labels) in {
                "test": texts(30, 1),
                "select": texts(20, 2),
            }.items()
        }
    config = config_from_dict({"task": "custom", **config})
    return measure_yardstick(folder, config, splits, chosen)


def test_it_learns_from_gold_labels_and_is_measured_as_all_others(tmp_path):
    found = measured(write_data(tmp_path, examples(80)))
    assert found["test"]["accuracy"] == found["select"]["accuracy"] == 1
    one = np.zeros((2, 2))
    keys = classification_metrics(one, np.array([0, 1]), one).keys()
    assert found["test"].keys() == keys
    assert found["test"]["agreement"] == 1
    assert found["rows"] == 80
    assert found["c"] in module._GRID
    # Words, marks and neighbours; a weight each, and one for all rows.
    assert 20 < found["features"] < 100
    assert found["parameters"] == found["features"] + 1
    assert found["seconds"] >= 0
    assert "NaN" not in json.dumps(found)


def test_a_teacher_that_lacks_answers_is_not_compared_with(tmp_path):
    some, labels = texts(20, 1)
    asked = rows([some], labels, np.full((20, 2), np.nan, np.float32))
    folder = write_data(tmp_path, examples(80))
    found = measured(folder, {"select": asked})
    assert found["select"]["agreement"] is None
    assert found["select"]["accuracy"] == 1


@pytest.mark.parametrize(
    "train",
    [
        [Example("good", None, None), Example("bad", None, None)],
        [Example("good", None, 1), Example("very good", None, 1)],
        [Example(" ", None, 0), Example("", None, 1)],
    ],
    ids=["no labels", "one class", "no words"],
)
def test_there_is_none_where_nothing_can_be_fitted(tmp_path, train):
    assert measured(write_data(tmp_path, train)) is None


def test_there_is_none_where_the_data_is_gone(tmp_path):
    assert measured(tmp_path) is None


def test_rows_without_a_label_and_reported_rows_are_not_learned_from(tmp_path):
    train = examples(40)
    # Case does not tell them apart, as in the transfer set.
    reported = [Example(train[0].text_a.upper())]
    same = sum(e.text_a == train[0].text_a for e in train)
    train.append(Example("nobody knows"))
    found = measured(write_data(tmp_path, train, reported=reported))
    assert found["rows"] == 40 - same


def test_the_selection_split_chooses_by_the_runs_metric(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    train = examples(60)
    # Labels that are often wrong: how much is believed makes a difference.
    flipped = [
        dataclasses.replace(e, label=1 - e.label) if rng.random() < 0.3 else e
        for e in train
    ]
    folder = write_data(tmp_path, flipped)
    grid = (0.001, 0.1, 100.0)
    for metric in ("accuracy", "f1"):
        settings = {"classes": {"select_metric": metric}}
        scores = []
        for c in grid:
            monkeypatch.setattr(module, "_GRID", (c,))
            found = measured(folder, **settings)
            assert found["c"] == c
            scores.append(found["select"][metric])
        assert len(set(scores)) > 1
        monkeypatch.setattr(module, "_GRID", grid)
        found = measured(folder, **settings)
        assert found["c"] == grid[int(np.argmax(scores))]


@pytest.mark.parametrize(
    "classes",
    [{"weights": ["balanced"]}, {"balance": True}, {"weights": ["negative=9"]}],
    ids=str,
)
def test_rare_classes_weigh_as_the_run_has_it(tmp_path, classes):
    # Of one and the same text every third row has the rare label.
    train = [
        *[Example("a film", None, 0)] * 10,
        *[Example("a film", None, 1)] * 20,
        *[Example("the soup", None, 1)] * 60,
    ]
    folder = write_data(tmp_path, train)
    splits = {"select": rows([["a film"]], [0])}

    def rare(**config):
        return measured(folder, splits, **config)["select"]["accuracy"]

    assert rare() == 0
    assert rare(classes=classes) == 1


def test_of_pairs_it_sees_sides_and_what_both_have(tmp_path):
    colours = ["red", "blue"]
    pairs = [(a, b) for a in colours for b in colours]
    train = [
        Example(f"one {a}", f"two {b}", int(a == b)) for a, b in pairs * 10
    ]
    first, second = zip(*pairs, strict=True)
    columns = [[f"one {a}" for a in first], [f"two {b}" for b in second]]
    splits = {"select": rows(columns, [int(a == b) for a, b in pairs])}
    # No weights of the two sides alone tell whether they are the same.
    found = measured(write_data(tmp_path, train), splits)
    assert found["select"]["accuracy"] == 1
    assert sorted(module._features(("so Red", "red !"))) == sorted(
        ["a:so", "a:red", "a:so red", "b:red", "b:!", "b:red !", "both:red"]
    )


def test_a_class_that_no_row_has_is_never_said(tmp_path):
    train = [Example(w, None, 2 * p) for w, p in PLACES.items() for _ in "123"]
    folder = write_data(tmp_path, train, labels=["no", "none", "yes"])
    logits = np.zeros((2, 3), np.float32)
    splits = {"select": rows([["good", "bad"]], [2, 0], logits)}
    found = measured(folder, splits)
    assert found["select"]["accuracy"] == 1
    assert np.isfinite(found["select"]["kl"])


def test_of_many_rows_some_are_drawn_always_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_ROWS", 50)
    # As files often are: sorted by class.
    train = sorted(examples(400), key=lambda example: example.label)
    folder = write_data(tmp_path, train)
    first, again = measured(folder), measured(folder)
    assert 25 < first["rows"] < 75
    for found in (first, again):
        del found["seconds"]
    assert first == again
    assert measured(folder, seed=1)["rows"] != first["rows"]


def test_of_many_words_the_frequent_ones_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 24)
    found = measured(write_data(tmp_path, examples(80)))
    assert found["features"] == 12
    assert found["test"]["accuracy"] == 1


# In the report


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "_TIMED_SECONDS", 0.001)
    config = write_run(tmp_path)
    write_examples(tmp_path / "data" / "train.jsonl.gz", examples(80))
    write_examples(tmp_path / "data" / "dev.jsonl.gz", [])
    return tmp_path, config


def test_the_report_measures_it_once(run, monkeypatch):
    folder, config = run
    kept = {}
    results, _ = collect_results(folder, config, kept)
    found = results["yardstick"]
    assert found["rows"] == 80
    assert found.keys() >= {"dev", "select"}
    calls = []
    monkeypatch.setattr(
        results_module, "measure_yardstick", lambda *_: calls.append(1)
    )
    again, _ = collect_results(folder, config, json.loads(json.dumps(kept)))
    assert again["yardstick"] == found
    assert calls == []
    classes = config_from_dict({"classes": {"weights": ["balanced"]}}).classes
    other = dataclasses.replace(config, classes=classes)
    collect_results(folder, other, kept)
    assert calls == [1]


def with_yardstick(**changes):
    scores = {"accuracy": 0.8165, "f1": 0.8062, "mcc": 0.633}
    scores |= {"agreement": 0.84, "kl": 0.2, "logit_mse": 4.5}
    found = {"dev": scores, "select": scores | {"accuracy": 0.93}}
    found |= {"rows": 63_981, "features": 85_716, "parameters": 85_717}
    found |= {"seconds": 4.1, "c": 4.0}
    return sample_results(yardstick=found, **changes)


def test_the_tables_have_it_between_teacher_and_students():
    text = results_table(with_yardstick(task="custom"))
    lines = [line.split("  ")[0] for line in text.splitlines()]
    names = ["teacher", "logistic regression", "student, labels alone"]
    first = lines.index("teacher")
    assert lines[first : first + 3] == names
    rows = [x for x in text.splitlines() if x.startswith("logistic")]
    assert rows[0].split()[2:] == ["81.7", "80.6", "85,717", "-", "-"]
    assert rows[1].split()[2:] == ["93.0"]
    line = " ".join(text.split())
    assert "Logistic regression: TF-IDF of 85,716 words and pairs" in line
    assert "fitted on 63,981 gold labels in 4.1 s." in line
    assert max(map(len, text.splitlines())) <= 80


def test_the_card_has_it_on_every_split():
    text = model_card(with_yardstick(), config_from_dict({"task": "sst2"}))
    found = [x for x in text.splitlines() if "| logistic regression |" in x]
    assert found[0] == (
        "| dev (872) | logistic regression | 81.7 | 80.6 | 63.3 | 84.0 | "
        "0.200 | 4.500 |"
    )
    assert "select`*`" in found[1]
    assert "in 4.1 s" in " ".join(text.split())


@pytest.mark.parametrize("results", [sample_results(), {"yardstick": None}])
def test_a_run_without_one_shows_none(results):
    results = sample_results(**results)
    assert "ogistic" not in results_table(results)
    config = config_from_dict({"task": "sst2"})
    assert "ogistic" not in model_card(results, config)
