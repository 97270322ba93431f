"""The files of docs/ray/, which no cloud has met here."""

import json
import re
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
    job = yaml.safe_load((DOCS / "job.yaml").read_text())
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
        (runs,) = spec["volumes"]
        assert runs["persistentVolumeClaim"] == {"claimName": "runs"}


def test_the_claim_is_the_job_s_and_the_pod_to_copy_by_mounts_it():
    claim, pod = yaml.safe_load_all((DOCS / "runs.yaml").read_text())
    assert (claim["kind"], pod["kind"]) == ("PersistentVolumeClaim", "Pod")
    assert claim["metadata"]["name"] == "runs"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (runs,) = pod["spec"]["volumes"]
    assert runs["persistentVolumeClaim"] == {"claimName": "runs"}


@pytest.mark.parametrize("name", ["cluster.yaml", "job.yaml"])
def test_an_actor_has_no_more_cores_than_a_machine(name):
    """--ray-cores is said, because no machine is there to be looked at."""
    text = (DOCS / name).read_text()
    page = (ROOT / "docs" / "ray.md").read_text()
    command = text if name == "job.yaml" else page
    cores = int(re.search(r"--ray-cores (\d+)", command)[1])
    if name == "job.yaml":
        (group,) = yaml.safe_load(text)["spec"]["rayClusterSpec"][
            "workerGroupSpecs"
        ]
        (container,) = group["template"]["spec"]["containers"]
        assert cores == int(container["resources"]["requests"]["cpu"])
    else:
        types = yaml.safe_load(text)["available_node_types"]
        assert cores == types["labeller"]["resources"]["CPU"]


def test_both_have_the_version_that_is_installed():
    wanted = (ROOT / "requirements-ray.txt").read_text()
    assert f"ray=={ray.__version__}" in wanted
    for path in ("ray/cluster.yaml", "ray/job.yaml", "ray.md"):
        assert ray.__version__ in (ROOT / "docs" / path).read_text()
