"""Ray: whether it is there, and the machines that a run may use.

Ray is optional. Nothing imports it before `--ray` was given.
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_distill.cli import one_line
from keras_distill.errors import UserError
from keras_distill.process import cores

logger = logging.getLogger(__name__)

_HOW_TO_INSTALL = (
    "Ray is not installed; expected `pip install -r requirements-ray.txt` (or "
    "`pip install 'keras-distill[ray]'`) before --ray"
)
# Nothing but a few numbers goes through Ray's own memory.
_OBJECT_STORE = 100 * 2**20
_SECONDS_TO_ANSWER = 5
_SECONDS_TO_JOIN = 60
# What has to be the same where a teacher or a student computes.
_PACKAGES = ("tensorflow", "keras", "tf-keras", "transformers", "numpy")


@dataclass(frozen=True)
class Ray:
    """What the command line says of Ray.

    Attributes:
        address: `auto`, or HOST:PORT of a cluster that this machine is in.
        least: Actors without which labelling does not begin.
        most: Actors that are asked for; None: one a node, or a GPU.
        cores: Cores an actor has; None: what makes `least` fit.
    """

    address: str
    least: int = 1
    most: int | None = None
    cores: int | None = None


def add_ray_flags(parser: argparse.ArgumentParser, actors: bool) -> None:
    """Add `--ray`, and with `actors` what says how many and how large."""
    group = parser.add_argument_group("cluster")
    group.add_argument(
        "--ray",
        metavar="auto|ADDRESS",
        help="let Ray run what scales: auto starts it on this machine or "
        "joins the cluster that the machine is part of (docs/ray.md)",
    )
    if actors:
        group.add_argument(
            "--ray-actors",
            metavar="MIN,MAX",
            help="teachers that label at a time: as many as get a place, MIN "
            "or it does not begin (default: one a GPU, else one a node)",
        )
    group.add_argument(
        "--ray-cores",
        metavar="N",
        help="cores of each "
        + ("actor" if actors else "trial")
        + " (default: "
        + ("a node's, or less where MIN would not fit)" if actors else "1)"),
    )


def ray_options(options: argparse.Namespace) -> Ray | None:
    """Return what was said of Ray; None: nothing, everything runs here.

    Args:
        options: Parsed flags of `add_ray_flags`.

    Raises:
        UserError: Ray is not installed, a flag says nothing sensible, or no
            cluster answers at the address.
    """
    actors = getattr(options, "ray_actors", None)
    if options.ray is None:
        for name, value in (("actors", actors), ("cores", options.ray_cores)):
            if value is not None:
                raise UserError(f"--ray-{name} {value}: expected --ray as well")
        return None
    if importlib.util.find_spec("ray") is None:
        raise UserError(f"--ray {options.ray}: {_HOW_TO_INSTALL}")
    if options.ray != "auto":
        _check_address(options.ray)
    least, most = _actors(actors)
    size = options.ray_cores
    if size is not None and not (size.isdecimal() and int(size) > 0):
        raise UserError(f"--ray-cores {size}: expected a number from 1")
    _set_environment(options.ray)
    return Ray(options.ray, least, most, size and int(size))


def _set_environment(address: str) -> None:
    """Set what Ray reads when it is imported."""
    # Lines held back would be printed at the end, after the results.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A cluster of `ray start` asks for a token, which is not sent to an address
    # unasked.
    token = Path("~/.ray/auth_token").expanduser()
    named = address != "auto" or "RAY_ADDRESS" in os.environ
    if named and (token.is_file() or "RAY_AUTH_TOKEN" in os.environ):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _actors(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 1, None
    least, comma, most = text.partition(",")
    with contextlib.suppress(ValueError):
        low, high = int(least), int(most if comma else least)
        if 1 <= low <= high:
            return low, high
    raise UserError(
        f"--ray-actors {text}: expected MIN,MAX such as 1,4, from 1, the "
        "smaller one first"
    )


def _check_address(address: str) -> None:
    """Look whether something listens there, before hours of other work."""
    host, colon, port = address.rpartition(":")
    if "://" in address or not (host and colon and port.isdecimal()):
        raise UserError(
            f"--ray {address}: expected auto, or HOST:PORT of a cluster's head "
            "such as 10.0.0.4:6379, on a machine that is part of it"
        )
    try:
        with socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"--ray {address}: no Ray cluster answers there ({reason}); "
            "`ray start --head --port 6379` starts one, --ray auto needs none"
        ) from error


@contextlib.contextmanager
def joined(options: Ray, log: Path) -> Iterator[None]:
    """Be a driver of the cluster while the block lasts.

    A cluster that was started for it ends with it, also when this process
    is killed; of another one only this driver's work does.

    Args:
        options: The command line's.
        log: Gets what Ray says; the terminal has the progress alone.

    Raises:
        UserError: There is no such cluster, or it refuses this process.
    """
    import ray

    log.parent.mkdir(parents=True, exist_ok=True)
    # Its reports of lost nodes go to stdout, where results are printed.
    with (
        open(log, "a", encoding="utf-8", buffering=1) as said,
        contextlib.redirect_stdout(said),
    ):
        try:
            _join(options.address)
        except UserError:
            raise
        # Ray's own errors, gRPC's and Python's, of which none is documented.
        except Exception as error:
            raise UserError(
                f"--ray {options.address}: cannot join: {one_line(error)}"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def _join(address: str) -> None:
    import ray

    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if address != "auto":
        _try(address)
        ray.init(address=address, **quiet)
        return
    try:
        ray.init(
            num_cpus=cores(),
            object_store_memory=_OBJECT_STORE,
            include_dashboard=False,
            **quiet,
        )
    except ValueError:
        # The machine is part of a cluster, which has sizes of its own.
        _try(address)
        ray.init(address=address, **quiet)


def _try(address: str) -> None:
    """Join a cluster in another process, which can be told to give up.

    Ray itself tries for minutes, and for ever where something else listens.
    """
    join = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", join, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS_TO_JOIN,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"--ray {address}: no Ray cluster answered in {_SECONDS_TO_JOIN} "
            "s; `ray status` asks one, and after `ray stop` --ray auto starts "
            "its own"
        ) from error
    if "InvalidAuthToken" in tried.stderr:
        raise UserError(
            f"--ray {address}: the cluster's token is missing here or another "
            "one; expected its head's ~/.ray/auth_token at the same place, or "
            "in RAY_AUTH_TOKEN"
        )
    if tried.returncode:
        *_, line = tried.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"--ray {address}: cannot join: {line}")


def live_nodes() -> dict[str, dict[str, Any]]:
    """Return what Ray knows of the nodes that are alive, by id."""
    import ray

    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def assigned_cores() -> int:
    """Return how many cores the actor or task has that this is called in.

    `OMP_NUM_THREADS` would say it too, but `ray up` starts nodes with 1.
    """
    import ray

    given = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(given.get("CPU", 1)))


def node_name(node: dict[str, Any]) -> str:
    """Return what a person calls a node: its name and where it is."""
    name, host = node["NodeName"], node["NodeManagerHostname"]
    return f"{host} ({name})" if host != name else name


def room(node: dict[str, Any]) -> str:
    """Return in words what a node has: `2 cores, 3.1 GiB`."""
    has = node["Resources"]
    parts = [f"{has.get('CPU', 0):g} cores"]
    if has.get("GPU"):
        parts.append(f"{has['GPU']:g} GPUs")
    return ", ".join([*parts, gibibytes(has.get("memory", 0))])


def gibibytes(size: float) -> str:
    """Return bytes in words: `3.1 GiB`."""
    return f"{size / 2**30:.1f} GiB"


def versions() -> dict[str, str]:
    """Return what has to be the same on every node, this package too."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found | {"keras_distill": _code()}


def _code() -> str:
    """Return a short hash of this package's source."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return f"source {digest.hexdigest()[:12]}"


def check_versions(expected: dict[str, str]) -> None:
    """Refuse a node whose software is not the driver's.

    Args:
        expected: `versions()` of the driver.

    Raises:
        UserError: One differs; the first is named.
    """
    for name, found in versions().items():
        if found != expected[name]:
            raise UserError(
                f"{name} is {found} there, expected {expected[name]} as where "
                "the command runs"
            )
