import pytest
from report_runs import write_run
from tiny_runs import run_here

from keras_distill import pipeline
from keras_distill.errors import UserError
from keras_distill.student import profile
from keras_distill.student.profile import profile_training


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, write_run(folder)


def test_a_profile_of_some_updates_is_left(run):
    folder, config = run
    # The fixture's student has its words, the run's vocabulary has none.
    (folder / "vocabulary" / "vocab.txt").write_bytes(
        (folder / "student" / "vocab.txt").read_bytes()
    )
    before = sorted(p.name for p in (folder / "student").iterdir())
    place = profile_training(config, folder)
    assert place == folder / "logs" / "profile"
    (profile,) = place.glob("plugins/profile/*/*.xplane.pb")
    content = profile.read_bytes()
    assert b"train" in content and b"MatMul" in content
    assert sorted(p.name for p in (folder / "student").iterdir()) == before


def test_a_new_profile_replaces_the_old_one(run):
    folder, config = run
    for _ in range(2):
        profile_training(config, folder)
    assert len(list((folder / "logs").rglob("*.xplane.pb"))) == 1


def test_a_run_without_student_is_refused(tmp_path):
    config = write_run(tmp_path)
    (tmp_path / "student" / "text.json").unlink()
    with pytest.raises(UserError, match=r"cannot read .*student/text\.json"):
        profile_training(config, tmp_path)


@pytest.mark.parametrize("flags, profiles", [((), 0), (("--profile",), 1)])
def test_train_py_profiles_when_told_to(tmp_path, monkeypatch, flags, profiles):
    done = []
    monkeypatch.setattr(pipeline.Pipeline, "run", lambda *_, **__: None)
    monkeypatch.setattr(
        profile, "profile_training", lambda _, run_dir: done.append(run_dir)
    )
    result = run_here(
        "train.py", "--stages", "data", "--output-dir", tmp_path, *flags
    )
    assert result.returncode == 0, result.stderr
    assert done == [tmp_path] * profiles
