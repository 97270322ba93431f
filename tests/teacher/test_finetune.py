"""Updates, the grid, and going on after a kill; see teacher_process.py."""

import math

import pytest

# With test_label.py: their scenarios share a process.
pytestmark = [pytest.mark.whole, pytest.mark.xdist_group("teacher")]


@pytest.fixture
def facts(scenarios):
    return scenarios["scenario_training.training"]


@pytest.fixture
def resumed(scenarios):
    """Killed while the first epoch was measured, then started again."""
    return scenarios["scenario_resume.resumed"]


def test_the_learning_rate_warms_up_and_decays_linearly(facts):
    # 10 updates, peak 4, of which int(0.3 * 10) = 3 warm up.
    expected = [1, 2, 3, *(4 * left / 7 for left in range(7, 0, -1))]
    assert facts["schedule"] == pytest.approx(expected)


def test_without_warmup_the_learning_rate_starts_at_its_peak(facts):
    assert facts["no_warmup"] == [4, 3, 2, 1]


def test_with_nothing_but_warmup_the_learning_rate_only_rises(facts):
    assert facts["all_warmup"] == [1, 2, 3]


def test_accumulation_gives_the_update_of_the_whole_batch(facts):
    # 7 rows in 4 parts: the row that fills up must weigh nothing.
    way = facts["updates"]["accumulation_4"]
    assert way["loss"] < 1e-5
    assert way["change"] < 1e-4


def test_two_devices_give_the_update_of_one(facts):
    # 7 rows on 2 devices in 2 parts each.
    way = facts["updates"]["two_devices"]
    assert way["loss"] < 1e-5
    assert way["change"] < 1e-4


def test_scaled_float16_gives_about_the_update_of_float32(facts):
    way = facts["updates"]["float16"]
    assert way["loss"] < 1e-2
    assert way["change"] < 0.05


def test_clipping_changes_the_update(facts):
    assert facts["updates"]["no_clipping"]["change"] > 0.05


def test_training_lowers_the_loss(facts):
    first, second = facts["first_losses"]
    assert second < first


def test_the_grid_keeps_the_best_rate_and_epoch_on_select(facts):
    rows = [r for r in facts["grid"]["rows"] if not r["diverged"]]
    best = facts["grid"]["best"]
    assert best == max(rows, key=lambda row: row["f1"])
    assert best["learning_rate"] == 3e-2
    assert best["f1"] > 0.8


def test_the_kept_checkpoint_is_that_of_the_best_row(facts):
    for name in ("accuracy", "f1", "mcc"):
        assert facts["best"][name] == facts["grid"]["best"][name]
    entropy = facts["grid"]["best"]["cross_entropy"]
    assert facts["best"]["cross_entropy"] == pytest.approx(entropy, abs=1e-5)


def test_every_rate_and_epoch_has_its_row(facts):
    found = [(r["learning_rate"], r["epoch"]) for r in facts["grid"]["rows"]]
    trained = [(rate, epoch) for rate in (3e-2, 1e-9) for epoch in (1, 2, 3)]
    assert found == [*trained, (1e30, 1)]


def test_a_rate_that_diverges_is_given_up(facts):
    row = facts["grid"]["rows"][-1]
    assert row["diverged"]
    assert row["loss"] is None


def test_a_finished_grid_is_not_trained_again(facts):
    assert facts["again"]["equal"]
    assert facts["again"]["seconds"] < 0.5


def test_a_finished_grid_leaves_no_checkpoints_to_resume_from(facts):
    assert facts["work"] == ["best", "grid.json"]


def test_each_rate_has_its_own_tensorboard_run(facts):
    assert facts["logs"] == ["lr-0.03", "lr-1e+30", "lr-1e-09"]


def test_a_teacher_that_diverges_at_every_rate_is_an_error(facts):
    assert facts["hopeless"] == (
        "the teacher diverged at every learning rate of [1e+30]: try lower "
        "ones with --teacher-lr"
    )


@pytest.mark.parametrize("what", ["teacher", "checkpoint"])
def test_a_full_disk_is_one_clear_line(facts, what):
    message = facts["full_disk"][what]
    assert message.startswith("cannot write ")
    assert "File too large" in message
    assert "\n" not in message


def test_a_full_disk_leaves_no_half_teacher(facts):
    assert facts["full_disk"]["left"] == []


def test_a_killed_training_goes_on_where_it_was(resumed):
    # 6 steps an epoch; the last one waits for its measurement.
    assert resumed["left_by_kill"] == ["resume"]
    assert resumed["said"][0] == "resumed at step 5"


def test_a_killed_training_ends_as_an_uninterrupted_one(resumed):
    assert resumed["codes"] == [0, 0]
    assert resumed["difference"] < 1e-4


def test_a_killed_training_measures_every_epoch(resumed):
    killed, reference = (grid["rows"] for grid in resumed["grids"])
    assert [row["epoch"] for row in killed] == [1, 2]
    for row, other in zip(killed, reference, strict=True):
        assert math.isclose(
            row["cross_entropy"], other["cross_entropy"], abs_tol=1e-4
        )


def test_a_killed_training_has_every_point_of_its_curves_once(resumed):
    # The loss comes with every tenth update; the run went on after 5 of 12.
    curves = {tag: sorted(steps) for tag, steps in resumed["curves"].items()}
    updates = dict.fromkeys(("loss", "learning_rate"), [1, 11])
    epochs = dict.fromkeys(
        (
            *("accuracy", "f1", "mcc", "cross_entropy"),
            *("examples_per_s", "seconds_per_epoch"),
        ),
        [6, 12],
    )
    expected = {f"teacher/{k}": v for k, v in (updates | epochs).items()}
    expected["teacher/loss"] = [1, 2, 11]
    assert curves == expected


def test_a_finished_teacher_leaves_no_work_behind(resumed):
    assert "work" not in resumed["files"]
    assert {"grid.json", "teacher.json", "config.json"} < set(resumed["files"])


def test_a_fine_tuned_checkpoint_is_measured_and_taken(resumed):
    given, reference = resumed["given"], resumed["grids"][1]["best"]
    assert given["code"] == 0
    assert given["rows"] == []
    assert given["cross_entropy"] == pytest.approx(
        reference["cross_entropy"], abs=1e-5
    )
    assert given["files"] == resumed["files"]
