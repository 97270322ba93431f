import errno
import json
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill import files
from keras_distill.errors import UserError
from keras_distill.files import (
    atomic_path,
    checkpoint_identity,
    file_identity,
    fingerprint,
    read_json,
    remove_hidden,
    sha256_file,
    write_json,
    write_text,
)

ROOT = Path(__file__).parent.parent


def listing(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match="pipe.csv: a pipe or a device"):
        file_identity(tmp_path / "pipe.csv")


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert listing(path.parent) == ["a.txt"]


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old.bin").write_text("old")
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new.bin").write_text("new")
        assert listing(path) == ["old.bin"]
    assert listing(tmp_path) == ["model", "new.bin"]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_half_written(tmp_path, problem):
    with pytest.raises(problem), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise problem
    assert listing(tmp_path) == []


def test_an_exception_leaves_the_old_file_and_the_old_folder(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "part").write_text("old")
    for name in ("file", "folder"):
        with pytest.raises(ValueError), atomic_path(tmp_path / name) as half:
            half.mkdir()
            (half / "part").write_text("new")
            raise ValueError
    assert listing(tmp_path) == ["file", "folder", "part"]
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "folder" / "part").read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_that_names_the_final_path(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(UserError) as caught, atomic_path(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("too much")
    assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert listing(tmp_path) == []


def test_a_disk_that_is_full_at_the_renaming_leaves_nothing(
    tmp_path, monkeypatch
):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="a.txt: No space left"):
        write_text(tmp_path / "a.txt", "new")
    assert listing(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_full_disk_inside_a_folder_leaves_nothing(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(UserError, match="cannot write .*/model: No space"):
        with atomic_path(path) as temporary:
            temporary.mkdir()
            (temporary / "config.json").write_text("{}")
            inner = str(temporary / "weights.h5")
            raise OSError(errno.ENOSPC, "No space left on device", inner)
    assert listing(tmp_path) == []


def test_a_place_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(UserError, match=f"cannot write {path}: "):
        write_text(path, "text")


def test_an_error_about_another_file_is_not_taken_for_a_full_disk(tmp_path):
    missing = tmp_path / "input.csv"
    with pytest.raises(FileNotFoundError):
        with atomic_path(tmp_path / "output") as temporary:
            temporary.write_text("half")
            missing.read_text()
    assert listing(tmp_path) == []


def test_what_a_killed_process_left_behind_is_overwritten(tmp_path):
    # The same process id may come again.
    stale = tmp_path / f".a.{platform.node()}.{os.getpid()}.tmp"
    stale.mkdir()
    (stale / "half").write_text("half")
    write_text(tmp_path / "a", "whole")
    assert listing(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "whole"


def test_a_killed_process_leaves_the_old_file(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from keras_distill.files import atomic_path
        with atomic_path(Path(sys.argv[1])) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    path = tmp_path / "a"
    path.write_text("old")
    command = [sys.executable, "-c", script, str(path)]
    result = subprocess.run(command, cwd=ROOT)
    assert result.returncode == -9
    assert path.read_text() == "old"


def test_only_what_is_hidden_is_removed(tmp_path):
    for name in ("a", ".b.4711.tmp", "c/d", "c/.e/f/.g", "c/h.i"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    remove_hidden(tmp_path)
    assert listing(tmp_path) == ["a", "c", "d", "h.i"]


def test_json_keeps_its_values_and_its_letters(tmp_path):
    value = {"name": "Café", "rows": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "Café" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == 1


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "cannot read .*a.json: No such file"),
        (b'{"rows": 1', "a.json is not valid JSON"),
        (b'{"rows": "\xff"}', "a.json is not valid JSON"),
    ],
)
def test_a_file_that_is_no_json_is_named(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=reason):
        read_json(tmp_path / "a.json")


def test_the_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a").startswith("ba7816bf8f01cfea414140de")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(), VALUES))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value):
    backwards = dict(reversed(value.items()))
    assert fingerprint(backwards) == fingerprint(value)


@settings(deadline=None, max_examples=30)
@given(VALUES, VALUES)
def test_other_values_have_another_fingerprint(first, second):
    def canonical(value):
        return json.dumps(value, sort_keys=True)

    same = canonical(first) == canonical(second)
    assert (fingerprint(first) == fingerprint(second)) == same


def test_a_fingerprint_is_the_same_in_every_process():
    script = "from keras_distill.files import fingerprint as f\n"
    script += "print(f({'b': [1, 'é'], 'a': None}))"
    outputs = {
        subprocess.check_output(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            text=True,
        ).strip()
        for seed in ("1", "2")
    }
    assert outputs == {fingerprint({"a": None, "b": [1, "é"]})}


def test_a_file_is_told_by_name_and_content_not_by_its_place(tmp_path):
    for folder, content in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(content)
    here, there, other = (
        file_identity(tmp_path / folder / "t.csv") for folder in "abc"
    )
    assert here == there != other


def test_of_a_large_file_both_ends_and_the_size_count(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_HASH_WHOLE", 2**20)
    path = tmp_path / "vectors.bin"
    seen = []
    for head, size, tail in (
        (b"a", 2**22, b"z"),
        (b"b", 2**22, b"z"),
        (b"a", 2**22, b"y"),
        (b"a", 2**22 + 1, b"z"),
    ):
        path.write_bytes(head + bytes(size) + tail)
        seen.append(str(file_identity(path)))
    assert len(set(seen)) == 4


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="gone.csv: No such file"):
        file_identity(tmp_path / "gone.csv")


def test_a_checkpoint_is_told_by_its_files_and_a_hubs_name_stays(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    first = checkpoint_identity(str(tmp_path))
    (tmp_path / "notes.md").write_text("no part of the model")
    assert checkpoint_identity(str(tmp_path)) == first
    (tmp_path / "config.json").write_text("{ }")
    assert checkpoint_identity(str(tmp_path)) != first
    assert checkpoint_identity("bert-large-uncased") == "bert-large-uncased"
    assert checkpoint_identity(None) is None
