"""Bad input through the real command line: one line, 2, nothing half-made.

What each reader says about each kind of damage is tested beside the readers;
here it is that train.py says so and leaves nothing behind.
"""

import dataclasses
import functools
import gzip
import hashlib
import io
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tiny_runs
from file_server import Server

from keras_distill.data import splits as load
from keras_distill.data.glue import TASKS, download_glue

ROOT = Path(__file__).parent.parent


@pytest.fixture
def train(tmp_path, capfd):
    """Run train.py in this process; return its exit code and error line."""
    script = tiny_runs.train_script()

    def run(*arguments, stages="data", output=tmp_path / "run"):
        arguments = [*map(str, arguments), "--output-dir", str(output)]
        if stages:
            arguments += ["--stages", stages]
        code = script.main(arguments)
        lines = capfd.readouterr().err.splitlines()
        assert not any("Traceback" in line for line in lines)
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == (1 if code else 0)
        if code:
            assert lines[-1] == errors[0]
        return code, "".join(errors).removeprefix("error: ")

    return run


def made(folder):
    """What a run folder holds beside what no stage needs to be whole."""
    if not folder.exists():
        return []
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(
        str(name)
        for name in names
        if name.parts[0] != ".work" and str(name) != "config.yaml"
    )


def temporaries(folder):
    return [p.name for p in folder.rglob("*.tmp")] if folder.exists() else []


def table(rows=120, extra=b"", header=b"review,stars"):
    lines = [b"text number %d,%d" % (i, 1 + i % 3) for i in range(rows)]
    return b"\n".join([header, *lines]) + b"\n" + extra


GOOD = table()
CUSTOM = ("--text-column", "review", "--label-column", "stars")

BAD_TABLES = {
    "a row without a label": (
        table(extra=b"only a text\n"),
        ["bad.csv, line 122", "'stars'", "found 1 fields, expected 2"],
    ),
    "a label that is empty": (
        table(extra=b"some text,\n"),
        ["bad.csv, line 122", "stars", "found nothing"],
    ),
    "a label that is not in the set": (
        table(extra=b"some text,excellent\n"),
        ["bad.csv, line 122", "stars", "'excellent'", "1, 2, 3"],
    ),
    "broken UTF-8": (
        table(extra=b"caf\xe9,1\n"),
        ["bad.csv, line 122", "0xe9", "UTF-8"],
    ),
    "an empty file": (b"", ["bad.csv is empty", "expected a header"]),
    "a header alone": (b"review,stars\n", ["bad.csv holds no rows"]),
    "a header that does not fit": (
        table(header=b"text,label"),
        ["bad.csv, line 1", "'review'", "text, label"],
    ),
    "a line of a megabyte": (
        table(extra=b"x" * 1_000_001 + b",1\n"),
        ["bad.csv, line 122", "1,000,000 bytes"],
    ),
    "duplicate ids": (
        b"id,review,stars\n7,a,1\n8,b,2\n7,c,1\n",
        ["bad.csv, line 4", "'7'", "line 2"],
    ),
    "a quote that never ends": (
        table(extra=b'"never ends,1\n'),
        ["bad.csv, line 122", "never ends"],
    ),
    "a label that spans lines": (
        table(extra=b'some text,"1\n2"\n'),
        ["bad.csv, line 122", "stars"],
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_training_file_is_one_line(train, tmp_path, case):
    content, parts = BAD_TABLES[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    labels = ("--set", "data.labels=[1,2,3]")
    if case == "a label that spans lines":
        labels = ()
    code, message = train(
        "--task", "custom", "--train-file", path, *CUSTOM, *labels
    )
    assert code == 2
    for part in (str(path), *parts):
        assert part in message
    assert made(tmp_path / "run") == []
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("option", ["--dev-file", "--test-file"])
def test_a_bad_second_file_is_one_line(train, tmp_path, option):
    (tmp_path / "train.csv").write_bytes(GOOD)
    (tmp_path / "other.csv").write_bytes(b"review,stars\nfine,4\n")
    code, message = train(
        *("--task", "custom", "--train-file", tmp_path / "train.csv"),
        *(option, tmp_path / "other.csv", *CUSTOM),
    )
    assert code == 2
    assert "other.csv, line 2, column stars: found '4'" in message
    assert made(tmp_path / "run") == []


def test_a_bad_unlabelled_file_leaves_no_data_stage(train, tmp_path):
    (tmp_path / "train.csv").write_bytes(GOOD)
    (tmp_path / "more.txt").write_bytes(b"fine\n\xff\n")
    code, message = train(
        *("--task", "custom", "--train-file", tmp_path / "train.csv", *CUSTOM),
        *("--unlabeled", tmp_path / "more.txt"),
    )
    assert code == 2
    assert "more.txt, line 2: byte 1 (0xff)" in message
    assert made(tmp_path / "run") == []
    assert temporaries(tmp_path) == []
    (tmp_path / "more.txt").write_bytes(b"fine\nfood\n")
    code, _ = train(
        *("--task", "custom", "--train-file", tmp_path / "train.csv", *CUSTOM),
        *("--unlabeled", tmp_path / "more.txt"),
    )
    assert code == 0
    with gzip.open(tmp_path / "run" / "data" / "unlabeled.jsonl.gz") as rows:
        assert len(rows.readlines()) == 2


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (("--train-file", "none.csv"), ["cannot read none.csv: No such file"]),
        (("--train-file", "."), ["cannot read .: Is a directory"]),
        (
            ("--train-file", "a.csv", "--teacher", "./bert"),
            ["--teacher ./bert: no such folder"],
        ),
        (
            ("--train-file", "a.csv", "--teacher-checkpoint", "/none/bert"),
            ["--teacher-checkpoint /none/bert: no such folder"],
        ),
        ((), ["data.train_file is missing"]),
        (("--train-file", "a.csv", "--data-dir", "."), ["data.data_dir"]),
        (
            ("--train-file", "a.csv", "--embeddings", "none.bin"),
            ["cannot read none.bin: No such file"],
        ),
        (
            ("--train-file", "a.csv", "--unlabeled", "none.txt"),
            ["cannot read none.txt: No such file"],
        ),
    ],
)
def test_a_file_that_is_not_there_is_named_before_anything_is_made(
    train, tmp_path, monkeypatch, arguments, parts
):
    (tmp_path / "a.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    code, message = train("--task", "custom", *arguments)
    assert code == 2
    for part in parts:
        assert part in message
    assert made(tmp_path / "run") == []


@pytest.mark.parametrize(
    "name, content, part",
    [
        ("train.tsv", b"sentence\tlabel\nfun\t1\ndull\n", "line 3"),
        ("train.tsv", b"text\tlabel\nfun\t1\n", "no column 'sentence'"),
        ("train.tsv", b"sentence\tlabel\nfun\t7\n", "found '7'"),
        ("dev.tsv", b"", "dev.tsv is empty"),
        ("dev.tsv", None, "holds no dev file"),
    ],
)
def test_a_bad_glue_file_is_one_line(train, tmp_path, name, content, part):
    folder = tmp_path / "SST-2"
    folder.mkdir()
    rows = "".join(f"text {i} is fine\t{i % 2}\n" for i in range(60))
    for good in ("train.tsv", "dev.tsv"):
        (folder / good).write_text("sentence\tlabel\n" + rows)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    code, message = train("--task", "sst2", "--data-dir", tmp_path)
    assert code == 2
    assert part in message
    assert made(tmp_path / "run") == []


def test_a_file_that_the_task_does_not_read_need_not_be_there(train, tmp_path):
    code, message = train("--task", "sst2", "--train-file", "none.csv")
    assert code == 2
    assert "--task sst2 does not read it" in message
    assert "--data-dir, yours by --task custom" in message


def test_a_folder_without_glues_files_is_named(train, tmp_path):
    code, message = train("--task", "qqp", "--data-dir", tmp_path)
    assert code == 2
    assert f"{tmp_path} holds neither" in message
    assert not (tmp_path / "run").exists()


def test_an_interrupted_download_is_one_line_and_can_be_tried_again(
    train, tmp_path, monkeypatch
):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name in ("train", "dev"):
            zipped.writestr(f"SST-2/{name}.tsv", "sentence\tlabel\nfun\t1\n")
    server = Server(packed.getvalue())
    ours = dataclasses.replace(
        TASKS["sst2"],
        size=len(server.content),
        sha256=hashlib.sha256(server.content).hexdigest(),
    )
    monkeypatch.setitem(TASKS, "sst2", ours)
    monkeypatch.setenv("KERAS_DISTILL_CACHE", str(tmp_path / "cache"))
    server.cut_after = 200
    download = functools.partial(download_glue, base_url=server.url)
    monkeypatch.setattr(load, "download_glue", download)
    try:
        code, message = train("--task", "sst2")
        assert code == 2
        assert "SST-2.zip: found 200 bytes, expected" in message
        assert not list((tmp_path / "cache" / "glue").iterdir())
        assert made(tmp_path / "run") == []
        server.cut_after = None
        # The archive's few rows are no data set, but it is whole.
        code, message = train("--task", "sst2")
        assert (tmp_path / "cache" / "glue" / "SST-2").is_dir()
        assert "expected more varied rows" in message
    finally:
        server.close()


@pytest.fixture
def finished(train, tmp_path):
    """The arguments of a run folder whose data stage is complete."""
    (tmp_path / "train.csv").write_bytes(GOOD)
    arguments = (
        *("--task", "custom", "--train-file", tmp_path / "train.csv"),
        *(*CUSTOM, "--pos-tagger", "none"),
    )
    assert train(*arguments) == (0, "")
    return arguments


@pytest.mark.parametrize(
    "change, part",
    [
        (("--seed", "7"), "seed was 42, now 7"),
        (
            ("--set", "data.heldout_fraction=0.2"),
            "heldout_fraction was 0.05, now 0.2",
        ),
    ],
)
def test_a_run_folder_made_with_other_settings_is_refused(
    train, tmp_path, finished, change, part
):
    before = snapshot(tmp_path / "run")
    code, message = train(*finished, *change)
    assert code == 2
    assert message.startswith(f"{tmp_path / 'run'} was made with other")
    assert part in message
    assert message.endswith("anew: data")
    assert snapshot(tmp_path / "run") == before


def test_a_run_folder_made_from_another_file_is_refused(
    train, tmp_path, finished
):
    (tmp_path / "train.csv").write_bytes(table(121))
    code, message = train(*finished)
    assert code == 2
    assert "train_file.sha256 was" in message


def test_what_a_run_does_not_depend_on_may_change(train, tmp_path, finished):
    moved = tmp_path / "elsewhere" / "train.csv"
    moved.parent.mkdir()
    (tmp_path / "train.csv").rename(moved)
    assert train(
        *(*finished, "--train-file", moved),
        *("--set", "augmentation.workers=2"),
        *("--set", "teacher.tokens_per_batch=64"),
    ) == (0, "")


def test_a_run_folder_that_cannot_be_written_is_named(train, tmp_path):
    (tmp_path / "train.csv").write_bytes(GOOD)
    (tmp_path / "file").write_text("in the way")
    code, message = train(
        *("--task", "custom", "--train-file", tmp_path / "train.csv", *CUSTOM),
        output=tmp_path / "file",
    )
    assert code == 2
    assert message.startswith(f"cannot write {tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_stage_before_its_time_says_what_it_needs(train, tmp_path):
    (tmp_path / "train.csv").write_bytes(GOOD)
    code, message = train(
        *("--task", "custom", "--train-file", tmp_path / "train.csv", *CUSTOM),
        stages="student",
    )
    assert code == 2
    assert message.startswith("--stages: student needs vocabulary")
    assert not (tmp_path / "run").exists()


def snapshot(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def limited(arguments, limit):
    """Run train.py where no file may grow beyond `limit` bytes.

    That is what a full disk or a quota looks like from inside; it needs no
    rights to mount anything.
    """

    def lower():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "train.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lower,
        capture_output=True,
        text=True,
    )


def only_error(result):
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert line.startswith("error: cannot write ")
    return line


def test_a_full_disk_in_the_data_stage_is_one_line(train, tmp_path):
    (tmp_path / "train.csv").write_bytes(table(3000))
    run = tmp_path / "run"
    arguments = (
        *("--task", "custom", "--train-file", tmp_path / "train.csv"),
        *(*CUSTOM, "--stages", "data", "--output-dir", run),
    )
    line = only_error(limited(arguments, 4000))
    assert "train.jsonl.gz: File too large" in line
    assert made(run) == []
    assert temporaries(run) == []
    # With room again, the same command goes on.
    assert train(*arguments, stages=None) == (0, "")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_in_the_augment_stage_is_one_line(
    train, tmp_path, finished, workers
):
    run = tmp_path / "run"
    more = ("--set", f"augmentation.workers={workers}")
    arguments = (*finished, *more, "--output-dir", run, "--stages", "augment")
    before = made(run)
    line = only_error(limited(arguments, 1500))
    assert "File too large" in line
    assert made(run) == before
    assert temporaries(run) == []
    assert train(*arguments, stages=None) == (0, "")
    assert (run / "augmented" / "manifest.json").is_file()


TEACHER = ["data", "teacher", "augmented"]
LABELLED = [*TEACHER, "transfer_set"]


@pytest.mark.whole
@pytest.mark.parametrize(
    "stage, folders, limit, file",
    [
        ("label", TEACHER, 3_000, "train-00000-of-00004.tfrecord"),
        ("vocabulary", LABELLED, 1_560, "vectors.npy"),
        ("student", [*LABELLED, "vocabulary"], 20_000, "best-14.npz"),
    ],
)
def test_a_full_disk_in_a_later_stage_is_one_line(
    sst2_run, tmp_path, stage, folders, limit, file
):
    run = sst2_run.copy(tmp_path / "run", *folders)
    _, *arguments = sst2_run.again("--stages", stage, path=run)
    before = made(run)
    line = only_error(limited(arguments, limit))
    assert file in line
    after = [name for name in made(run) if not name.startswith("logs")]
    assert after == before
    assert temporaries(run) == []


@pytest.mark.whole
@pytest.mark.parametrize("bad, reason", [("half", "cut"), ("wide", "9")])
def test_bad_word_vectors_are_one_line(train, sst2_run, tmp_path, bad, reason):
    run = sst2_run.copy(tmp_path / "run", *LABELLED)
    path = tmp_path / f"{bad}.txt"
    if bad == "wide":
        tiny_runs.write_vectors(path, dim=9)
    else:
        whole = tiny_runs.write_vectors(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    _, *arguments = sst2_run.again(
        "--embeddings", path, "--stages", "vocabulary", path=run
    )
    before = made(run)
    code, message = train(*arguments, stages=None, output=run)
    assert code == 2
    assert str(path) in message and reason in message
    assert made(run) == before


@pytest.mark.parametrize(
    "content, part",
    [
        (b"fine 1 2 3\n", "vectors of 3 numbers, expected 300"),
        (b"<html>not found</html>\n", "expected the header"),
        (b"9 300\nfine " + bytes(1200), "cannot hold the 9 vectors"),
    ],
)
def test_bad_word_vectors_are_found_before_any_stage_is_done(
    train, tmp_path, content, part
):
    (tmp_path / "train.csv").write_bytes(GOOD)
    (tmp_path / "bad.vec").write_bytes(content)
    code, message = train(
        *("--task", "custom", "--train-file", tmp_path / "train.csv", *CUSTOM),
        *("--embeddings", tmp_path / "bad.vec"),
    )
    assert code == 2
    assert str(tmp_path / "bad.vec") in message and part in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["static", "non-static"])
def test_a_mode_that_needs_word_vectors_is_refused_without_them(
    train, tmp_path, mode
):
    (tmp_path / "train.csv").write_bytes(GOOD)
    code, message = train(
        *("--task", "custom", "--train-file", tmp_path / "train.csv", *CUSTOM),
        *("--embedding-mode", mode),
    )
    assert code == 2
    assert f"student.embedding_mode is {mode}" in message
    assert "--embeddings FILE" in message
    assert not (tmp_path / "run").exists()


def test_bad_data_is_found_before_tensorflow_is_imported(tmp_path):
    (tmp_path / "bad.csv").write_text("text,label\nfine\n")
    result = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "train.py"),
            *("--task", "custom", "--train-file", str(tmp_path / "bad.csv")),
            *("--output-dir", str(tmp_path / "run")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "bad.csv, line 2" in result.stderr
    modules = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in result.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "keras_distill" in modules
    assert modules & {"tensorflow", "keras", "transformers"} == set()
