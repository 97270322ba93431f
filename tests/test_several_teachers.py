"""Whole runs whose teacher is several: two of two names, two of one grid."""

import numpy as np
import pytest
import tiny_runs
import yaml

from keras_distill.files import read_json
from keras_distill.transfer_set.record import read_rows

pytestmark = pytest.mark.whole

SPLITS = ("dev", "select")


@pytest.fixture(scope="module")
def second_bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("berts") / "second"
    result = tiny_runs.run(tiny_runs.__file__, folder, 1)
    assert result.returncode == 0, result.stderr
    return folder


def small(folder, *arguments):
    """The command of a run of one pass."""
    data = tiny_runs.write_sst2(folder / "glue")
    return (
        *("train.py", *tiny_runs.SMALL, "--task", "sst2", "--data-dir", data),
        *("--n-iter", "1", "--epochs", "2", "--output-dir", folder / "run"),
        *("--set", "baseline.enabled=false"),
        *arguments,
    )


@pytest.fixture(scope="module")
def two_names(tiny_bert, second_bert, tmp_path_factory):
    """Killed between two members, continued."""
    folder = tmp_path_factory.mktemp("names")
    command = small(
        folder,
        *("--teacher", tiny_bert, "--teacher", second_bert),
        *("--embeddings", "teacher", "--teacher-epochs", "2"),
        *("--set", "student.embedding_dim=32"),
    )
    # The other member has its place, the best one has not yet.
    tiny_runs.killed("*/members/2", 1, "after", *command)
    assert not (folder / "run" / "teacher").exists()
    result = tiny_runs.run_here(*command)
    assert result.returncode == 0, result.stderr
    return folder / "run", result


@pytest.fixture(scope="module")
def two_rates(tiny_bert, tmp_path_factory):
    """The two best of three runs."""
    folder = tmp_path_factory.mktemp("rates")
    command = small(
        folder,
        *("--teacher", tiny_bert, "--teacher-ensemble", "2"),
        *("--teacher-lr", "3e-3,1e-9,2e-3", "--teacher-epochs", "2"),
        *("--stages", "data,teacher,augment,label"),
    )
    result = tiny_runs.run_here(*command)
    assert result.returncode == 0, result.stderr
    return folder / "run", result


def test_each_member_s_scores_and_the_ensemble_s_are_in_the_results(two_names):
    path, _ = two_names
    teacher = read_json(path / "results.json")["teacher"]
    assert len(teacher["members"]) == 2
    for member in teacher["members"]:
        for split in SPLITS:
            assert 0 < member[split]["accuracy"] <= 1
    grid = read_json(path / "teacher" / "grid.json")
    for member, row in zip(teacher["members"], grid["members"], strict=True):
        assert member["learning_rate"] == row["learning_rate"]
        # What chose it, measured once more from the labelling.
        expected = pytest.approx(row["accuracy"])
        assert member["select"]["accuracy"] == expected
    for split in SPLITS:
        file = path / "transfer_set" / f"{split}.tfrecord"
        rows = read_rows([file], False, 2)
        right = np.mean(rows.teacher_logits.argmax(-1) == rows.labels)
        assert teacher[split]["accuracy"] == pytest.approx(right)
    for key in ("parameters", "bytes"):
        each = [member[key] for member in teacher["members"]]
        assert teacher[key] == sum(each) > max(each)


def test_table_and_card_show_them(two_names):
    path, result = two_names
    card = (path / "README.md").read_text()
    for name in ("teacher 1", "teacher 2", "teachers, mean of 2"):
        assert f"\n{name}" in result.stdout
        assert f"| {name} " in card
    assert "the mean logits of 2 teachers" in card


@pytest.mark.parametrize("run", ["two_names", "two_rates"])
def test_the_manifest_tells_each_teacher(run, request):
    path, _ = request.getfixturevalue(run)
    manifest = read_json(path / "transfer_set" / "manifest.json")
    prints = {teacher["fingerprint"] for teacher in manifest["teachers"]}
    assert len(prints) == 2
    assert manifest["teacher_fingerprint"] not in prints


def test_two_names_give_a_member_each(two_names):
    path, _ = two_names
    teacher = read_json(path / "results.json")["teacher"]
    names = {member["name"] for member in teacher["members"]}
    assert names == {"bert", "second"}
    assert not (path / "teacher" / "work").exists()
    # The best of them gives the words their vectors.
    words = len((path / "vectors" / "words.txt").read_text().splitlines())
    assert np.load(path / "vectors" / "vectors.npy").shape == (words, 32)


def test_the_two_best_rates_label_and_the_third_is_not_kept(two_rates):
    path, _ = two_rates
    grid = read_json(path / "teacher" / "grid.json")
    runs = {member["index"] for member in grid["members"]}
    assert len(runs) == 2
    lost = [row for row in grid["rows"] if row["index"] not in runs]
    assert len(lost) == 2
    least = min(member["accuracy"] for member in grid["members"])
    assert max(row["accuracy"] for row in lost) <= least
    weights = sorted((path / "teacher").rglob("model.safetensors"))
    assert len(weights) == 2


def test_a_run_of_several_is_not_made_again(two_rates):
    path, _ = two_rates
    again = tiny_runs.run_here(
        *("train.py", "--config", path / "config.yaml"),
        *("--output-dir", path, "--stages", "data,teacher"),
    )
    assert again.returncode == 0
    assert "teacher: done before, skipped" in again.stderr
    config = yaml.safe_load((path / "config.yaml").read_text())
    assert config["teacher"]["ensemble"] == 2
