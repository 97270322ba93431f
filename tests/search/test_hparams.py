import pytest
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard_events import events, scalars
from tensorboard_runs import trials, write_trials

from keras_distill.errors import UserError
from keras_distill.search.hparams import write_hparams


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_trials(folder)
    write_hparams(folder)
    return folder


def protos(folder):
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            data = value.metadata.plugin_data
            if data.plugin_name == metadata.PLUGIN_NAME:
                proto = plugin_data_pb2.HParamsPluginData.FromString(
                    data.content
                )
                assert value.tag not in found
                found[value.tag] = proto
    return found


def experiment(run):
    (proto,) = protos(run / "logs" / "tuning").values()
    return proto.experiment


def session(run, trial):
    found = protos(run / "logs" / "tuning" / trial)
    return (
        found[metadata.SESSION_START_INFO_TAG].session_start_info,
        found[metadata.SESSION_END_INFO_TAG].session_end_info,
    )


def test_the_experiment_names_parameters_and_their_choices(run):
    infos = {info.name: info for info in experiment(run).hparam_infos}
    units = infos["student.lstm_units"]
    # Longer names would overlap above the axes of the page.
    assert units.display_name == "lstm_units"
    assert units.type == api_pb2.DATA_TYPE_FLOAT64
    assert list(units.domain_discrete) == [4, 150, 300]
    rate = infos["student.learning_rate"]
    assert list(rate.domain_discrete) == ["none"]


def test_the_metrics_that_decide_come_first(run):
    names = [info.display_name for info in experiment(run).metric_infos]
    assert names == [
        *("accuracy", "f1", "agreement", "int8_bytes", "latency_ms"),
        *("cross_entropy", "parameters", "seconds"),
    ]


def test_every_trial_is_a_session_with_its_values(run):
    for trial in trials():
        start, _ = session(run, trial["id"])
        assert start.group_name == trial["id"]
        for name in ("student.lstm_units", "student.hidden_units"):
            found = start.hparams[name].number_value
            assert found == trial["hyperparameters"][name]


def test_every_metric_of_the_experiment_is_a_scalar_of_the_session(run):
    tags = [info.name.tag for info in experiment(run).metric_infos]
    for trial in trials()[:4]:
        found = scalars(run / "logs" / "tuning" / trial["id"])
        assert set(found) == set(tags)
        for name in ("accuracy", "parameters"):
            ((step, value),) = found[f"trial/{name}"]
            assert step == 0
            assert value == pytest.approx(trial["metrics"][name])
        ((_, seconds),) = found["trial/seconds"]
        assert seconds == trial["seconds"]


def test_a_failed_trial_is_marked_and_has_no_metrics(run):
    states = [session(run, t["id"])[1].status for t in trials()]
    assert states == 4 * [api_pb2.STATUS_SUCCESS] + [api_pb2.STATUS_FAILURE]
    assert set(scalars(run / "logs/tuning/0004")) == {"trial/seconds"}


def test_a_session_lasts_as_long_as_the_trial_did(run):
    start, end = session(run, "0001")
    assert end.end_time_secs - start.start_time_secs == pytest.approx(61, abs=1)


def test_written_again_the_trials_replace_the_old_ones(tmp_path):
    write_trials(tmp_path)
    write_hparams(tmp_path)
    # A trial's own curves lie beside.
    curve = tmp_path / "logs/tuning/0000/student-distilled/x.tfevents.1"
    curve.parent.mkdir()
    curve.touch()
    changed = trials()
    changed[0]["metrics"]["accuracy"] = 0.5
    write_trials(tmp_path, changed)
    write_hparams(tmp_path)
    assert len(list((tmp_path / "logs/tuning").glob("*.tfevents.*"))) == 1
    found = scalars(tmp_path / "logs/tuning/0000")
    assert found["trial/accuracy"] == [(0, 0.5)]
    session(tmp_path, "0000")
    assert curve.is_file()


def test_many_values_are_a_range_and_mixed_ones_are_texts(tmp_path):
    many = [
        {
            **trials()[0],
            "id": f"t{i}",
            "hyperparameters": {
                "student.dropout": 0.01 * i,
                "student.batch_size": 10 + i,
                "student.patience": i or None,
                "student.loss": "kl" if i else "mse",
                "student.word_pieces": i > 3,
            },
        }
        for i in range(12)
    ]
    write_trials(tmp_path, many)
    write_hparams(tmp_path)
    infos = {i.name: i for i in experiment(tmp_path).hparam_infos}
    for name, least, most in (
        ("student.dropout", 0, 0.11),
        ("student.batch_size", 10, 21),
    ):
        interval = infos[name].domain_interval
        assert interval.min_value == pytest.approx(least)
        assert interval.max_value == pytest.approx(most)
    assert "none" in list(infos["student.patience"].domain_discrete)
    assert list(infos["student.loss"].domain_discrete) == ["kl", "mse"]
    assert infos["student.word_pieces"].type == api_pb2.DATA_TYPE_BOOL
    start, _ = session(tmp_path, "t0")
    assert start.hparams["student.patience"].string_value == "none"
    assert start.hparams["student.word_pieces"].bool_value is False


def test_a_missing_list_of_trials_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*trials\.json"):
        write_hparams(tmp_path)


@pytest.mark.parametrize(
    "content, match",
    [
        ({}, "expected a list of trials"),
        ([{"id": "0"}], "trial 0 has no field status"),
    ],
)
def test_a_damaged_list_of_trials_is_named(tmp_path, content, match):
    write_trials(tmp_path, content)
    with pytest.raises(UserError, match=match):
        write_hparams(tmp_path)


def test_logs_that_cannot_be_written_are_named(tmp_path):
    write_trials(tmp_path)
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(UserError, match="cannot write .*logs/tuning"):
        write_hparams(tmp_path)
