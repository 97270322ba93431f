import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_distill import run
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json
from keras_distill.run import (
    RunFolder,
    Stage,
    Stopwatch,
    duration,
    stage_seconds,
)

ROOT = Path(__file__).parent.parent


class Kitchen:
    """Three stages (dough -> cake, dough -> bread) that note their work."""

    def __init__(self, path):
        self.path = path
        self.worked = []
        self.found = {}
        self.breaks_at = None
        self.intact = lambda folder: True

    def folder(self, dough=1, cake=1, bread=1):
        return RunFolder(
            self.path,
            [
                self._stage("dough", ()),
                self._stage("cake", ("dough",)),
                self._stage("bread", ("dough",)),
            ],
            {
                "dough": {"flour": dough},
                "cake": {"sugar": {"grams": cake}},
                "bread": {"salt": bread},
            },
        )

    def _stage(self, name, needs):
        def work(run, place):
            self.found[name] = sorted(path.name for path in place.iterdir())
            (place / "first").write_text("1")
            if self.breaks_at == name:
                raise KeyboardInterrupt
            (place / "result").write_text(f"{name} of {run.settings[name]}")
            self.worked.append(name)

        return Stage(
            name, f"{name}s", needs, work, lambda run, p: self.intact(p)
        )

    def run(self, redo=False, stages=("dough", "cake", "bread"), **settings):
        self.worked = []
        folder = self.folder(**settings)
        folder.check(set(stages), redo)
        with folder.lock():
            for name in stages:
                folder.make(name)
        return self.worked

    def result(self, name):
        return (self.path / f"{name}s" / "result").read_text()


@pytest.fixture
def kitchen(tmp_path):
    return Kitchen(tmp_path / "run")


def refusal(kitchen, **settings):
    with pytest.raises(UserError) as caught:
        kitchen.run(**settings)
    assert kitchen.worked == []
    return str(caught.value)


def test_stages_run_in_order_and_leave_a_record(kitchen):
    assert kitchen.run() == ["dough", "cake", "bread"]
    record = read_json(kitchen.path / "cakes" / "stage.json")
    folder = kitchen.folder()
    assert record["stage"] == "cake"
    assert record["fingerprint"] == folder.fingerprint("cake")
    assert record["settings"] == {"sugar": {"grams": 1}}
    assert record["needs"] == {"dough": folder.fingerprint("dough")}
    assert record["resumed"] is False
    assert set(stage_seconds(kitchen.path)) == {"dough", "cake", "bread"}


def test_looking_at_a_run_folder_makes_nothing(kitchen):
    folder = kitchen.folder()
    folder.check({"dough"}, redo=False)
    assert not folder.is_done("dough")
    assert not kitchen.path.exists()


def test_a_complete_stage_is_skipped_and_says_so(kitchen, caplog):
    kitchen.run()
    with caplog.at_level(logging.INFO):
        assert kitchen.run() == []
    assert caplog.messages.count("dough: done before, skipped") == 1
    assert len(caplog.messages) == 3


def test_an_interrupted_stage_is_resumed_with_what_it_left(kitchen, caplog):
    kitchen.breaks_at = "cake"
    with pytest.raises(KeyboardInterrupt):
        kitchen.run()
    assert not (kitchen.path / "cakes").exists()
    kitchen.breaks_at = None
    with caplog.at_level(logging.INFO):
        assert kitchen.run() == ["cake", "bread"]
    assert kitchen.found["cake"] == ["first"]
    assert "cake: resumed" in caplog.messages
    assert read_json(kitchen.path / "cakes" / "stage.json")["resumed"] is True


KILLED = """
import sys, time
from pathlib import Path
from keras_distill import run
from keras_distill.run import RunFolder, Stage
run.SECONDS_BETWEEN_NOTES = 0.1

def work(run, place):
    (place / "result").write_text("1")
    print("working", flush=True)
    time.sleep(float(sys.argv[2]))

stage = Stage("cake", "cakes", (), work)
folder = RunFolder(Path(sys.argv[1]), [stage], {"cake": {}})
with folder.lock():
    folder.make("cake")
"""


def bake(path, seconds, kill_after=None):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with process:
        assert process.stdout.readline() == b"working\n"
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
    assert process.returncode == (0 if kill_after is None else -9)


def test_seconds_are_those_of_all_sessions_killed_or_not(tmp_path):
    path = tmp_path / "run"
    for _ in range(2):
        bake(path, seconds=60, kill_after=1)
    bake(path, seconds=0.5)
    record = read_json(path / "cakes" / "stage.json")
    assert record["resumed"] is True
    assert 2.2 <= record["seconds"] < 10
    assert [place.name for place in (path / ".work").iterdir()] == ["lock"]


def test_what_is_mended_keeps_the_seconds_it_took_before(kitchen):
    kitchen.run()
    path = kitchen.path / "cakes" / "stage.json"
    write_json(path, read_json(path) | {"seconds": 500.0})
    kitchen.intact = lambda folder: (folder / "result").exists()
    (kitchen.path / "cakes" / "result").unlink()
    kitchen.run()
    assert 500 <= stage_seconds(kitchen.path)["cake"] < 510


def test_the_same_stage_made_anew_counts_from_nothing(kitchen):
    kitchen.breaks_at = "cake"
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(cake=1)
    (note,) = (kitchen.path / ".work").glob("seconds-cake-*")
    note.write_text("500.0")
    kitchen.breaks_at = None
    kitchen.run(cake=2)
    assert stage_seconds(kitchen.path)["cake"] < 10


def test_what_is_unfinished_serves_only_the_same_settings(kitchen):
    kitchen.breaks_at = "cake"
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(cake=1)
    kitchen.breaks_at = None
    kitchen.run(cake=2)
    assert kitchen.found["cake"] == []


def test_nothing_unfinished_is_kept_once_the_stage_is_done(kitchen):
    kitchen.breaks_at = "cake"
    for grams in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            kitchen.run(cake=grams)
    kitchen.breaks_at = None
    kitchen.run(cake=2)
    left = [path.name for path in (kitchen.path / ".work").iterdir()]
    assert left == ["lock"]


def test_killed_before_the_renaming_only_the_renaming_is_left(kitchen):
    kitchen.run()
    print_of = kitchen.folder().fingerprint("cake")
    place = kitchen.path / ".work" / f"cake-{print_of}"
    shutil.move(kitchen.path / "cakes", place)
    assert kitchen.run() == []
    assert kitchen.result("cake") == "cake of {'sugar': {'grams': 1}}"


def test_other_settings_are_refused_with_the_key_that_changed(kitchen):
    kitchen.run()
    message = refusal(kitchen, cake=250)
    assert str(kitchen.path) in message
    assert "sugar.grams was 1, now 250" in message
    assert message.endswith("to make these stages anew: cake")
    assert "--output-dir" in message and "--redo" in message
    assert kitchen.result("cake") == "cake of {'sugar': {'grams': 1}}"


def test_a_change_upstream_names_every_stage_it_touches(kitchen):
    kitchen.run()
    message = refusal(kitchen, dough=2)
    assert "flour was 1, now 2" in message
    assert message.endswith("anew: dough, cake, bread")


def test_a_stage_made_from_something_older_is_refused(kitchen):
    kitchen.run()
    kitchen.run(redo=True, stages=["dough"], dough=2)
    assert "an earlier stage differs" in refusal(kitchen, dough=2)


def test_redo_makes_only_what_depends_on_the_change(kitchen):
    kitchen.run()
    assert kitchen.run(redo=True, cake=2) == ["cake"]
    assert kitchen.run(redo=True, cake=2, dough=2) == ["dough", "cake", "bread"]
    assert kitchen.run(cake=2, dough=2) == []


def test_redo_without_a_change_makes_nothing(kitchen):
    kitchen.run()
    assert kitchen.run(redo=True) == []


def test_redo_keeps_the_old_result_until_the_new_one_is_there(kitchen):
    kitchen.run()
    kitchen.breaks_at = "cake"
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(redo=True, cake=2)
    assert kitchen.result("cake") == "cake of {'sugar': {'grams': 1}}"
    kitchen.breaks_at = None
    kitchen.run(redo=True, cake=2)
    assert kitchen.found["cake"] == ["first"]
    assert kitchen.result("cake") == "cake of {'sugar': {'grams': 2}}"


def test_a_stage_without_what_it_needs_says_what_to_add(kitchen):
    message = refusal(kitchen, stages=["cake"])
    assert message.startswith("--stages: cake needs dough, which ")
    assert not kitchen.path.exists()


def test_a_stage_runs_alone_when_what_it_needs_is_there(kitchen):
    kitchen.run(stages=["dough"])
    assert kitchen.run(stages=["bread"]) == ["bread"]


def test_a_stage_is_not_made_from_what_is_out_of_date(kitchen):
    kitchen.run()
    message = refusal(kitchen, redo=True, stages=["cake"], dough=2)
    assert "cake needs dough" in message


def test_a_damaged_stage_is_mended_with_what_is_left_of_it(kitchen, caplog):
    kitchen.run()
    (kitchen.path / "cakes" / "result").unlink()
    kitchen.intact = lambda folder: (folder / "result").exists()
    assert kitchen.run() == ["cake"]
    assert kitchen.found["cake"] == ["first"]
    assert "cake: not complete, mending it" in caplog.messages
    assert kitchen.run() == []


def test_killed_while_it_sets_a_damaged_stage_aside_it_still_mends_it(
    kitchen, monkeypatch
):
    kitchen.run()
    (kitchen.path / "cakes" / "result").unlink()
    kitchen.intact = lambda folder: (folder / "result").exists()
    calls = []

    def killed(*names):
        calls.append(names)
        raise KeyboardInterrupt

    for function in ("os.replace", "pathlib.Path.unlink"):
        with monkeypatch.context() as patch:
            patch.setattr(function, killed)
            with pytest.raises(KeyboardInterrupt):
                kitchen.run()
    assert len(calls) == 2
    kitchen.run()
    assert kitchen.result("cake") == "cake of {'sugar': {'grams': 1}}"


def test_half_written_files_of_a_killed_run_do_not_stay(kitchen):
    kitchen.breaks_at = "cake"
    with pytest.raises(KeyboardInterrupt):
        kitchen.run()
    (place,) = (kitchen.path / ".work").glob("cake-*")
    (place / "shards").mkdir()
    (place / "shards" / ".a.tfrecord.4711.tmp").write_text("half")
    (place / ".model.4711.tmp").mkdir()
    (place / ".model.4711.tmp" / "weights").write_text("half")
    kitchen.breaks_at = None
    kitchen.run()
    names = sorted(p.name for p in (kitchen.path / "cakes").rglob("*"))
    assert names == ["first", "result", "shards", "stage.json"]


def test_a_second_process_is_kept_out(kitchen):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from keras_distill.run import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock():\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(kitchen.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match="in use by another process"):
            kitchen.run()
        # The lock of a process that was killed goes with it.
        other.kill()
    assert kitchen.run() == ["dough", "cake", "bread"]


def test_a_run_folder_that_is_a_file_is_refused(kitchen):
    kitchen.path.write_text("not a folder")
    with pytest.raises(UserError, match=f"cannot write {kitchen.path}"):
        kitchen.run()
    assert kitchen.path.read_text() == "not a folder"


@pytest.mark.parametrize("record", [{}, [], {"fingerprint": 1}])
def test_a_record_that_is_none_is_named(kitchen, record):
    write_json(kitchen.path / "doughs" / "stage.json", record)
    with pytest.raises(UserError, match="stage.json"):
        kitchen.run()


def test_the_order_of_settings_does_not_matter_and_their_values_do(tmp_path):
    def fingerprint(settings, needs=()):
        stages = [Stage("a", "a", (), print), Stage("b", "b", needs, print)]
        folder = RunFolder(tmp_path, stages, {"a": {"x": 1}, "b": settings})
        return folder.fingerprint("b")

    assert fingerprint({"x": 1, "y": 2}) == fingerprint({"y": 2, "x": 1})
    assert fingerprint({"x": 1}) != fingerprint({"x": 2})
    assert fingerprint({"x": 1}) != fingerprint({"x": 1}, ("a",))


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3599.7, "1 h 0 min"),
        (7380, "2 h 3 min"),
    ],
)
def test_durations_are_words(seconds, words):
    assert duration(seconds) == words


def test_a_session_goes_on_from_what_the_one_before_noted(tmp_path):
    path = tmp_path / "seconds"
    path.write_text("100.5\n")
    with Stopwatch(path) as watch:
        time.sleep(0.2)
        running = watch.seconds
    assert running <= watch.seconds == watch.seconds
    assert 100.7 <= watch.seconds < 102
    assert Stopwatch(path).seconds == pytest.approx(watch.seconds, abs=0.1)


def test_a_sum_that_is_given_wins_over_the_file(tmp_path):
    path = tmp_path / "seconds"
    path.write_text("100.5\n")
    assert Stopwatch(path, spent=7.0).seconds == 7.0


def test_an_exception_is_noted_to_the_moment(tmp_path):
    path = tmp_path / "seconds"
    with pytest.raises(KeyboardInterrupt):
        with Stopwatch(path):
            time.sleep(0.3)
            raise KeyboardInterrupt
    assert 0.3 <= float(path.read_text()) < 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"soon"])
def test_a_damaged_note_counts_as_none(tmp_path, content):
    (tmp_path / "seconds").write_bytes(content)
    assert Stopwatch(tmp_path / "seconds").seconds == 0


def test_notes_that_cannot_be_written_stop_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with Stopwatch(tmp_path / "file" / "seconds") as watch:
        time.sleep(0.1)
    assert watch.seconds >= 0.1


def test_nothing_is_written_after_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SECONDS_BETWEEN_NOTES", 0.01)
    path = tmp_path / "seconds"
    with Stopwatch(path):
        time.sleep(0.1)
    path.unlink()
    time.sleep(0.1)
    assert list(tmp_path.iterdir()) == []
