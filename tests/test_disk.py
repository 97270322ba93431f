"""What a run needs of the disk, and what there is."""

import os
import shutil
from collections import namedtuple

import pytest

from keras_distill.config import config_from_dict
from keras_distill.disk import check_room, check_writable, needed
from keras_distill.errors import UserError

Usage = namedtuple("Usage", "total used free")
ROWS = {"train": 10_000, "select": 500, "dev": 800, "unlabeled": 1000}
FACTS = {"text_bytes": 50.0, "vocabulary": 10_000}


def bytes_of(pair=False, weights=(10**8,), **values):
    values.setdefault("augmentation", {"n_iter": 10})
    config = config_from_dict(values)
    return needed(config, ROWS, 2, pair, FACTS, weights)


def test_every_copy_of_a_text_is_a_row_of_the_transfer_set():
    once, ten = (
        bytes_of(augmentation={"n_iter": n})["transfer set"] for n in (0, 10)
    )
    assert once == 12_300 * (50 + 135 + 8)
    assert ten - once == 100_000 * (50 + 135 + 8)


@pytest.mark.parametrize(
    "pair, copies", [(False, 10 + 3 + 2), (True, 10 + 3 + 5)]
)
def test_the_operators_beyond_the_paper_add_rows(pair, copies):
    settings = {"n_iter": 10, "neighbours": 3, "joined": 2, "mined": 5}
    found = bytes_of(pair, augmentation=settings)
    assert found["augmented text"] == 10_000 * copies * 20
    unlabeled = bytes_of(pair, augmentation=settings | {"unlabeled": True})
    assert unlabeled["augmented text"] == 11_000 * copies * 20


def test_a_teacher_that_is_fine_tuned_has_checkpoints_beside_it():
    assert bytes_of()["teacher"] == 7 * 10**8
    # On the hub yet.
    assert bytes_of(weights=[])["teacher"] == 0
    given = bytes_of(teacher={"checkpoints": ["bert"]})
    assert given["teacher"] == 2 * 10**8


def test_of_several_teachers_each_is_kept_and_one_is_trained_at_a_time():
    sizes = [10**8, 3 * 10**8]
    two = bytes_of(weights=sizes, teacher={"names": ["a", "b"]})
    assert two["teacher"] == 6 * 3 * 10**8 + 4 * 10**8
    # All three may come to be the large one's.
    best = {"names": ["a", "b"], "ensemble": 3}
    assert bytes_of(weights=sizes, teacher=best)["teacher"] == 9 * 3 * 10**8
    given = bytes_of(weights=sizes, teacher={"checkpoints": ["a", "b"]})
    assert given["teacher"] == 8 * 10**8


def test_each_seed_is_a_student_and_its_baseline():
    one = bytes_of()["students"]
    two = bytes_of(student={"extra_seeds": 1})["students"]
    alone = bytes_of(baseline=False)["students"]
    assert two - one == 2 * (one - alone) > 0


@pytest.fixture
def free(monkeypatch):
    """Return a function that says how many bytes are free."""

    def set_free(free):
        usage = Usage(10**12, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)

    return set_free


def test_room_enough_is_a_line_without_a_warning(tmp_path, free):
    free(10**10)
    line, warning = check_room(tmp_path / "run", {"a": 10**9, "b": 10**8})
    assert line == "about 1.1 GB needed, 10.0 GB free"
    assert warning is None


def test_a_tight_disk_is_a_warning_with_the_numbers(tmp_path, free):
    free(12 * 10**8)
    parts = {"teacher": 10**9, "students": 10**8}
    _, warning = check_room(tmp_path / "run", parts)
    assert "about 1.1 GB on disk (the most for teacher: 1.0 GB)" in warning
    assert "found 1.2 GB, which is tight; make room" in warning


def test_a_disk_far_too_small_stops_the_run(tmp_path, free):
    free(5 * 10**8)
    with pytest.raises(UserError) as caught:
        check_room(tmp_path / "run", {"teacher": 2 * 10**9})
    message = str(caught.value)
    assert str(tmp_path / "run") in message
    assert "about 2.0 GB" in message and "found 500 MB; make room" in message
    assert "--n-iter" in message


def test_what_the_run_holds_already_is_not_needed_again(tmp_path, free):
    free(10**10)
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "weights").write_bytes(bytes(10**6))
    line, _ = check_room(tmp_path, {"teacher": 3 * 10**6})
    assert line.startswith("about 2.0 MB needed")


def test_a_folder_that_can_be_made_is_not(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is no folder"):
        check_writable(tmp_path / "file" / "run")
    # Root may write anywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="no right to write in") as caught:
        check_writable(tmp_path / "run")
    assert "--output-dir" in str(caught.value)
