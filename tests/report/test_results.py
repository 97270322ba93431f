import functools
import json
import statistics

import numpy as np
import pytest
from report_runs import (
    LABELS,
    ROWS,
    SECONDS_A_SHARD,
    TRAIN_SHARDS,
    WORDS,
    write_members,
    write_run,
    write_student,
)

from keras_distill import metrics
from keras_distill.config import config_from_dict
from keras_distill.errors import UserError
from keras_distill.export import opened as forms_module
from keras_distill.export.opened import Form
from keras_distill.files import read_json, write_json
from keras_distill.report import results as module
from keras_distill.report.results import collect_results
from keras_distill.student.dataset import evaluation_dataset
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.record import read_rows

SEEDS = 2


@pytest.fixture(scope="module", autouse=True)
def short_timing():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TIMED_SECONDS", 0.001)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, short_timing):
    """A run with several seeds, a held-out split and dev."""
    folder = tmp_path_factory.mktemp("run")
    teacher = {"names": ["google/bert_uncased"]}
    config = write_run(folder, extra_seeds=SEEDS - 1, teacher=teacher)
    return folder, config, collect_results(folder, config, {})[0]


@pytest.fixture(scope="module")
def other(tmp_path_factory, short_timing):
    """A run as different as can be: chosen on dev, no baseline, exports."""
    folder = tmp_path_factory.mktemp("other")
    config = write_run(
        folder,
        ("select", "test"),
        selected_on="dev",
        baseline=False,
        teacher={"checkpoints": ["/home/me/models/tuned"]},
    )
    for stage, place, resumed in (
        ("report", "report", True),
        ("label", "transfer_set", True),
        ("data", "data", False),
    ):
        record = {"stage": stage, "seconds": 2.5, "resumed": resumed}
        write_json(folder / place / "stage.json", record)
    facts = {
        "same": {"bytes": 1, "max_abs_logit_difference": 0.25},
        "slow": {"window": 40, "cut": 0.004},
    }
    write_json(folder / "export" / "exports.json", facts)
    for name in ("same", "turned", "slow"):
        (folder / "export" / name).write_text(name)
    student = StudentPredictor.load(folder / "student")

    def same(columns, on_rows):
        return student.logits(*columns, on_rows=on_rows)

    def turned(columns, on_rows):
        return -student.logits(*columns, on_rows=on_rows)

    measured = {"20": {"ms_p50": 0.5, "ms_p99": 2.0}}
    contenders = {
        # Another file of this name.
        "turned": {"bytes": 1, "latency": measured},
        "slow": {"bytes": 97, "latency": measured},
    }
    write_json(
        folder / "benchmark" / "benchmark.json", {"contenders": contenders}
    )
    forms = [
        Form("same", 99, same),
        Form("turned", 98, turned),
        Form("slow", 97, same, bundle=True),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms_module, "_SLOW_ROWS", 3)
        patch.setattr(module, "exported_forms", lambda _: forms)
        return collect_results(folder, config, {})[0]


@functools.cache
def said_by(folder, run_dir, split, pair=False):
    """What a student says to a file, by way of the training's data sets."""
    student = StudentPredictor.load(folder)
    dataset = evaluation_dataset(
        run_dir / "transfer_set" / f"{split}.tfrecord",
        student.tokenizer,
        batch_size=4,
        pair=pair,
        num_classes=len(LABELS),
        max_length=6,
    )
    return student.predict(dataset)


@pytest.mark.parametrize("split", ["dev", "select"])
@pytest.mark.parametrize("model", ["student", "baseline"])
def test_students_are_measured_as_in_training(run, model, split):
    folder, _, results = run
    said = said_by(folder / model, folder, split)
    expected = metrics.classification_metrics(
        said.logits, said.labels, said.teacher_logits
    )
    for name, value in expected.items():
        assert results[model][split][name] == pytest.approx(value, abs=1e-5)


def test_the_teacher_is_measured_by_the_logits_in_the_records(run):
    folder, _, results = run
    said = said_by(folder / "student", folder, "dev")
    assert results["teacher"]["dev"] == metrics.classification_metrics(
        said.teacher_logits, said.labels
    )


@pytest.mark.parametrize("alone", [True, False])
def test_a_teacher_is_not_measured_by_its_own_answers(tmp_path, alone):
    names = [] if alone else ["acme/a"]
    config = write_run(
        tmp_path,
        selected_on="heldout",
        baseline=False,
        teacher={"names": names, "logits": ["said.jsonl"]},
    )
    path = tmp_path / "data" / "manifest.json"
    facts = {"own_golds": ["train", "select"]}
    write_json(path, read_json(path) | {"answers": facts})
    found = collect_results(tmp_path, config, {})[0]["teacher"]
    assert found["dev"] is not None
    assert (found["select"] is None) == alone


def test_each_of_several_teachers_is_told_with_what_it_costs(tmp_path):
    rows = [
        {"index": 3, "learning_rate": 3e-5, "epoch": 2, "accuracy": 0.9},
        {"index": 0, "learning_rate": 2e-5, "epoch": 1, "accuracy": 0.8},
    ]
    teacher = {"names": ["acme/a", "/home/me/b"]}
    teacher["learning_rates"] = [2e-5, 3e-5]
    config = write_run(
        tmp_path, selected_on="heldout", baseline=False, teacher=teacher
    )
    write_members(tmp_path, rows)
    found = collect_results(tmp_path, config, {})[0]["teacher"]
    first, second = found["members"]
    assert (first["name"], second["name"]) == ("b", "acme/a")
    assert (first["learning_rate"], second["epoch"]) == (3e-5, 1)
    assert (first["parameters"], second["parameters"]) == (1234, 2)
    assert found["parameters"] == 1236
    assert found["bytes"] == first["bytes"] + second["bytes"] == 5002
    assert first["select"]["accuracy"] == 0.1
    assert second["dev"]["accuracy"] == pytest.approx(0.21)
    # Of all together, as the student learned it.
    assert found["name"] == "b, acme/a"
    assert found["learning_rate"] is found["epoch"] is None
    said = said_by(tmp_path / "student", tmp_path, "dev")
    assert found["dev"] == metrics.classification_metrics(
        said.teacher_logits, said.labels
    )


def test_teachers_of_a_run_that_chose_on_dev_are_told_on_it(tmp_path):
    rows = [{"index": 0, "accuracy": 0.9}, {"index": 1, "accuracy": 0.8}]
    config = write_run(
        *(tmp_path, ["select", "test"]),
        selected_on="dev",
        baseline=False,
        teacher={"checkpoints": ["a", "b"]},
    )
    write_members(tmp_path, rows)
    found = collect_results(tmp_path, config, {})[0]["teacher"]
    first, _ = found["members"]
    assert first["learning_rate"] is first["epoch"] is None
    assert first["dev"]["accuracy"] == 0.1
    assert first["test"]["accuracy"] == pytest.approx(0.11)
    assert not found["fine_tuned_here"]


def test_mean_and_spread_are_those_of_the_seeds(run):
    folder, _, results = run
    values = []
    for place in ("", "seed-8"):
        said = said_by(folder / "student" / place, folder, "dev")
        values.append(metrics.accuracy(said.logits, said.labels))
    dev = results["student"]["dev"]
    assert len(set(values)) > 1
    assert results["student"]["seeds"] == [7, 8]
    assert dev["accuracy"] == values[0]
    assert dev["accuracy_by_seed"] == values
    assert dev["accuracy_mean"] == pytest.approx(statistics.fmean(values))
    assert dev["accuracy_std"] == pytest.approx(statistics.stdev(values))


def test_the_gain_is_the_difference_of_the_means(run):
    *_, results = run
    means = [
        results[m]["dev"]["accuracy_mean"] for m in ("student", "baseline")
    ]
    gain = results["gain"]
    assert gain["split"] == "dev"
    assert gain["points"] == pytest.approx(100 * (means[0] - means[1]))
    assert gain["ci_low"] < gain["points"] < gain["ci_high"]
    assert set(gain["by_split"]) == {"dev", "select"}


def test_the_split_that_chose_is_marked(run):
    *_, results = run
    assert results["splits"] == {
        "train": {"rows": 14, "chosen_on": False},
        "dev": {"rows": ROWS["dev"], "chosen_on": False},
        "select": {"rows": ROWS["select"], "chosen_on": True},
    }


def test_cost_is_counted(run):
    folder, _, results = run
    student = results["student"]
    tables = len(WORDS) * 5
    assert student["vocabulary_size"] == len(WORDS)
    assert student["parameters"] == (
        student["parameters_without_embeddings"] + tables
    )
    model = folder / "student" / "model.keras"
    assert student["bytes"] == model.stat().st_size
    assert student["sentences_per_s"] > 0
    assert results["teacher"]["bytes"] == 5000
    assert results["teacher"]["parameters"] == 1234


def test_the_teachers_speed_is_that_of_labelling(run):
    *_, results = run
    seconds = SECONDS_A_SHARD * len(TRAIN_SHARDS)
    speed = results["teacher"]["sentences_per_s"]
    assert speed == pytest.approx(sum(TRAIN_SHARDS) / seconds)


def test_results_are_json_with_what_is_not_known_as_null(run):
    *_, results = run
    text = json.dumps(results, allow_nan=False)
    assert json.loads(text) == results
    assert results["calibration"]["temperature"] is None
    assert results["tuning"] == {"trials": None, "best": None}
    assert results["embeddings"]["token_coverage"] is None
    assert results["exports"] == {}


def test_the_facts_of_the_transfer_set_are_there(run):
    *_, results = run
    assert results["transfer_set"] == {
        "rows": {"original": 14, "augmented": 10, "unlabelled": 0},
        "padding_ratio": 1.05,
    }


def test_students_without_vectors_are_said_to_start_at_random(run):
    *_, results = run
    assert results["embeddings"]["source"] is None
    assert results["embeddings"]["mode"] == "random"


def test_dev_that_chose_is_called_dev_and_test_comes_first(other):
    assert list(other["splits"]) == ["train", "test", "dev"]
    dev = {"rows": ROWS["select"], "chosen_on": True}
    assert other["splits"]["dev"] == dev
    assert not other["splits"]["test"]["chosen_on"]
    assert other["gain"]["split"] == "test"
    assert "select" not in other["student"]


def test_one_seed_has_no_spread(other):
    test = other["student"]["test"]
    assert test["accuracy_mean"] == test["accuracy"]
    assert test["accuracy_std"] is None


def test_a_run_without_baseline_has_no_gain(other):
    assert other["baseline"] is None
    assert other["gain"]["points"] is None


def test_pairs_are_measured_on_both_dev_sets(tmp_path):
    splits = ("select", "dev", "dev_mismatched")
    config = write_run(tmp_path, splits, pair=True, baseline=False)
    results, _ = collect_results(tmp_path, config, {})
    said = said_by(tmp_path / "student", tmp_path, "dev_mismatched", pair=True)
    expected = metrics.logit_mse(said.logits, said.teacher_logits)
    mse = results["student"]["dev_mismatched"]["logit_mse"]
    assert mse == pytest.approx(expected, rel=1e-4)
    assert list(results["splits"]) == [
        "train",
        "dev",
        "dev_mismatched",
        "select",
    ]


def test_every_export_is_asked_about_the_first_split(other):
    same, turned = (other["exports"][name] for name in ("same", "turned"))
    accuracy = other["student"]["test"]["accuracy"]
    assert same["accuracy"] == accuracy
    assert turned["accuracy"] == pytest.approx(1 - accuracy)
    assert turned["max_abs_logit_difference"] > 0.01
    assert turned["bytes"] == 98


def test_a_slow_export_is_asked_about_rows_from_end_to_end(other):
    exports = other["exports"]
    assert exports["slow"]["rows"] == 3
    assert (exports["slow"]["window"], exports["slow"]["cut"]) == (40, 0.004)
    assert "window" not in exports["same"]
    assert exports["slow"]["max_abs_logit_difference"] < 1e-5
    assert exports["same"]["rows"] == other["splits"]["test"]["rows"] > 3


def test_a_slow_form_is_measured_on_1000_rows_at_most():
    slow, fast = (Form("any", 1, None, bundle) for bundle in (True, False))

    def asked(form, rows):
        return np.arange(rows)[form.measured(rows)]

    # Files are often sorted by label.
    np.testing.assert_array_equal(asked(slow, 1400), np.arange(0, 1400, 2))
    assert len(asked(slow, 1000)) == 1000
    assert len(asked(slow, 0)) == 0
    assert len(asked(fast, 1400)) == 1400


def test_latencies_are_those_that_the_benchmark_measured_on_the_file(other):
    latencies = {
        name: (values["latency_ms_p50"], values["latency_ms_p99"])
        for name, values in other["exports"].items()
    }
    unknown = (None, None)
    assert latencies == {"same": unknown, "turned": unknown, "slow": (0.5, 2.0)}


def test_an_exports_worst_difference_is_kept(other):
    same = other["exports"]["same"]
    assert same["max_abs_logit_difference"] == 0.25


def test_seconds_come_in_the_order_of_the_stages(other):
    assert list(other["seconds"].items()) == [("data", 2.5), ("label", 2.5)]
    assert other["resumed_stages"] == ["label"]


def test_stages_are_side_by_side_while_both_are_as_they_were():
    found = {
        "student": {"fingerprint": "new"},
        "baseline": {"beside": {"student": "old", "export": "same"}},
        "export": {"fingerprint": "same"},
    }
    assert module._beside(found) == {"baseline": ["export"]}
    found["baseline"]["beside"] = {"student": "old", "data": "gone"}
    assert module._beside(found) == {}


def test_results_do_not_tell_where_a_users_files_lie(other):
    assert other["teacher"]["name"] == "tuned"
    assert not other["teacher"]["fine_tuned_here"]


def test_a_hubs_name_stays_whole(run):
    *_, results = run
    assert results["teacher"]["name"] == "google/bert_uncased"
    assert results["teacher"]["fine_tuned_here"]


def test_a_missing_baseline_is_named(tmp_path):
    write_run(tmp_path, baseline=False)
    config = config_from_dict({"task": "custom"})
    with pytest.raises(UserError, match=r"baseline/model\.keras"):
        collect_results(tmp_path, config, {})


def cut_dev(run):
    path = run / "transfer_set" / "dev.tfrecord"
    path.write_bytes(path.read_bytes()[:-9])


def claim_test(run):
    path = run / "data" / "manifest.json"
    data = read_json(path)
    write_json(path, data | {"splits": data["splits"] | {"test": 5}})


def swap_labels(run):
    (run / "student" / "labels.txt").write_text("positive\nnegative\n")


def take_pairs(run):
    write_student(run / "student", 1, pair=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_dev, r"dev\.tfrecord is damaged"),
        (claim_test, "no records of the split test"),
        (swap_labels, "'positive', 'negative'"),
        (take_pairs, "pairs are True"),
    ],
)
def test_what_does_not_fit_the_run_is_named(tmp_path, spoil, message):
    config = write_run(tmp_path, baseline=False)
    spoil(tmp_path)
    with pytest.raises(UserError, match=message):
        collect_results(tmp_path, config, {})


def test_rows_are_read_in_order_up_to_the_limit(run):
    folder, *_ = run
    files = sorted((folder / "transfer_set").glob("train-*"))
    every = read_rows(files, False, 2)
    some = read_rows(files, False, 2, limit=TRAIN_SHARDS[0] + 3)
    assert len(every) == sum(TRAIN_SHARDS)
    assert some.columns[0] == every.columns[0][: len(some)]
    assert len(some) == TRAIN_SHARDS[0] + 3
    np.testing.assert_array_equal(some.labels[-3:], -1)


def test_records_of_another_number_of_classes_are_named(run):
    folder, *_ = run
    path = folder / "transfer_set" / "dev.tfrecord"
    with pytest.raises(UserError, match=r"dev\.tfrecord.*3 logits"):
        read_rows([path], False, 3)


@pytest.mark.parametrize(
    ("kind", "pair"), [("linear", False), ("interaction", True)]
)
def test_students_of_other_kinds_are_measured_too(tmp_path, kind, pair):
    config = write_run(tmp_path, pair=pair, kind=kind)
    results, _ = collect_results(tmp_path, config, {})
    said = said_by(tmp_path / "student", tmp_path, "dev", pair)
    expected = metrics.classification_metrics(
        said.logits, said.labels, said.teacher_logits
    )
    assert results["student"]["dev"]["accuracy"] == expected["accuracy"]
    parameters = results["student"]["parameters_without_embeddings"]
    assert (parameters == 2) == (kind == "linear")
