"""The files of docs/ray/, which no cloud has met here."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_runs import ROOT

ray = pytest.importorskip("ray")

DOCS = ROOT / "docs" / "ray"
# From KubeRay's rayjob_types.go and raycluster_types.go, ray.io/v1.
JOB = {"entrypoint", "shutdownAfterJobFinishes", "rayClusterSpec"}
CLUSTER = {
    *("rayVersion", "enableInTreeAutoscaling", "headGroupSpec"),
    "workerGroupSpecs",
}
GROUP = {
    *("groupName", "replicas", "minReplicas", "maxReplicas"),
    *("rayStartParams", "template"),
}


def test_ray_up_reads_the_cluster():
    import jsonschema

    path = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    cluster = yaml.safe_load((DOCS / "cluster.yaml").read_text())
    jsonschema.validate(cluster, json.loads(path.read_text()))
    assert cluster["head_node_type"] in cluster["available_node_types"]


def test_kuberay_knows_the_names_in_the_job():
    job, claim = yaml.safe_load_all((DOCS / "job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == CLUSTER
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert set(head) == {"rayStartParams", "template"}
    assert set(workers) == GROUP
    for group in (head, workers):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in spec["volumes"]}
        assert all(isinstance(v, str) for v in group["rayStartParams"].values())
    names = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in head["template"]["spec"]["volumes"]
    ]
    assert names == [claim["metadata"]["name"]]


def test_both_have_the_version_that_is_installed():
    wanted = (ROOT / "requirements-ray.txt").read_text()
    assert f"ray=={ray.__version__}" in wanted
    for path in (*DOCS.iterdir(), ROOT / "docs" / "ray.md"):
        assert ray.__version__ in path.read_text()
