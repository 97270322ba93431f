"""Bad input through the real command line: one line, 2, nothing half-made.

What each reader says about each kind of damage is tested beside the readers;
here it is that train.py says so and leaves nothing behind.
"""

import gzip
import os
import subprocess
import sys

import pytest
import tiny_runs


@pytest.fixture
def train(tmp_path, capfd):
    """Run train.py in this process; return its exit code and error line."""
    script = tiny_runs.script("train.py")

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


def table(rows=120, extra=b""):
    lines = [b"text number %d,%d" % (i, 1 + i % 3) for i in range(rows)]
    return b"\n".join([b"review,stars", *lines]) + b"\n" + extra


@pytest.fixture
def reviews(tmp_path):
    """The arguments that name a good table."""
    (tmp_path / "train.csv").write_bytes(table())
    return (
        *("--task", "custom", "--train-file", tmp_path / "train.csv"),
        *("--text-column", "review", "--label-column", "stars"),
    )


@pytest.fixture
def refused(train, tmp_path):
    """Run train.py, which has to refuse; return its error line."""

    def run(*arguments, **more):
        code, message = train(*arguments, **more)
        assert code == 2
        assert made(tmp_path / "run") == []
        assert temporaries(tmp_path) == []
        return message

    return run


@pytest.mark.parametrize(
    "content, parts",
    [
        (
            table(extra=b"only a text\n"),
            ["bad.csv, line 122", "'stars'", "found 1 fields, expected 2"],
        ),
        (table(extra=b"caf\xe9,1\n"), ["bad.csv, line 122", "0xe9", "UTF-8"]),
        (b"", ["bad.csv is empty", "expected a header"]),
        # A label that spans lines.
        (
            table(extra=b'some text,"1\n2"\n'),
            ["bad.csv, line 122", "column stars"],
        ),
    ],
)
def test_a_bad_training_file_is_one_line(
    refused, reviews, tmp_path, content, parts
):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    message = refused(*reviews, "--train-file", path)
    for part in (str(path), *parts):
        assert part in message


@pytest.mark.parametrize("option", ["--dev-file", "--test-file"])
def test_a_bad_second_file_is_one_line(refused, reviews, tmp_path, option):
    path = tmp_path / "other.csv"
    path.write_bytes(b"review,stars\nfine,4\n")
    message = refused(*reviews, option, path)
    assert "other.csv, line 2, column stars: found '4'" in message


def test_a_bad_unlabelled_file_leaves_no_data_stage(
    train, refused, reviews, tmp_path
):
    more = tmp_path / "more.txt"
    more.write_bytes(b"fine\n\xff\n")
    message = refused(*reviews, "--unlabeled", more)
    assert "more.txt, line 2: byte 1 (0xff)" in message
    more.write_bytes(b"fine\nfood\n")
    assert train(*reviews, "--unlabeled", more) == (0, "")
    with gzip.open(tmp_path / "run" / "data" / "unlabeled.jsonl.gz") as rows:
        assert len(rows.readlines()) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--train-file", "none.csv"), "cannot read none.csv: No such file"),
        (("--train-file", "."), "cannot read .: Is a directory"),
        (("--teacher", "./bert"), "--teacher ./bert: no such folder"),
        (
            ("--teacher-checkpoint", "/none/bert"),
            "--teacher-checkpoint /none/bert: no such folder",
        ),
        (("--data-dir", "."), "data.data_dir"),
        (("--embeddings", "none.bin"), "cannot read none.bin: No such file"),
        (("--unlabeled", "none.txt"), "cannot read none.txt: No such file"),
    ],
)
def test_a_file_that_is_not_there_is_named_before_anything_is_made(
    refused, reviews, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*reviews, *arguments)


@pytest.mark.parametrize(
    "name, content, part",
    [
        ("train.tsv", b"sentence\tlabel\nfun\t1\ndull\n", "line 3"),
        ("dev.tsv", None, "holds no dev file"),
    ],
)
def test_a_bad_glue_file_is_one_line(refused, tmp_path, name, content, part):
    folder = tmp_path / "SST-2"
    folder.mkdir()
    rows = "".join(f"text {i} is fine\t{i % 2}\n" for i in range(60))
    for good in ("train.tsv", "dev.tsv"):
        (folder / good).write_text("sentence\tlabel\n" + rows)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert part in refused("--task", "sst2", "--data-dir", tmp_path)


def test_a_file_that_the_task_does_not_read_need_not_be_there(refused):
    message = refused("--task", "sst2", "--train-file", "none.csv")
    assert "--task sst2 does not read it" in message
    assert "--data-dir, yours by --task custom" in message


def test_a_folder_without_glues_files_is_named(refused, tmp_path):
    message = refused("--task", "qqp", "--data-dir", tmp_path)
    assert f"{tmp_path} holds neither" in message
    assert not (tmp_path / "run").exists()


@pytest.fixture
def finished(train, reviews):
    """The arguments of a run folder whose data stage is complete."""
    arguments = (*reviews, "--recipe", "paper", "--pos-tagger", "none")
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
    lower = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    return subprocess.run(
        tiny_runs.python("train.py", *arguments, prepare=lower),
        cwd=tiny_runs.ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
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


def test_a_full_disk_in_the_data_stage_is_one_line(train, reviews, tmp_path):
    (tmp_path / "train.csv").write_bytes(table(3000))
    run = tmp_path / "run"
    arguments = (*reviews, "--stages", "data", "--output-dir", run)
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
        ("vocabulary", LABELLED, None, "vectors.npy"),
        ("student", [*LABELLED, "vocabulary"], 20_000, "best-"),
    ],
)
def test_a_full_disk_in_a_later_stage_is_one_line(
    sst2_run, tmp_path, stage, folders, limit, file
):
    run = sst2_run.copy(tmp_path / "run", *folders)
    if limit is None:
        # The settings are about as long.
        limit = (sst2_run.path / stage / file).stat().st_size - 8
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
    refused, reviews, tmp_path, content, part
):
    (tmp_path / "bad.vec").write_bytes(content)
    message = refused(*reviews, "--embeddings", tmp_path / "bad.vec")
    assert str(tmp_path / "bad.vec") in message and part in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["static", "non-static"])
def test_a_mode_that_needs_word_vectors_is_refused_without_them(
    refused, reviews, tmp_path, mode
):
    more = ("--embeddings", "none", "--embedding-mode", mode)
    message = refused(*reviews, *more)
    assert f"student.embedding_mode is {mode}" in message
    assert "--embeddings FILE" in message
    assert not (tmp_path / "run").exists()


def test_bad_data_is_found_before_tensorflow_is_imported(tmp_path):
    (tmp_path / "bad.csv").write_text("text,label\nfine\n")
    result = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "train.py"),
            *("--task", "custom", "--train-file", str(tmp_path / "bad.csv")),
            *("--output-dir", str(tmp_path / "run"), "--pos-tagger", "none"),
        ],
        cwd=tiny_runs.ROOT,
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


@pytest.mark.parametrize(
    "weights, told",
    [
        ("1=2,9=3", "names '9', expected one of: '1', '2', '3'"),
        ("1=0", "has '1=0', expected NAME=W with a positive number"),
        ("balanced,1=2", "has 'balanced', expected NAME=W"),
        ("", "is empty, expected text"),
    ],
)
def test_weights_of_no_class_are_refused(refused, reviews, weights, told):
    assert told in refused(*reviews, "--class-weights", weights)


def test_weights_of_a_task_s_classes_are_refused_before_data_is_read(refused):
    message = refused("--task", "quick", "--class-weights", "9=3", stages=None)
    assert "names '9', expected one of: 'negative', 'positive'" in message
