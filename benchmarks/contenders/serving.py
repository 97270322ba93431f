"""A contender's side: answers questions on the standard input, in JSON.

It needs nothing but Python, since it runs in the peers' environment too.
"""

import contextlib
import importlib.metadata
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def serve(build: Callable[[str, Path, dict], Any]) -> None:
    """Build the contender that the command line names and let it answer.

    Args:
        build: Of kind, folder and options, makes an object. A question is
            the name of a method, which returns a dictionary. `versions`,
            if it has that, names the distributions that matter.
    """
    kind, folder, options = sys.argv[1:]
    # Libraries print; only answers may reach the parent.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def send(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    contender = build(kind, Path(folder), json.loads(options))
    versions = {
        name: importlib.metadata.version(name)
        for name in getattr(contender, "versions", ())
    }
    send({"versions": versions} | getattr(contender, "facts", {}))
    for line in sys.stdin:
        question = json.loads(line)
        if question["ask"] == "facts":
            send({"peak_memory_mib": peak_memory_mib()})
        else:
            ask = getattr(contender, question["ask"])
            send(ask(**question["with"]))


def peak_memory_mib() -> int:
    """Return the process's largest memory so far."""
    with contextlib.suppress(OSError):
        # Not getrusage: on Linux that begins with the starting process's.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 2**10)
    # Bytes on macOS.
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
