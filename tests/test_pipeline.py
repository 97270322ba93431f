"""What each stage depends on, and what a run does with its stages."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from tiny_runs import ROOT

from keras_distill import pipeline
from keras_distill.augmentation import generate, mining
from keras_distill.config import STAGES, config_from_dict
from keras_distill.data.examples import Example, write_examples
from keras_distill.files import (
    fingerprint,
    read_json,
    write_array,
    write_json,
    write_text,
)
from keras_distill.pipeline import Pipeline
from keras_distill.student import training
from keras_distill.transfer_set.manifest import Manifest, ShardInfo

# The stages of a run that needs no vectors before augmentation.
PAPER = [name for name in STAGES if name != "vectors"]
AFTER_LABEL = ["label", "vocabulary", "student", "baseline", "export", "report"]

WITHOUT_BASELINE = ["student", "export", "report"]


@pytest.mark.parametrize(
    "section, key, value, made_anew",
    [
        (None, "seed", 7, PAPER),
        ("data", "heldout_fraction", 0.2, PAPER),
        ("teacher", "epochs", 5, ["teacher", *AFTER_LABEL]),
        ("teacher", "tokens_per_batch", 64, []),
        ("augmentation", "n_iter", 2, ["augment", *AFTER_LABEL]),
        ("augmentation", "workers", 1, []),
        ("transfer_set", "rows_per_shard", 10, AFTER_LABEL),
        ("teacher", "cased", True, AFTER_LABEL[1:]),
        ("student", "vocabulary_size", 100, AFTER_LABEL[1:]),
        ("student", "embedding_mode", "random", AFTER_LABEL[1:]),
        ("student", "lstm_units", 7, AFTER_LABEL[2:]),
        ("student", "epochs", 2, AFTER_LABEL[2:]),
        ("student", "alpha", 0.5, WITHOUT_BASELINE),
        ("student", "loss", "kl", WITHOUT_BASELINE),
        ("student", "temperature", 2.0, WITHOUT_BASELINE),
        ("student", "patience", 9, WITHOUT_BASELINE),
        ("baseline", "patience", None, ["baseline", "report"]),
        ("student", "extra_seeds", 1, []),
        ("baseline", "enabled", False, ["report"]),
        ("classes", "select_metric", "macro_f1", ["teacher", *AFTER_LABEL]),
        ("classes", "select_metric", "accuracy", []),
        ("classes", "weights", ["balanced"], ["teacher", *AFTER_LABEL]),
        ("classes", "balance", True, AFTER_LABEL[2:]),
    ],
)
def test_a_setting_touches_the_stages_that_depend_on_it(
    tmp_path, section, key, value, made_anew
):
    change = {key: value} if section is None else {section: {key: value}}
    first, second = (
        Pipeline(config_from_dict(values), tmp_path / "run")
        for values in ({}, change)
    )
    differ = [
        name
        for name in PAPER
        if first.fingerprint(name) != second.fingerprint(name)
    ]
    assert differ == made_anew


@pytest.mark.parametrize(
    "alpha, reached", [(0.0, {"baseline"}), (0.1, {"baseline", "student"})]
)
def test_weights_of_classes_reach_whoever_learns_from_gold_labels(
    tmp_path, alpha, reached
):
    # This teacher has learnt all it will; without alpha the student reads
    # no gold label.
    values = {
        "teacher": {"checkpoints": ["some/teacher"]},
        "student": {"alpha": alpha},
    }
    classes = {"weights": ["positive=2"], "select_metric": None}
    run = Pipeline(
        config_from_dict({**values, "classes": classes}), tmp_path / "run"
    )
    found = {n for n, s in run.settings.items() if "class_weights" in s}
    assert found == reached
    # A run from before there was the section goes on as it is.
    plain = Pipeline(config_from_dict(values), tmp_path / "run")
    for name in ("teacher", "student", "baseline"):
        unknown = {"class_weights", "balance", "select_metric"}
        assert not unknown & plain.settings[name].keys()


def test_only_a_class_that_is_dropped_makes_the_data_anew(tmp_path):
    train = str(tmp_path / "train.csv")
    write_text(tmp_path / "train.csv", "text,label\n")
    kept, dropped = (
        Pipeline(
            config_from_dict(
                {
                    "task": "custom",
                    "data": {"train_file": train, "drop_labels": names},
                }
            ),
            tmp_path / "run",
        )
        for names in (None, ["a"])
    )
    # A run from before there was the knob goes on as it is.
    assert "drop_labels" not in kept.settings["data"]
    assert dropped.fingerprint("data") != kept.fingerprint("data")


BEST = {
    "student": {"embeddings": "teacher", "open_vocabulary": True},
    "augmentation": {"neighbours": 2},
}


@pytest.mark.parametrize(
    "values, needs",
    [
        ({}, {"augment": ("data",), "vocabulary": ("label",)}),
        (BEST, {"augment": ("data", "vectors"), "vectors": ("teacher",)}),
        (
            {"student": {"embeddings": "teacher"}},
            {"augment": ("data",), "vocabulary": ("label", "vectors")},
        ),
        ({"augmentation": {"mined": 3}}, {"augment": ("data",)}),
        (
            {"task": "qqp", "augmentation": {"mined": 3}},
            {"augment": ("data", "vectors")},
        ),
    ],
)
def test_vectors_are_a_stage_where_something_reads_them(
    tmp_path, values, needs
):
    stages = Pipeline(config_from_dict(values), tmp_path / "run").stages
    assert {name: stages[name].needs for name in needs} == needs
    read = any("vectors" in stage.needs for stage in stages.values())
    assert ("vectors" in stages) == read


@pytest.mark.parametrize(
    "change",
    [
        {"vocabulary_size": 100},
        {"embedding_mode": "static"},
        {"word_pieces": True},
        {"min_count": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_the_student_s_table_holds_needs_no_other_transfer_set(
    tmp_path, made, change
):
    """As when a search's winner is adopted."""
    run = tmp_path / "run"
    Pipeline(config_from_dict(BEST), run).run()
    assert made == list(STAGES)
    made.clear()
    changed = BEST | {"student": BEST["student"] | change}
    later = AFTER_LABEL[1:]
    Pipeline(config_from_dict(changed), run).run(later, redo=True)
    assert made == later


@pytest.mark.parametrize(
    "embeddings, asked",
    [
        ("none", {"--words", "--sentences"}),
        ("teacher", {"--words", "--sentences"}),
        ("FILE,teacher", {"--words", "--sentences"}),
        ("FILE", {"--sentences"}),
    ],
)
def test_the_teacher_is_asked_for_no_words_that_nobody_reads(
    tmp_path, monkeypatch, embeddings, asked
):
    file = tmp_path / "vectors.txt"
    file.write_text("good 1 2 3\nfilm 3 2 1\n")
    config = config_from_dict(
        {
            "task": "qqp",
            "augmentation": {"mined": 3},
            "student": {
                "embeddings": embeddings.replace("FILE", str(file)),
                "embedding_dim": 3,
            },
        }
    )
    run = Pipeline(config, tmp_path / "run")
    write_json(run.path / "teacher" / "teacher.json", {"lower_case": True})
    splits = {"train": 2, "dev": 1}
    write_json(run.path / "data" / "manifest.json", {"splits": splits})
    rows = [Example("good film", "film", id="0"), Example("leak", "leak")]
    for name, examples in (
        ("train", rows),
        ("dev", rows[1:]),
        ("unlabeled", []),
    ):
        write_examples(run.path / "data" / f"{name}.jsonl.gz", examples)
    place = run.path / "vectors"
    place.mkdir()
    commands = []

    def child(module, arguments):
        commands.append({word for word in arguments if word in flags})
        words = (place / "words.txt").read_text().split()
        if "--words" in arguments:
            states = np.eye(len(words), 4, dtype=np.float32)
            write_array(place / "states.npy", states)

    flags = {"--words", "--sentences"}
    monkeypatch.setattr(pipeline, "run_child", child)
    run.stages["vectors"].work(run, place)
    assert commands == [asked]
    words = (place / "words.txt").read_text().split()
    # Nothing is taken from a row that is reported on.
    assert {"good", "film"} <= set(words) and "leak" not in words
    filled = embeddings == "FILE,teacher"
    assert (place / "trainable.npy").exists() == filled
    assert np.load(place / "vectors.npy").shape == (len(words), 3)
    assert not (place / "states.npy").exists()


def test_a_teacher_folder_is_told_by_its_content_not_its_place(tmp_path):
    def fingerprint(folder):
        config = config_from_dict({"teacher": {"checkpoints": [str(folder)]}})
        return Pipeline(config, tmp_path / "run").fingerprint("teacher")

    folder = tmp_path / "here" / "bert"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(name)
    first = fingerprint(folder)
    (folder / "notes.md").write_text("mine")
    moved = tmp_path / "bert"
    folder.rename(moved)
    assert fingerprint(moved) == first
    (moved / "model.safetensors").write_text("fine-tuned once more")
    assert fingerprint(moved) != first


def test_more_teachers_are_another_teacher_and_none_is_as_before(tmp_path):
    def settings(**teacher):
        run = Pipeline(config_from_dict({"teacher": teacher}), tmp_path)
        return run.settings["teacher"]

    alone = settings(names=["a"])
    assert alone["name"] == "a" and alone["checkpoint"] is None
    # What runs had before there could be several.
    assert not {"names", "ensemble", "classes"} & set(alone)
    assert settings(names=["a"], ensemble=1) == alone
    rates = {"learning_rates": [1e-5, 2e-5]}
    told = {"checkpoints": ["c"], "classes": ["A=a", "B=b"]}
    others = [
        *(settings(names=["a", "b"]), settings(names=["b", "a"])),
        settings(names=["a"], ensemble=2, **rates),
        settings(names=["a", "b"], ensemble=1),
        *(settings(**told), settings(**told | {"classes": None})),
    ]
    prints = {fingerprint(one) for one in (alone, *others)}
    assert len(prints) == 7


@pytest.fixture
def made(monkeypatch):
    """Stages that make nothing; return the names of those that were made."""
    names = []

    def note(stage):
        return dataclasses.replace(
            stage,
            work=lambda run, place: names.append(stage.name),
            intact=lambda run, place: True,
        )

    monkeypatch.setattr(pipeline, "_STAGES", tuple(map(note, pipeline._STAGES)))
    monkeypatch.setattr(pipeline, "check_tagger", lambda config: None)
    return names


@pytest.mark.parametrize(
    "change, expected",
    [
        ({}, []),
        ({"alpha": 0.5}, WITHOUT_BASELINE),
        ({"loss": "kl", "temperature": 2}, WITHOUT_BASELINE),
        ({"lstm_units": 7}, ["student", "baseline", "export", "report"]),
    ],
)
def test_the_baseline_is_made_anew_when_what_it_is_made_of_changes(
    tmp_path, made, change, expected
):
    run = tmp_path / "run"
    Pipeline(config_from_dict({}), run).run()
    assert made == PAPER
    made.clear()
    Pipeline(config_from_dict({"student": change}), run).run(redo=True)
    assert made == expected
    assert read_json(run / "baseline" / "stage.json")["settings"].keys() == {
        *("lstm_units", "hidden_units", "dropout", "max_length", "optimizer"),
        *("learning_rate", "batch_size", "epochs", "evaluations_per_epoch"),
        *("piece_rate", "unknown_rate", "averaging", "patience"),
    }


def test_a_kind_counts_only_where_it_was_chosen(tmp_path, made):
    run = tmp_path / "run"
    Pipeline(config_from_dict({"student": {"filters": 7}}), run).run()
    made.clear()
    Pipeline(config_from_dict({"student": {"kind": "cnn"}}), run).run(redo=True)
    assert made == ["student", "baseline", "export", "report"]
    found = read_json(run / "student" / "stage.json")["settings"]
    assert (found["kind"], found["filters"]) == ("cnn", 100)


def test_without_a_baseline_none_is_made_and_the_report_needs_none(
    tmp_path, made
):
    config = config_from_dict({"baseline": False})
    Pipeline(config, tmp_path / "run").run()
    assert made == [name for name in PAPER if name != "baseline"]


def test_the_baseline_may_update_and_look_as_often_as_the_student(
    tmp_path, monkeypatch
):
    shards = [ShardInfo(f"train-{i}.tfrecord", 50, "") for i in range(2)]
    shards.append(ShardInfo("select.tfrecord", 1000, ""))
    Manifest("abc", ["no", "yes"], False, {}, shards).save(
        tmp_path / "transfer_set"
    )
    calls = {}
    monkeypatch.setattr(
        training.Lessons, "of_run", lambda *given, **named: calls.update(named)
    )
    monkeypatch.setattr(
        training,
        "_train_seeds",
        lambda config, *given, **named: calls.update(named, config=config),
    )
    config = config_from_dict(
        {
            "teacher": {"cased": True},
            "student": {
                **{"batch_size": 30, "epochs": 3, "patience": 2},
                "evaluations_per_epoch": 3,
            },
            "baseline": {"patience": 7},
        }
    )
    pipeline._baseline(Pipeline(config, tmp_path), tmp_path / "baseline")
    # 100 rows are 4 batches; 3 looks an epoch are one every 2 updates.
    assert calls["max_updates"] == 12
    assert calls["updates_per_look"] == 2
    assert calls["labelled_only"]
    assert calls["config"].student.patience == 7
    assert calls["config"].student.batch_size == 30


def test_a_report_of_other_files_or_seeds_is_made_anew(tmp_path):
    def fits(extra_seeds=0):
        student = {"extra_seeds": extra_seeds}
        run = Pipeline(config_from_dict({"student": student}), tmp_path)
        return pipeline._report_fits(run, tmp_path / "report")

    file = tmp_path / "export" / "student_int8.tflite"
    write_text(file, "a file")
    write_json(
        tmp_path / "results.json",
        {"student": {"seeds": [42]}, "exports": {file.name: {"bytes": 6}}},
    )
    assert not fits()
    write_text(tmp_path / "README.md", "the model card")
    assert fits() and not fits(extra_seeds=1)
    # An export of a size that the report was not asked for.
    write_text(tmp_path / "export" / "student_2mb.tflite", "another")
    assert fits()
    write_text(file, "another file")
    assert not fits()


# A finished run that is started again looks at its records, no more.
SKIP = """
import sys
from pathlib import Path
from keras_distill.config import Config
from keras_distill.files import write_json
from keras_distill.pipeline import Pipeline
from keras_distill.transfer_set.manifest import Manifest

place = Path(sys.argv[1])
pipeline = Pipeline(Config(), place)
for stage in pipeline.stages.values():
    (place / stage.folder).mkdir(parents=True)
    write_json(
        place / stage.folder / "stage.json",
        {
            "stage": stage.name,
            "fingerprint": pipeline.fingerprint(stage.name),
            "settings": pipeline.settings[stage.name],
            "seconds": 1.0,
        },
    )
Manifest("abc", ["no", "yes"], False, {}, []).save(place / "transfer_set")
for name in ("student", "baseline"):
    write_json(place / name / "training.json", {})
write_json(place / "results.json", {"student": {"seeds": [42]}})
(place / "README.md").write_text("")
pipeline.run()
# What the command prints at the end.
from keras_distill.report.table import results_table
assert "keras_distill.transfer_set.manifest" in sys.modules
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


def test_a_finished_run_is_skipped_without_importing_tensorflow(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SKIP, str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def augmented(tmp_path, monkeypatch, pair, **knobs):
    """What the augment stage calls for its work."""
    calls = []
    for module, name in ((generate, "augment_file"), (mining, "mine_file")):
        monkeypatch.setattr(
            module,
            name,
            lambda *args, name=name, **values: calls.append(
                (name, *args[:2], values)
            ),
        )
    facts = {"pair": pair, "unlabeled": 1}
    write_json(tmp_path / "data" / "manifest.json", facts)
    config = config_from_dict(
        {"augmentation": {"unlabeled": True, **knobs}, "teacher": {}}
    )
    pipeline._augment(Pipeline(config, tmp_path), tmp_path / "place")
    return calls


def test_the_paper_s_operators_need_neither_vectors_nor_teacher(
    tmp_path, monkeypatch
):
    data, place = tmp_path / "data", tmp_path / "place"
    assert augmented(tmp_path, monkeypatch, False, joined=2, mined=3) == [
        ("augment_file", data / "train.jsonl.gz", place, {}),
        (
            "augment_file",
            data / "unlabeled.jsonl.gz",
            place / "unlabeled",
            {},
        ),
    ]


def test_neighbours_and_mining_are_given_the_vectors(tmp_path, monkeypatch):
    write_json(tmp_path / "teacher" / "teacher.json", {"lower_case": True})
    calls = augmented(tmp_path, monkeypatch, True, neighbours=1, mined=1)
    words = {"vectors": tmp_path / "vectors", "lower_case": True}
    assert [call[-1] for call in calls] == [words, words, {}]
    assert calls[2][:3] == (
        "mine_file",
        tmp_path / "data",
        tmp_path / "place" / "mined",
    )
