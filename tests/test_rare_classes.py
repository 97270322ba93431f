"""A class of 5 rows among six is not lost in silence: whole, tiny runs."""

import csv
import random

import pytest
import tiny_runs
from conftest import ADAM

from keras_distill.files import read_json

pytestmark = pytest.mark.whole

# By class the words that decide it. Most texts with the rare one's
# word are of another class: to answer that is right most of the time.
CLASSES = {
    **{"good": "great lovely superb charming", "bad": "awful dull bland rude"},
    **{"warm": "tasty warm", "old": "stale weak", "new": "fresh brilliant"},
    "rare": "great",
}
RARE, MANY = 5, 60
COMMON = (
    *(*tiny_runs.SMALL, *ADAM, "--task", "custom", "--recipe", "paper"),
    *("--teacher-epochs", "6", "--set", "data.select_on=heldout"),
)


def write_six(folder):
    """Write six classes, one of them rare: train, and a test with 3 of it."""
    rng = random.Random(5)
    for split, many, rare in (("train", MANY, RARE), ("test", 12, 3)):
        rows = [
            (tiny_runs.sentence(rng, rng.choice(words.split())), name)
            for name, words in CLASSES.items()
            for _ in range(rare if name == "rare" else many)
        ]
        rng.shuffle(rows)
        with open(folder / f"{split}.csv", "w", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
    return (
        *("--train-file", folder / "train.csv"),
        *("--test-file", folder / "test.csv"),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("six")


@pytest.fixture(scope="module")
def run(place, tiny_bert):
    """Run train.py in one folder, perhaps with more flags."""
    data = write_six(place)

    def run(*more):
        result = tiny_runs.run_here(
            *("train.py", *COMMON, *data, "--teacher", tiny_bert, *more),
            *("--output-dir", place / "run"),
        )
        assert result.returncode == 0, result.stderr
        return result, read_json(place / "run" / "results.json")

    return run


def test_the_report_points_at_the_rare_class(run, place):
    result, results = run()
    rows = {
        name: f["rows"] for name, f in results["per_class"]["train"].items()
    }
    # Some were held out to choose on, not all.
    assert 1 <= rows["rare"] < RARE
    student = results["per_class"]["test"]["rare"]["student"]
    assert (student["recall"], student["answers"]) == (0.0, 0)
    (sentence,) = results["lost_classes"].values()
    assert sentence.startswith(
        f"class rare ({rows['rare']} rows in train, 3 in test): the student "
        "never answers it"
    )
    assert "--class-weights balanced and --balance may help" in sentence
    card = (place / "run" / "README.md").read_text("utf-8")
    for text in (result.stdout, card):
        assert "class rare" in text and "--balance may help." in text


def test_what_may_help_reaches_every_stage(run, place):
    knobs = ("--class-weights", "balanced", "--balance")
    result, _ = run(
        *(*knobs, "--select-metric", "macro_f1", "--redo"),
        *("--stages", "data,teacher,augment,label,vocabulary,student"),
    )
    assert "data: done before, skipped" in result.stderr
    assert "augment: done before, skipped" in result.stderr
    assert "--class-weights are of gold labels" in result.stderr
    settings = {
        name: read_json(place / "run" / name / "stage.json")["settings"]
        for name in ("teacher", "student")
    }
    # The students draw all classes alike, and balanced weights are done.
    assert settings["teacher"]["class_weights"] == ["balanced"]
    assert settings["student"]["balance"]
    assert "class_weights" not in settings["student"]
    grid = read_json(place / "run" / "teacher" / "grid.json")
    scores = [row["macro_f1"] for row in grid["rows"]]
    assert grid["best"]["macro_f1"] == max(scores)
    assert "class rare: " in result.stderr and " an epoch" in result.stderr
