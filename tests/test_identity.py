import pytest

from keras_distill import files as identity
from keras_distill.errors import UserError
from keras_distill.files import checkpoint_identity, file_identity


def test_a_file_is_told_by_name_and_content_not_by_its_place(tmp_path):
    for folder, content in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(content)
    here, there, other = (
        file_identity(tmp_path / folder / "t.csv") for folder in "abc"
    )
    assert here == there != other


def test_of_a_large_file_both_ends_and_the_size_count(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "_HASH_WHOLE", 2**20)
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
