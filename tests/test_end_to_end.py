"""Whole runs of train.py with a BERT of two layers and a few dozen rows."""

import gzip
import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops
import tiny_runs
import yaml
from conftest import Run
from tensorboard_events import scalars
from terminal import Terminal

from keras_distill import evaluate
from keras_distill.config import STAGES, Config, config_from_dict, load_config
from keras_distill.data.examples import read_examples
from keras_distill.files import read_json
from keras_distill.run import duration, stage_seconds
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import parse, read_rows, read_shard

pytestmark = pytest.mark.whole

# What asks for one of these runs alone can wait for it in another process.
RUNS = [
    "sst2_run",
    *(
        pytest.param(name, marks=pytest.mark.xdist_group(name))
        for name in ("qqp_run", "stars_run")
    ),
]
CLASSES = {
    "sst2_run": ["negative", "positive"],
    "qqp_run": ["not_duplicate", "duplicate"],
    "stars_run": ["1", "2", "3", "4", "5"],
}
FOLDERS = [
    *("augmented", "baseline", "data", "export", "logs", "report"),
    *("student", "teacher", "transfer_set", "vocabulary"),
]
# The paper's recipe needs no vectors before there is a transfer set.
PAPER_STAGES = [name for name in STAGES if name != "vectors"]


def stages(run):
    """The stages of a run, by its recipe."""
    config = load_config(run.path / "config.yaml")
    return list(STAGES) if config["recipe"] == "best" else PAPER_STAGES


@pytest.fixture(params=RUNS)
def run(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=RUNS)
def classes(request):
    return request.getfixturevalue(request.param), CLASSES[request.param]


def results(run):
    return read_json(run.path / "results.json")


def value(tree, path):
    for key in path.split("."):
        assert key in tree, path
        tree = tree[key]
    return tree


# The run folder


def test_a_run_has_its_folders_and_nothing_half_written(run):
    found = sorted(path.name for path in run.path.iterdir())
    files = [".work", "README.md", "config.yaml", "results.json"]
    more = set(stages(run)) & {"vectors"}
    assert found == sorted([*FOLDERS, *files, *more])
    assert [p.name for p in (run.path / ".work").iterdir()] == ["lock"]
    hidden = [p for p in run.path.rglob(".*") if p.name != ".work"]
    assert hidden == []
    assert not (run.path / "student" / "checkpoint").exists()
    assert not (run.path / "augmented" / "work").exists()
    assert not (run.path / "teacher" / "work").exists()


def test_every_stage_has_a_record_and_its_seconds_are_told(run):
    seconds = results(run)["seconds"]
    assert set(stages(run)) - {"report"} <= set(seconds)
    assert all(number >= 0 for number in seconds.values())
    for stage in stages(run):
        assert f"{stage}: done in" in run.result.stderr


def test_the_configuration_repeats_the_run(run):
    config = config_from_dict(load_config(run.path / "config.yaml"))
    assert config.student.lstm_units == 16
    assert config.teacher.learning_rates == [3e-3]
    # Nothing is left out, not even what was not asked for.
    text = (run.path / "config.yaml").read_text()
    assert yaml.safe_load(text).keys() == Config().to_dict().keys()


def test_the_student_folder_is_all_a_user_needs(classes):
    run, names = classes
    student = run.path / "student"
    found = {path.name for path in student.iterdir()}
    assert found >= {
        *("model.keras", "vocab.txt", "labels.txt", "text.json"),
        *("history.csv", "training.json"),
    }
    assert (student / "labels.txt").read_text().split("\n") == [*names, ""]
    words = (student / "vocab.txt").read_text().splitlines()
    assert words[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_dev_words_are_not_in_the_vocabulary(sst2_run):
    words = (sst2_run.path / "vocabulary" / "vocab.txt").read_text().split()
    with gzip.open(sst2_run.path / "data" / "train.jsonl.gz", "rt") as rows:
        texts = " ".join(json.loads(row)["text_a"] for row in rows)
    assert set(words[5:]) == set(re.findall(r"\w+|[^\w\s]", texts))


def test_there_are_logs_for_tensorboard(run):
    names = {p.parent.name for p in (run.path / "logs").rglob("events.*")}
    students = {"student-distilled", "student-labels-alone"}
    assert {"lr-0.003", "report", *students} <= names


def documented_tags():
    """The tags of students in docs/tensorboard.md, spelled out."""
    page = (tiny_runs.ROOT / "docs" / "tensorboard.md").read_text("utf-8")
    return set(re.findall(r"`((?:train|select|speed)/\w+)`", page))


TEACHER_TAGS = {
    *("teacher/loss", "teacher/learning_rate", "teacher/accuracy"),
    *("teacher/f1", "teacher/macro_f1", "teacher/mcc"),
    "teacher/cross_entropy",
    *("teacher/examples_per_s", "teacher/seconds_per_epoch"),
}


@pytest.mark.parametrize(
    "name, loss",
    [
        ("student-distilled", "train/loss"),
        ("student-labels-alone", "train/loss"),
        ("teacher/lr-0.003", "teacher/loss"),
    ],
)
def test_the_curves_in_tensorboard_are_those_of_a_training(run, name, loss):
    curves = scalars(run.path / "logs" / name)
    teacher = name.startswith("teacher")
    assert set(curves) == (TEACHER_TAGS if teacher else documented_tags())
    for tag, curve in curves.items():
        steps, values = zip(*curve, strict=True)
        assert list(steps) == sorted(set(steps)), tag
        assert np.isfinite(values).all(), tag
        kind = tag.rpartition("/")[2]
        if kind in ("accuracy", "f1", "agreement"):
            assert 0 <= min(values) and max(values) <= 1, tag
        if kind in ("examples_per_s", "seconds_per_epoch"):
            assert min(values) > 0, tag
    losses = [value for _, value in curves[loss]]
    # Means: a point of the teacher's is the loss of four rows.
    third = len(losses) // 3
    assert np.mean(losses[-third:]) < np.mean(losses[:third])


# The transfer set


def test_the_manifest_counts_the_records(run):
    folder = run.path / "transfer_set"
    manifest = Manifest.load(folder)
    manifest.verify(folder)
    rows = sum(
        len(list(read_shard(p))) for p in manifest.files(folder, "train")
    )
    assert rows == sum(manifest.counts.values())
    assert results(run)["transfer_set"]["rows"] == manifest.counts
    assert manifest.counts["original"] > 0
    assert manifest.counts["augmented"] > manifest.counts["original"]


def test_only_original_rows_have_a_gold_label(classes):
    run, names = classes
    folder = run.path / "transfer_set"
    manifest = Manifest.load(folder)
    records = [
        record
        for path in manifest.files(folder, "train")
        for record in read_shard(path)
    ]
    rows = parse(tf.constant(records), manifest.pair)
    labels, source = rows["label"].numpy(), rows["source"].numpy()
    assert ((labels >= 0) == (source == 0)).all()
    assert labels.max() == len(names) - 1
    assert rows["teacher_logits"].shape == (len(records), len(names))
    assert np.isfinite(rows["teacher_logits"].numpy()).all()


@pytest.mark.xdist_group("stars_run")
def test_unlabelled_text_joins_the_transfer_set(stars_run):
    reported, more = (
        [
            row.text_a.casefold()
            for row in read_examples(
                stars_run.path / "data" / f"{name}.jsonl.gz"
            )
        ]
        for name in ("dev", "unlabeled")
    )
    kept = [text for text in more if text not in reported]
    assert len(more) == 30 and 10 < len(kept) < 30
    rows = results(stars_run)["transfer_set"]["rows"]
    assert rows["unlabelled"] == len(kept)


# What is reported


# DESIGN.md's keys; those of later work are there and null.
NUMBERS = [
    *("seed", "student.parameters", "student.parameters_without_embeddings"),
    *("student.vocabulary_size", "transfer_set.rows.original"),
    *("transfer_set.rows.augmented", "transfer_set.rows.unlabelled"),
    *("transfer_set.padding_ratio", "gain.points", "gain.ci_low"),
    *("gain.ci_high", "exports.saved_model.bytes"),
    *("exports.saved_model.max_abs_logit_difference",),
    *("exports.saved_model.accuracy", "student.dev.agreement"),
    *("student.dev.kl", "student.dev.logit_mse", "teacher.parameters"),
    *(
        f"{model}.dev.{metric}"
        for model in ("teacher", "student", "baseline")
        for metric in ("accuracy", "f1", "mcc")
    ),
]
MAY_BE_NULL = [
    *("embeddings.token_coverage", "exports.saved_model.latency_ms_p50"),
    *("exports.saved_model.latency_ms_p99", "calibration.temperature"),
    *("calibration.ece_before", "calibration.ece_after"),
    *("tuning.trials", "tuning.best"),
]


def test_the_numbers_that_tools_rely_on_are_there(run):
    report = results(run)
    for path in NUMBERS:
        number = value(report, path)
        assert isinstance(number, (int, float)) and math.isfinite(number), path
    for path in MAY_BE_NULL:
        number = value(report, path)
        assert number is None or math.isfinite(number), path


def test_the_gain_is_the_difference_within_its_interval(run):
    report = results(run)
    gain, split = report["gain"], report["gain"]["split"]
    difference = 100 * (
        mean_accuracy(report["student"][split])
        - mean_accuracy(report["baseline"][split])
    )
    assert gain["points"] == pytest.approx(difference)
    assert -100 <= gain["ci_low"] <= gain["points"] <= gain["ci_high"] <= 100


def mean_accuracy(scores):
    return scores.get("accuracy_mean", scores["accuracy"])


def test_the_teacher_has_learnt_and_the_student_from_it(classes):
    run, names = classes
    report = results(run)
    chance = 1 / len(names)
    assert report["teacher"]["dev"]["accuracy"] > chance + 0.2
    assert report["student"]["dev"]["agreement"] > chance


def test_two_seeds_are_averaged(sst2_run):
    student = results(sst2_run)["student"]
    assert student["seeds"] == [42, 43]
    by_seed = student["dev"]["accuracy_by_seed"]
    assert student["dev"]["accuracy"] == by_seed[0]
    assert student["dev"]["accuracy_mean"] == pytest.approx(np.mean(by_seed))
    assert student["dev"]["accuracy_std"] == pytest.approx(
        np.std(by_seed, ddof=1)
    )


def test_more_seeds_leave_the_students_alone_that_are_there(sst2_run, tmp_path):
    finished = sorted(
        path.parent for path in sst2_run.path.glob("*/stage.json")
    )
    path = sst2_run.copy(tmp_path / "run", *(f.name for f in finished))
    more = ("--extra-seeds", "2")
    result = tiny_runs.run_here(*sst2_run.again(*more, path=path))
    assert result.returncode == 0, result.stderr
    assert results(Run(path, (), result))["student"]["seeds"] == [42, 43, 44]
    for model in ("student/model.keras", "baseline/seed-43/model.keras"):
        assert (path / model).read_bytes() == (
            sst2_run.path / model
        ).read_bytes()


def test_the_undistilled_student_gets_as_many_updates(run):
    report = results(run)
    assert report["baseline"]["updates"] == report["student"]["updates"]
    assert report["baseline"]["evaluations"] == report["student"]["evaluations"]
    parameters = report["student"]["parameters"]
    assert report["baseline"]["parameters"] == parameters


def test_word_vectors_are_used_and_their_coverage_reported(sst2_run, qqp_run):
    vectors = np.load(sst2_run.path / "vocabulary" / "vectors.npy")
    words = (sst2_run.path / "vocabulary" / "vocab.txt").read_text().split()
    assert vectors.shape == (len(words), 8)
    coverage = results(sst2_run)["embeddings"]["token_coverage"]
    assert 0.5 < coverage <= 1
    # The teacher has a vector for every word that it is asked for.
    assert results(qqp_run)["embeddings"]["token_coverage"] == 1
    assert results(qqp_run)["embeddings"]["source"] == "teacher"


def test_the_table_and_the_next_steps_are_printed(run):
    output = run.result.stdout
    for row in ("teacher", "student, labels alone", "student, distilled"):
        assert f"\n{row} " in output
    assert ("pairs/s" if results(run)["pair"] else "sentences/s") in output
    assert "Distillation changes accuracy on dev by" in output
    assert f"python -m keras_distill.predict {run.path}" in output
    assert "Traceback" not in run.result.stderr
    # Files are named as they are called now.
    assert f"{run.path}/export/student.tflite: " in run.result.stderr
    assert ".work" not in run.result.stderr


def test_the_time_printed_is_that_of_all_stages(run):
    taken = stage_seconds(run.path)
    seconds = {stage: taken[stage] for stage in stages(run)}
    words = " ".join(run.result.stdout.split())
    for stage, number in seconds.items():
        assert f"{stage} {duration(number)}" in words
    assert f"together {duration(sum(seconds.values()))}." in words


def test_the_papers_rows_stand_beside_a_glue_tasks(sst2_run, stars_run):
    assert "BiLSTM_SOFT" in sst2_run.result.stdout
    assert "BiLSTM_SOFT" not in stars_run.result.stdout


def test_the_model_card_has_the_numbers_of_the_report(run):
    card = (run.path / "README.md").read_text()
    report = results(run)
    assert card.startswith(f"# {report['task']}")
    assert f"{100 * report['teacher']['dev']['accuracy']:.1f}" in card
    assert f"{report['student']['parameters']:,}" in card
    assert "keras_distill.predict" in card
    assert "Limits" in card


# A second call


@pytest.fixture(scope="module")
def second_call(sst2_run):
    before = times(sst2_run.path)
    result = tiny_runs.run_here(*sst2_run.again())
    return result, before, times(sst2_run.path)


def times(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "config.yaml")
    }


def test_a_second_call_skips_every_stage(second_call):
    result, before, after = second_call
    assert result.returncode == 0
    for stage in PAPER_STAGES:
        assert f"{stage}: done before, skipped" in result.stderr
    assert "started" not in result.stderr
    assert after == before


def test_a_second_call_prints_the_table_again(second_call, sst2_run):
    result, _, _ = second_call
    assert result.stdout == sst2_run.result.stdout


# What comes out


def test_predict_answers_on_the_command_line(sst2_run):
    result = tiny_runs.run(
        *("-m", "keras_distill.predict", sst2_run.path),
        stdin="the film was great\n\nthe soup was awful\n",
    )
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [a["text"] for a in answers] == [
        *("the film was great", "", "the soup was awful")
    ]
    for answer in answers:
        assert list(answer["probabilities"]) == CLASSES["sst2_run"]
        total = sum(answer["probabilities"].values())
        assert total == pytest.approx(1, abs=1e-4)
        best = max(answer["probabilities"], key=answer["probabilities"].get)
        assert answer["label"] == best


@pytest.mark.parametrize(
    "name, file",
    [
        ("sst2_run", "glue-sst2/SST-2/dev.tsv"),
        pytest.param(
            *("qqp_run", "glue-qqp/QQP/dev.tsv"),
            marks=pytest.mark.xdist_group("qqp_run"),
        ),
    ],
)
def test_evaluate_finds_the_reported_accuracy_in_every_form(
    request, tmp_path, name, file
):
    run = request.getfixturevalue(name)
    path = tmp_path / "numbers.json"
    data = run.path.parent / file
    command = [run.path, "--data", data, "--json", path]
    assert evaluate.main([str(word) for word in command]) == 0
    forms = read_json(path)["forms"]
    lite = {"student.tflite", "student_text.tflite"}
    smaller = {"student_fp16.tflite", "student_int8.tflite"}
    assert {"keras", "saved_model"} | lite | smaller <= set(forms)
    expected = results(run)["student"]["dev"]["accuracy"]
    for form in {"keras", "saved_model"} | lite:
        assert forms[form]["accuracy"] == pytest.approx(expected)
        assert forms[form]["max_abs_logit_difference"] < 1e-4
    for form in smaller:
        assert forms[form]["accuracy"] == pytest.approx(expected, abs=0.05)
        assert 0 < forms[form]["max_abs_logit_difference"] < 0.5


def test_the_saved_model_takes_raw_text(classes):
    run, names = classes
    model = tf.saved_model.load(str(run.path / "export" / "saved_model"))
    texts = {"text": tf.constant(["the film was great", ""])}
    if results(run)["pair"]:
        texts["text_b"] = tf.constant(["this film was lovely", "so"])
    output = model.signatures["serving_default"](**texts)
    assert set(output) == {"logits", "probabilities", "label"}
    assert output["logits"].shape == (2, len(names))
    chosen = [names[i] for i in output["logits"].numpy().argmax(1)]
    assert [label.decode() for label in output["label"].numpy()] == chosen


# A teacher that is fine-tuned already


def test_a_teacher_with_other_classes_is_refused_with_both_lists(
    sst2_run, stars_run, tmp_path
):
    command = stars_run.again(
        *("--teacher-checkpoint", sst2_run.path / "teacher"),
        *("--stages", "data,teacher"),
        path=tmp_path / "run",
    )
    result = tiny_runs.run_here(*command)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert "the 2 classes ['negative', 'positive']" in line
    assert "the 5 classes ['1', '2', '3', '4', '5']" in line
    assert not (tmp_path / "run" / "teacher").exists()


# The best recipe


def test_pairs_are_mined_and_words_have_vectors(qqp_run):
    rows = results(qqp_run)["transfer_set"]["rows"]
    assert rows["mined"] > 20 and rows["neighbour"] > 20
    assert "joined" not in rows
    config = load_config(qqp_run.path / "config.yaml")
    assert config["student"]["embeddings"] == "teacher"


def test_sentences_are_joined_and_their_words_swapped(stars_run):
    rows = results(stars_run)["transfer_set"]["rows"]
    assert rows["joined"] > 20 and rows["neighbour"] > 20
    assert "mined" not in rows


@pytest.mark.parametrize("name", ["qqp_run", "stars_run"])
def test_what_is_unknown_and_each_source_is_reported(request, name):
    found = results(request.getfixturevalue(name))
    for split, facts in found["unknown"].items():
        # The tiny teacher has no piece for the figures in the questions.
        assert facts["unk_tokens"] < (0.1 if name == "qqp_run" else 1e-9)
        assert 0 <= facts["unseen_words"] < 0.3
        rows = facts["with"]["rows"] + facts["without"]["rows"]
        assert rows == found["splits"][split]["rows"]
    assert found["sources"].keys() == {
        source for source, rows in found["transfer_set"]["rows"].items() if rows
    }
    for facts in found["sources"].values():
        assert 0 <= facts["agreement"] <= 1


def test_no_row_of_a_reported_split_is_in_the_transfer_set(qqp_run, stars_run):
    for run, split in ((qqp_run, "dev"), (stars_run, "dev")):
        reported = {
            (row.text_a.casefold(), (row.text_b or "").casefold())
            for row in read_examples(run.path / "data" / f"{split}.jsonl.gz")
        }
        manifest = Manifest.load(run.path / "transfer_set")
        rows = read_rows(
            manifest.files(run.path / "transfer_set", "train"),
            manifest.pair,
            len(manifest.labels),
        )
        second = rows.columns[1] if manifest.pair else [""] * len(rows)
        for texts in zip(rows.columns[0], second, strict=True):
            assert tuple(map(str.casefold, texts)) not in reported


@pytest.mark.xdist_group("stars_run")
def test_a_terminal_shows_a_few_lines_of_a_run_and_its_children(
    stars_run, tmp_path
):
    made = STAGES[: STAGES.index("student") + 1]
    command = stars_run.again(
        *("--stages", ",".join(made)),
        *("--set", "student.evaluations_per_epoch=10"),
        path=tmp_path / "run",
    )
    terminal = Terminal(200)
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=tiny_runs.ROOT,
        env=tiny_runs.environment(TERM="xterm", TF_CPP_MIN_LOG_LEVEL="3"),
        stderr=terminal.stream,
    )
    terminal.close()
    assert result.returncode == 0, terminal.written
    *lines, end = terminal.lines
    # What was understood of the data is told once, between two stages.
    (told,) = (
        n for n, line in enumerate(lines) if line.startswith("What was read:")
    )
    begun = next(
        n for n, line in enumerate(lines) if line.endswith("teacher: started")
    )
    assert lines[told - 1] == lines[begun - 1] == ""
    assert lines[told - 2].partition(": done in ")[0].endswith("data")
    del lines[told - 1 : begun]
    log = [line[9:] for line in lines if re.match(r"(\d\d:){2}\d\d ", line)]
    assert [line for line in log if line.endswith(": started")] == [
        f"{stage}: started" for stage in made
    ]
    assert sum(": done in " in line for line in log) == len(made)
    assert len(log) <= 40
    # Of each bar that took a second there is one line, and no look has its
    # own; those of the teacher come from its process.
    bars = [line for line in lines if line[9:] not in log]
    for line in bars:
        assert re.match(r"[^:]+: [\d,]+ \w+ in \d\d:\d\d, ", line)
    assert len({line.partition(":")[0] for line in bars}) == len(bars)
    (teacher,) = (line for line in bars if line.startswith("teacher lr 0.003"))
    assert re.search(r", best [01]\.\d{4}, ", teacher)
    history = tmp_path / "run" / "student" / "history.csv"
    assert len(history.read_text().splitlines()) > len(lines)
    assert end == ""
