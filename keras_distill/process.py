"""A process of its own for a stage, which ends with its parent."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from keras_distill.cli import BAD_INPUT
from keras_distill.errors import ReportedError, UserError

# Set for children that must not outlive their parent.
_GUARD = "KERAS_DISTILL_EXIT_WITH_PARENT"


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_child(
    module: str,
    arguments: Sequence[str],
    variables: Mapping[str, str] | None = None,
    log: BinaryIO | None = None,
) -> None:
    """Run `python -m module arguments` and wait for it.

    The child ends when this process ends, also when it is killed: a run
    that is started again must not meet its own orphan.

    Args:
        module: The module.
        arguments: Its command line.
        variables: Joined to the child's environment.
        log: Gets what the child writes to stdout and stderr; None leaves
            it to the user's eyes.

    Raises:
        ReportedError: The child found bad input and has said so.
        UserError: The child died.
        KeyboardInterrupt: The child was interrupted.
    """
    environment = child_environment({_GUARD: "1", **(variables or {})})
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        env=environment,
        stdout=log,
        stderr=log,
    )
    with process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    if code == BAD_INPUT:
        raise ReportedError
    if code in (130, -2):
        raise KeyboardInterrupt
    if code:
        reason = "was killed" if code < 0 else "failed"
        detail = f"signal {-code}" if code < 0 else f"exit code {code}"
        hint = " (out of memory?)" if code == -9 else ""
        raise UserError(f"python -m {module} {reason}: {detail}{hint}")


def start_child(module: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start `python -m module arguments` to be asked line by line.

    It ends when its standard input does, which this process holds.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
        text=True,
        encoding="utf-8",
    )


def child_environment(
    variables: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return this process' environment as a child of its own world needs it.

    Args:
        variables: Joined to it.
    """
    package = Path(__file__).resolve().parent.parent
    paths = [str(package), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **(variables or {}),
    }
    # tf.keras must be Keras 3 here and tf_keras there: nothing of that may
    # come from the user's shell by chance.
    environment.pop("TF_USE_LEGACY_KERAS", None)
    return environment


def exit_with_parent() -> bool:
    """End this process when the one that started it with `run_child` ends.

    The parent holds the other end of standard input, which closes with it.

    Returns:
        Whether `run_child` started this process.
    """
    if not os.environ.pop(_GUARD, None):
        return False

    def wait() -> None:
        # Not sys.stdin: the interpreter cannot shut down while a thread
        # waits inside its buffer.
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    return True
