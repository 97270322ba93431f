"""Trials on a cluster of two nodes on this machine, one of them lost.

Needs Ray (`make test-ray`).
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from search_runs import make_run, trials, without_times, write_space
from tiny_runs import until

pytest.importorskip("ray")

from keras_distill.cluster import Ray  # noqa: E402
from keras_distill.files import read_json  # noqa: E402
from keras_distill.search.search import Limits, search  # noqa: E402
from keras_distill.search.settings import Request  # noqa: E402


def test_a_lost_node_changes_nothing_in_the_table(tmp_path, cluster, caplog):
    request = Request("grid", "", "accuracy", 2, None, None)
    found = {}

    def run_on(name, **limits):
        run = make_run(tmp_path / name)
        text = "student.lstm_units: [2, 3]"
        space = write_space(tmp_path, text)
        asked = Request(**{**vars(request), "space": str(space)})
        search(run, asked, Limits(**limits), False, lambda config: None)
        found[name] = without_times(trials(run))

    run_on("here", workers=1)
    with ThreadPoolExecutor(1) as thread:
        searching = thread.submit(run_on, "there", ray=Ray(cluster.address))
        work = tmp_path / "there" / "tuning" / "work"
        # Both seeds of the first trial, one on each node.
        until(lambda: len(list(work.glob("*/lock-*"))) == 2)
        cluster.remove_node(cluster.named["two"], allow_graceful=False)
        searching.result()
    assert "is lost with its process or its node" in caplog.text
    assert found["there"] == found["here"]
    assert len(found["there"]) == 2
    # The same folder, which goes on and is shown anywhere.
    tuning = tmp_path / "there" / "tuning"
    assert read_json(tuning / "search.json")["asked"]["--tuner"] == "grid"
    assert not list((tuning / "work").glob("*"))
