"""Which runs of a grid become members, and where they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_distill.config import TeacherConfig
from keras_distill.files import read_json, write_json
from keras_distill.teacher.members import (
    best_rows,
    install,
    kept,
    member_folders,
    member_sources,
    run_name,
)


def row(index, epoch, score, loss=0.5, diverged=False):
    found = {"index": index, "epoch": epoch, "diverged": diverged}
    if not diverged:
        found |= {"accuracy": score, "cross_entropy": loss}
    return found


def chosen(rows, names=1, rates=3, ensemble=None):
    settings = TeacherConfig(
        names=[f"t{i}" for i in range(names)],
        learning_rates=[10.0**-i for i in range(rates)],
        ensemble=ensemble,
    )
    found = best_rows(rows, settings, "accuracy")
    return [(one["index"], one["epoch"]) for one in found]


GRID = [
    *(row(0, 1, 0.7), row(0, 2, 0.9)),
    *(row(1, 1, 0.8), row(1, 2, 0.85)),
    *(row(2, 1, 0.95), row(2, 2, None, diverged=True)),
]


def test_without_a_number_the_best_run_labels_alone():
    assert chosen(GRID) == [(2, 1)]


def test_of_each_run_only_the_best_epoch_is_a_candidate():
    assert chosen(GRID, ensemble=2) == [(2, 1), (0, 2)]
    assert chosen(GRID, ensemble=3) == [(2, 1), (0, 2), (1, 2)]


def test_of_several_teachers_each_gives_its_best_run():
    assert chosen(GRID, names=3, rates=1) == [(2, 1), (0, 2), (1, 2)]
    assert chosen([*GRID, row(3, 1, 0.1)], names=2, rates=2) == [
        *((2, 1), (0, 2))
    ]
    # With a number names do not count.
    four = [*GRID, row(3, 1, 0.1)]
    assert chosen(four, names=2, rates=2, ensemble=3) == [
        *((2, 1), (0, 2), (1, 2))
    ]


def test_of_equal_runs_the_surer_one_and_then_the_first_is_better():
    rows = [row(0, 1, 0.9, 0.4), row(1, 1, 0.9, 0.3), row(2, 1, 0.9, 0.4)]
    assert chosen(rows, ensemble=3) == [(1, 1), (0, 1), (2, 1)]
    # A row that was made again comes last.
    assert chosen(rows[::-1], ensemble=3) == [(1, 1), (0, 1), (2, 1)]


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=12, max_size=12),
    st.integers(1, 4),
)
def test_what_is_a_member_in_the_end_was_one_when_it_was_made(scores, count):
    """So only members need to be kept while a grid is trained."""
    rows = [row(i // 3, i % 3, score) for i, score in enumerate(scores)]
    on_disk = {}
    for last in range(1, 13):
        members = chosen(rows[:last], rates=4, ensemble=count)
        made = (rows[last - 1]["index"], rows[last - 1]["epoch"])
        if made in members:
            on_disk[made[0]] = made[1]
        runs = {index for index, _ in members}
        on_disk = {i: epoch for i, epoch in on_disk.items() if i in runs}
    assert on_disk == dict(chosen(rows, rates=4, ensemble=count))


def test_runs_of_several_teachers_have_names_of_their_own():
    settings = TeacherConfig(names=["a/bert", "b/bert"], learning_rates=[1e-5])
    names = [run_name(settings, index) for index in range(2)]
    assert names == ["1-bert-lr-1e-05", "2-bert-lr-1e-05"]
    assert run_name(TeacherConfig(), 0) == "lr-2e-05"


def work_of(folder, *lower):
    work = folder / "work"
    for index, folds in enumerate(lower):
        place = kept(work, index)
        write_json(place / "teacher.json", {"lower_case": folds, "n": index})
        (place / "config.json").write_text(str(index))
    return work


def installed(folder):
    return [
        (place / "config.json").read_text() for place in member_folders(folder)
    ]


def test_the_best_member_lies_in_the_teacher_s_own_folder(tmp_path):
    work = work_of(tmp_path, *[True] * 12)
    order = np.random.default_rng(0).permutation(12).tolist()
    install(work, tmp_path, [row(index, 1, 0.5) for index in order])
    assert installed(tmp_path) == list(map(str, order))
    second = tmp_path / "members" / "2" / "teacher.json"
    assert read_json(second)["n"] == order[1]
    assert list(work.iterdir()) == [kept(work, order[0])]


def test_one_alone_has_no_folder_of_members(tmp_path):
    install(work_of(tmp_path, True), tmp_path, [row(0, 1, 0.5)])
    assert member_folders(tmp_path) == [tmp_path]
    assert not (tmp_path / "members").exists()


@pytest.mark.parametrize("done", range(5))
def test_a_kill_between_two_moves_leaves_nothing_out(
    tmp_path, monkeypatch, done
):
    from keras_distill.teacher import members

    work, order = work_of(tmp_path, True, True, True), [1, 0, 2]
    rows = [row(index, 1, 0.5) for index in order]
    moved = []

    def replace(source, target, move=members.os.replace):
        if len(moved) == done:
            raise KeyboardInterrupt
        moved.append(target)
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(members.os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            install(work, tmp_path, rows)
    install(work, tmp_path, rows)
    assert installed(tmp_path) == ["1", "0", "2"]


@pytest.mark.parametrize(
    "lower, student",
    [([True, True], True), ([True, False], False), ([False, True], False)],
)
def test_the_student_keeps_case_if_one_member_does(tmp_path, lower, student):
    rows = [row(index, 1, 0.5) for index in range(2)]
    work = work_of(tmp_path, *lower)
    install(work, tmp_path, rows)
    # Again, as after a kill.
    kept(work, 0).mkdir(exist_ok=True)
    install(work, tmp_path, rows)
    facts = [
        read_json(place / "teacher.json") for place in member_folders(tmp_path)
    ]
    assert facts[0] == {"lower_case": student, "n": 0}
    assert facts[1] == {"lower_case": lower[1], "n": 1}


def test_each_member_s_source_is_told_by_the_grid(tmp_path):
    rows = [row(3, 1, 0.9), row(0, 1, 0.8)]
    write_json(
        tmp_path / "grid.json", {"best": rows[0], "members": rows, "rows": []}
    )
    settings = TeacherConfig(names=["a", "b"], learning_rates=[1e-5, 2e-5])
    assert member_sources(settings, tmp_path) == ["b", "a"]
    settings = TeacherConfig(checkpoints=["a", "b", "c", "d"])
    assert member_sources(settings, tmp_path) == ["d", "a"]
    # Of one name the grid need not be read.
    settings = TeacherConfig(names=["a"], ensemble=2)
    assert member_sources(settings, tmp_path / "none") == ["a", "a"]
