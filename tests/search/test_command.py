"""tune.py as people call it: what it leaves, going on, bad input."""

import csv
import errno
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import search_runs
import tiny_runs
from search_runs import (
    found_by,
    make_run,
    trials,
    tune_here,
    without_times,
    write_space,
)

from keras_distill.config import config_from_dict, fitting_kinds, load_config
from keras_distill.files import read_json, write_json
from keras_distill.search import command, trial

SHAPES = "{student.lstm_units: [2, 3], student.hidden_units: [4]}"
ALONE = ("--search-only", "--workers", "1")


def make_cheap(patch):
    patch.setattr(trial.TrialWork, "_train", search_runs.train)
    patch.setattr(trial, "measure_cost", search_runs.cost)


@pytest.fixture
def cheap(monkeypatch):
    """Trials that train nothing."""
    make_cheap(monkeypatch)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search over two shapes, two seeds each."""
    folder = tmp_path_factory.mktemp("found")
    run = make_run(folder / "run")
    space = write_space(folder, SHAPES)
    with pytest.MonkeyPatch.context() as patch:
        make_cheap(patch)
        result = found_by(
            *("--run", run, "--space", space, "--executions", "2", *ALONE)
        )
    return run, result


class TestWhatASearchLeaves:
    def test_every_point_of_the_space_is_a_trial(self, found):
        shapes = [
            tuple(one["hyperparameters"].values()) for one in trials(found[0])
        ]
        assert shapes == [(2, 4), (3, 4)]

    def test_a_trial_has_metrics_cost_seconds_and_seeds(self, found):
        for one in trials(found[0]):
            metrics = one["metrics"]
            assert one["status"] == "completed"
            assert one["seeds"] == [7, 8]
            assert one["seconds"] > 0
            for name in ("accuracy", "f1", "agreement"):
                assert 0 <= metrics[name] <= 1
            assert metrics["cross_entropy"] > 0
            assert metrics["latency_ms"] > 0
            assert metrics["int8_bytes"] > 1000
            mean = sum(one["by_seed"]["accuracy"]) / 2
            assert metrics["accuracy"] == pytest.approx(mean)

    def test_larger_students_have_more_parameters(self, found):
        sizes = [one["metrics"]["parameters"] for one in trials(found[0])]
        assert sizes == sorted(sizes) and len(set(sizes)) == 2

    def test_only_the_best_student_stays(self, found):
        run, _ = found
        (kept,) = (run / "tuning" / "students").iterdir()
        best = max(
            trials(run),
            key=lambda one: (
                one["metrics"]["accuracy"],
                -one["metrics"]["cross_entropy"],
            ),
        )
        assert kept.name == best["id"]
        assert (kept / "model.keras").is_file()
        assert (kept / "seed-8" / "model.keras").is_file()
        assert len(list((run / "tuning").rglob("model.keras"))) == 2
        assert not list((run / "tuning").rglob("checkpoint"))

    def test_the_table_is_there_for_spreadsheets(self, found):
        with open(found[0] / "tuning" / "results.csv") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["student.lstm_units"] for row in rows] == list("23")
        assert sum(int(row["chosen"]) for row in rows) == 1
        assert any(int(row["front_size"]) for row in rows)

    def test_the_page_shows_table_picture_and_command(self, found):
        page = (found[0] / "tuning" / "README.md").read_text()
        assert len(re.findall(r"^\| 000\d\*? \|", page, re.M)) == 2
        assert "![quality against size and latency](pareto.png)" in page
        assert "`python tune.py --run" in page
        assert "Smallest within 0.5 points" in page
        picture = (found[0] / "tuning" / "pareto.png").read_bytes()
        assert picture.startswith(b"\x89PNG")

    def test_the_terminal_shows_the_table_and_the_progress(self, found):
        _, result = found
        assert "0001" in result.stdout and "Chosen: trial" in result.stdout
        assert "1 of 2 done, about" in result.stderr
        assert "2 of 2 done" in result.stderr

    def test_there_are_scalars_of_every_student(self, found):
        for name in ("0000", "0001"):
            logs = found[0] / "logs" / "tuning" / name
            folders = {path.parent.name for path in logs.rglob("events.*")}
            assert any(folder.endswith("seed-8") for folder in folders)
            assert any(not folder.endswith("seed-8") for folder in folders)

    def test_the_run_s_own_student_is_left_alone(self, found):
        run, _ = found
        assert not (run / "tuning" / "best.json").exists()
        assert "lstm_units: 3" in (run / "config.yaml").read_text()

    def test_the_same_command_again_trains_nothing_and_writes_the_report_anew(
        self, found, monkeypatch
    ):
        run, _ = found
        before = (run / "tuning" / "trials.json").read_bytes()
        monkeypatch.setattr(trial.TrialWork, "_train", None)
        made = [
            run / "tuning" / name
            for name in ("README.md", "results.csv", "pareto.png")
        ]
        for path in made:
            path.unlink()
        space = run.parent / "space.yaml"
        found_by(*("--run", run, "--space", space, "--executions", "2", *ALONE))
        assert (run / "tuning" / "trials.json").read_bytes() == before
        assert all(path.is_file() for path in made)


def test_the_default_is_the_paper_s_grid(tmp_path, cheap):
    run = make_run(tmp_path / "run")
    found_by("--run", run, *ALONE)
    assert [one["hyperparameters"] for one in trials(run)] == [
        {"student.lstm_units": lstm, "student.hidden_units": hidden}
        for lstm in (150, 300)
        for hidden in (200, 400)
    ]


def test_a_search_is_repeatable_by_its_seed(tmp_path, cheap):
    found = []
    for name in "ab":
        run = make_run(tmp_path / name)
        space = write_space(tmp_path, "student.alpha: {min: 0.0, max: 1.0}")
        found_by(
            *("--run", run, "--space", space, "--tuner", "random"),
            *("--max-trials", "2", *ALONE),
        )
        found.append(without_times(trials(run)))
    assert len(found[0]) == 2
    assert found[0] == found[1]


def test_a_failed_trial_is_reported_and_skipped(tmp_path, monkeypatch, cheap):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2, 3, 4, 5, 6]")

    def broken(work, config, *arguments):
        if config.student.lstm_units in (2, 3, 4, 5):
            raise RuntimeError("out of\nmemory")
        search_runs.train(work, config, *arguments)

    monkeypatch.setattr(trial.TrialWork, "_train", broken)
    result = found_by("--run", run, "--space", space, *ALONE)
    states = [one["status"] for one in trials(run)]
    assert states == ["failed"] * 4 + ["completed"]
    assert trials(run)[0]["error"] == "out of memory"
    assert "failed: out of memory" in result.stderr
    assert "Traceback" not in result.stderr
    assert "out of memory" in (run / "tuning" / "README.md").read_text()


def test_a_search_of_failures_alone_is_one_line(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2]")
    monkeypatch.setattr(trial, "train_students", None)
    result = tune_here("--run", run, "--space", space, *ALONE)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(
        "error: all 1 trials failed; the first one: 'NoneType'"
    )


@pytest.mark.whole
def test_a_search_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "measure_cost", search_runs.quick_cost)
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, SHAPES)
    # In the second trial, when its first look has been saved.
    tiny_runs.killed(
        *("*/work/0001/student/checkpoint/state.npz", 1, "after"),
        *("tune.py", "--run", run, "--space", space, *ALONE),
    )
    assert len(trials(run)) == 1
    result = found_by("--run", run, "--space", space, *ALONE)
    assert "training goes on after update 3" in result.stderr
    assert "trial 0000:" not in result.stderr
    units = [
        one["hyperparameters"]["student.lstm_units"] for one in trials(run)
    ]
    assert units == [2, 3]
    assert (run / "tuning" / "work" / "0001").exists() is False


def test_max_trials_ends_a_search_that_can_go_on(tmp_path, cheap):
    run, space = make_run(tmp_path / "run"), write_space(tmp_path)
    for number in (1, 2):
        found_by(
            *("--run", run, "--space", space, *ALONE),
            *("--max-trials", str(number)),
        )
        assert len(trials(run)) == number


def test_no_trial_begins_that_would_end_too_late(tmp_path, monkeypatch, cheap):
    run, space = make_run(tmp_path / "run"), write_space(tmp_path)
    found_by(
        *("--run", run, "--space", space, *ALONE, "--max-minutes", "0.0001")
    )
    assert len(trials(run)) == 1


def test_the_minutes_of_all_sessions_count(tmp_path, cheap):
    run, space = make_run(tmp_path / "run"), write_space(tmp_path, SHAPES)
    command = ("--run", run, "--space", space, *ALONE)
    found_by(*command, "--max-trials", "1")
    spent = run / "tuning" / "seconds"
    assert 0 < float(spent.read_text()) < 600
    spent.write_text("600\n")
    found_by(*command, "--max-minutes", "10")
    assert len(trials(run)) == 1
    found_by(*command, "--max-minutes", "60")
    assert len(trials(run)) == 2


def test_another_search_begins_with_no_minutes_spent(tmp_path, cheap):
    run, space = make_run(tmp_path / "run"), write_space(tmp_path, SHAPES)
    command = ("--run", run, "--space", space, *ALONE)
    found_by(*command, "--max-trials", "1")
    (run / "tuning" / "seconds").write_text("600\n")
    found_by(*command, "--redo", "--max-minutes", "10")
    assert len(trials(run)) == 2


def test_the_table_is_written_with_each_trial(tmp_path, monkeypatch, cheap):
    run, space = make_run(tmp_path / "run"), write_space(tmp_path, SHAPES)
    monkeypatch.setattr(command, "_write_report", None)
    with pytest.raises(TypeError):
        tune_here("--run", run, "--space", space, *ALONE)
    page = (run / "tuning" / "README.md").read_text()
    assert len(re.findall(r"^\| 000\d\*? \|", page, re.M)) == 2
    assert "`python tune.py --run" in page and "pareto.png" not in page
    lines = (run / "tuning" / "results.csv").read_text().splitlines()
    assert len(lines) == 3


def test_hyperband_tries_short_trials_and_longer_ones_of_the_best(
    tmp_path, cheap
):
    run = make_run(tmp_path / "run", epochs=3)
    space = write_space(tmp_path, "student.lstm_units: [2, 3, 4, 5]")
    found_by(*("--run", run, "--space", space, "--tuner", "hyperband", *ALONE))
    epochs = {one["hyperparameters"]["student.epochs"] for one in trials(run)}
    assert epochs == {1, 3}


def test_bayesian_search_goes_beyond_its_random_points(tmp_path, cheap):
    run = make_run(tmp_path / "run")
    # After three points drawn at random comes the first that was chosen.
    space = write_space(tmp_path, "student.alpha: {min: 0.0, max: 1.0}")
    found_by(
        *("--run", run, "--space", space, "--tuner", "bayesian", *ALONE),
        *("--max-trials", "4"),
    )
    assert len(trials(run)) == 4


@pytest.mark.whole
def test_processes_share_a_search_though_one_is_killed(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2, 3]")
    # Whoever trains 0001, when its first look has been saved.
    result = tiny_runs.run(
        *("tune.py", "--run", run, "--space", space),
        *("--search-only", "--workers", "2"),
        STOP_AT="*/work/0001/student/checkpoint/state.npz 1 after",
        STOP_ALONE=str(tmp_path / "killed"),
        PYTHONPATH=str(tiny_runs.ROOT / "tests" / "stop_at"),
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "killed").exists()
    assert "is gone in trial 0001" in result.stderr
    assert "2 of 2 done" in result.stderr and "Chosen: trial" in result.stdout
    logs = [path.read_text() for path in (run / "tuning").glob("worker-?.log")]
    assert sum("training goes on after update" in log for log in logs) == 1
    # The seed repeats the trials, with any number of processes.
    alone = make_run(tmp_path / "alone")
    monkeypatch.setattr(trial, "measure_cost", search_runs.quick_cost)
    result = found_by("--run", alone, "--space", space, *ALONE)
    for ours, theirs in zip(trials(run), trials(alone), strict=True):
        assert ours["status"] == "completed"
        assert ours["metrics"]["int8_bytes"] > 1000
        assert ours["hyperparameters"] == theirs["hyperparameters"]
        for name in ("accuracy", "cross_entropy", "kl"):
            expected = pytest.approx(theirs["metrics"][name], abs=1e-3)
            assert ours["metrics"][name] == expected


def refused(*arguments):
    result = tune_here(*arguments)
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert [one for one in lines if one.startswith("error: ")] == lines[-1:]
    return lines[-1]


def without(name):
    return lambda run: (run / name).unlink()


def in_the_way(name):
    # Modes do not bind root; a file in the way does.
    return lambda run: (run / name).write_text("in the way")


@pytest.mark.parametrize(
    "spoil, arguments, message",
    [
        (shutil.rmtree, ALONE, "{run} holds no config.yaml"),
        (without("transfer_set/manifest.json"), ALONE, "holds no transfer set"),
        (without("vocabulary/vocab.txt"), ALONE, "holds no vocabulary"),
        # It is no whole run: its student cannot be replaced.
        (Path.exists, (), "--search-only searches all the same"),
        (Path.exists, ("--space", "my.yaml"), "cannot read my.yaml"),
        (in_the_way("tuning"), ALONE, "cannot write {run}/tuning"),
        (in_the_way("logs"), ALONE, "cannot write {run}/logs/tuning"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    tmp_path, spoil, arguments, message
):
    run = make_run(tmp_path / "run")
    spoil(run)
    line = refused("--run", run, *arguments)
    assert message.format(run=run) in line
    assert not (run / "tuning").is_dir()


def test_a_space_with_a_wrong_key(tmp_path):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.units: [3]")
    line = refused("--run", run, "--space", space)
    assert "unknown key student.units; valid keys: student." in line


def test_a_search_with_other_settings(tmp_path, cheap):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2]")
    call = ("--run", run, "--space", space, *ALONE)
    found_by(*call)
    line = refused(*call, "--executions", "2")
    assert "--executions was 1, now 2" in line and "--redo" in line


def test_logs_that_cannot_be_written_any_more(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2, 3]")

    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "logs")

    monkeypatch.setattr(trial.TrialWork, "_train", denied)
    line = refused("--run", run, "--space", space, *ALONE)
    assert line == "error: [Errno 13] Permission denied: 'logs'"
    assert not (run / "tuning" / "trials.json").exists()


def test_a_search_as_a_worker_of_kerastuner_s_chief(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "10.0.0.1")
    line = refused("--run", run, *ALONE)
    assert "KERASTUNER_ORACLE_IP is set" in line


@pytest.mark.parametrize("flag", ["--max-trials", "--max-minutes"])
def test_a_budget_of_nothing(flag, capsys):
    with pytest.raises(SystemExit) as caught:
        tune_here("--run", "run", flag, "0")
    assert caught.value.code == 2


def test_agreement_with_a_file_that_lacks_answers_is_refused(tmp_path):
    run = make_run(tmp_path / "run")
    config = config_from_dict(load_config(run / "config.yaml"))
    teacher = replace(config.teacher, names=[], logits=["said.jsonl"])
    replace(config, teacher=teacher).save(run / "config.yaml")
    path = run / "data" / "manifest.json"
    facts = {"coverage": {"select": [11, 12]}}
    write_json(path, read_json(path) | {"answers": facts})
    result = tune_here("--run", run, "--objective", "agreement")
    assert result.returncode == 2
    assert "answer to 11 of 12 rows to choose on" in result.stderr
    assert not (run / "tuning").exists()


def test_all_kinds_are_tried_and_the_smallest_is_known(tmp_path):
    run = make_run(tmp_path / "run")
    arguments = ["--run", run, "--search-only", "--space", "kinds"]
    found_by(*arguments, "--objective", "pareto", "--updates", "3")
    by_kind = {
        one["hyperparameters"]["student.kind"]: one for one in trials(run)
    }
    assert list(by_kind) == fitting_kinds(pair=False)
    for one in by_kind.values():
        assert one["status"] == "completed"
        assert one["metrics"]["int8_bytes"] > 1000
        assert one["metrics"]["latency_ms"] > 0
