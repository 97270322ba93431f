import math

import pytest

from keras_distill.search.records import (
    OBJECTIVES,
    best_trial,
    chosen_trial,
    may_be_chosen,
    pareto_front,
    smallest_trial,
)

ACCURACY = OBJECTIVES["accuracy"]


def trial(name, accuracy, size, cross_entropy=0.5, **metrics):
    return {
        "id": name,
        "status": "completed",
        "metrics": {
            "accuracy": accuracy,
            "cross_entropy": cross_entropy,
            "int8_bytes": size,
            "parameters": size,
            **metrics,
        },
    }


FOUR = [
    trial("a", 0.800, 100),
    trial("b", 0.810, 200),
    trial("c", 0.805, 300),
    trial("d", 0.812, 400),
]


def test_the_largest_accuracy_is_best():
    assert best_trial(FOUR, ACCURACY)["id"] == "d"


def test_a_tie_goes_to_the_lower_cross_entropy():
    tied = [trial("a", 0.8, 1, 0.6), trial("b", 0.8, 9, 0.4)]
    assert best_trial(tied, ACCURACY)["id"] == "b"


def test_the_lowest_loss_is_best():
    tied = [trial("a", 0.9, 1, 0.6), trial("b", 0.8, 9, 0.4)]
    assert best_trial(tied, OBJECTIVES["loss"])["id"] == "b"


def test_a_metric_that_is_unknown_or_nan_never_wins():
    records = [
        trial("a", None, 1),
        trial("b", math.nan, 1),
        trial("c", 0.1, 1),
    ]
    assert best_trial(records, ACCURACY)["id"] == "c"


@pytest.mark.parametrize(
    ("within", "name"), [(0, "d"), (0.2, "b"), (1.19, "b"), (1.2, "a")]
)
def test_the_smallest_within_some_points_is_named(within, name):
    assert smallest_trial(FOUR, ACCURACY, within)["id"] == name


def test_points_are_hundredths_and_of_a_loss_they_are_nats():
    assert ACCURACY.reach(0.5) == "0.5 points"
    assert OBJECTIVES["loss"].reach(0.5) == "0.005 nats"


def test_pareto_chooses_the_smallest_near_the_best():
    pareto = OBJECTIVES["pareto"]
    assert chosen_trial(FOUR, pareto, 0.5)["id"] == "b"
    assert chosen_trial(FOUR, ACCURACY, 0.5)["id"] == "d"


def test_the_front_holds_what_no_other_beats_in_both():
    front = pareto_front(FOUR, ACCURACY, "int8_bytes")
    assert [one["id"] for one in front] == ["a", "b", "d"]


def test_a_trial_of_unknown_size_is_not_on_the_front():
    records = [trial("a", 0.9, None), trial("b", 0.8, 5)]
    front = pareto_front(records, ACCURACY, "int8_bytes")
    assert [one["id"] for one in front] == ["b"]


def test_only_the_students_that_can_still_win_are_kept():
    assert may_be_chosen(FOUR, ACCURACY, 0.5) == {"d"}
    kept = may_be_chosen(FOUR, OBJECTIVES["pareto"], 0.5)
    assert kept == {"a", "b", "d"}
    assert may_be_chosen([], ACCURACY, 0.5) == set()
