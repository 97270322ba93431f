"""What is said of a cluster on the command line; nothing here needs Ray."""

import importlib.util
import socket

import pytest

from keras_distill import cluster
from keras_distill.cli import Parser
from keras_distill.cluster import Ray, add_ray_flags, ray_options
from keras_distill.errors import UserError


def options(*arguments):
    parser = Parser()
    add_ray_flags(parser, actors=True)
    return ray_options(parser.parse_args(arguments))


@pytest.fixture
def installed(monkeypatch):
    """Make as if Ray could be imported."""
    found = importlib.util.find_spec("json")
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: found)


def test_without_the_flag_everything_runs_here():
    assert options() is None


def test_without_ray_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install -r requirements-ray.txt"):
        options("--ray", "auto")


def test_the_flags_are_read(installed):
    assert options("--ray", "auto") == Ray("auto")
    sized = options(*"--ray auto --ray-actors 2,8 --ray-cores 4".split())
    assert sized == Ray("auto", 2, 8, 4)
    assert options(*"--ray auto --ray-actors 3".split()) == Ray("auto", 3, 3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--ray-actors 1,2", "--ray-actors 1,2: expected --ray as well"),
        ("--ray-cores 2", "--ray-cores 2: expected --ray as well"),
        ("--ray auto --ray-actors 0,2", "0,2: expected MIN,MAX such as 1,4"),
        ("--ray auto --ray-actors 3,2", "3,2: expected MIN,MAX such as 1,4"),
        ("--ray auto --ray-actors 1,2,3", "1,2,3: expected MIN,MAX"),
        ("--ray auto --ray-actors many", "many: expected MIN,MAX"),
        ("--ray auto --ray-cores 0.5", "0.5: expected a number from 1"),
        ("--ray ray://head:10001", "expected auto, or HOST:PORT"),
        ("--ray head", "--ray head: expected auto, or HOST:PORT"),
        ("--ray :6379", "--ray :6379: expected auto, or HOST:PORT"),
        ("--ray 127.0.0.1:99999", "no Ray cluster answers there"),
    ],
)
def test_what_makes_no_sense_is_refused(installed, arguments, reason):
    with pytest.raises(UserError) as raised:
        options(*arguments.split())
    assert reason in str(raised.value)


def test_an_address_where_nothing_listens_is_refused_at_once(installed):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match="answers there .*refused"):
            options("--ray", address)


def test_a_node_with_other_software_is_refused():
    same = cluster.versions()
    cluster.check_versions(same)
    for name in ("Python", "tensorflow", "keras_distill"):
        with pytest.raises(UserError, match=f"^{name} is .*, expected other"):
            cluster.check_versions({**same, name: "other"})
