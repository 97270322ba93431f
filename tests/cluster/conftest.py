import pytest
from tiny_runs import ROOT

SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


def add_node(cluster, name, **variables):
    """Add a node of one core, and remember it by its name."""
    paths = f"{ROOT}:{ROOT / 'tests'}"
    mine = {"NODE": name, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "-1"}
    cluster.named[name] = cluster.add_node(
        num_cpus=1, node_name=name, env_vars={**mine, **variables}, **SMALL
    )


@pytest.fixture(scope="session")
def cluster():
    """A head without cores and two nodes, one of them with a full disk."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "node_name": "head", **SMALL}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.named = {}
    made.add = lambda name, **variables: add_node(made, name, **variables)
    made.add("one")
    # Of which only `ray_teachers` knows.
    made.add("two", FULL_DISK="1")
    yield made
    made.shutdown()
