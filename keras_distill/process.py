"""A process of its own for a stage, which ends with its parent."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from keras_distill.cli import BAD_INPUT, ERROR
from keras_distill.errors import LostError, ReportedError, UserError

# Set for children that must not outlive their parent.
_GUARD = "KERAS_DISTILL_EXIT_WITH_PARENT"


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads(number: int) -> dict[str, str]:
    """Return the variables of a process whose libraries use so many threads.

    They count from the moment at which TensorFlow is imported.
    """
    libraries = ("TF_NUM_INTRAOP", "TF_NUM_INTEROP", "OMP_NUM")
    return {f"{library}_THREADS": str(number) for library in libraries}


class Child:
    """`python -m module arguments`, at work beside this process.

    It ends when this process ends, also when it is killed: a run that is
    started again must not meet its own orphan. As a context it ends with
    the block.

    Args:
        module: The module.
        arguments: Its command line.
        variables: Joined to the child's environment.
        log: Gets what the child writes to stdout and stderr; None leaves
            it to the user's eyes.
        tell: Gets the lines of its stderr in place of these, but for the
            one about bad input, which `wait` raises.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        variables: Mapping[str, str] | None = None,
        log: BinaryIO | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._module = module
        self._bad_input: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            env=child_environment({_GUARD: "1", **(variables or {})}),
            stdout=log,
            stderr=subprocess.PIPE if tell else log,
        )
        self._listener = threading.Thread(target=self._listen, args=(tell,))
        self._listener.start()

    def __enter__(self) -> "Child":
        """Return the child."""
        return self

    def __exit__(self, *error: object) -> None:
        """End it, if it has not ended by itself."""
        # Its end closes, which a child waits for that ends with its parent.
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        if self._process.stderr:
            self._process.stderr.close()

    def wait(self) -> None:
        """Wait for its end.

        Raises:
            ReportedError: It found bad input and has said so.
            UserError: It found bad input, which nobody has seen yet.
            LostError: It died.
            KeyboardInterrupt: It was interrupted.
        """
        try:
            code = self._process.wait()
        except KeyboardInterrupt:
            self._process.wait()
            raise
        self._listener.join()
        if code == BAD_INPUT:
            raise (
                UserError(self._bad_input) if self._bad_input else ReportedError
            )
        if code in (130, -2):
            raise KeyboardInterrupt
        if code:
            reason = "was killed" if code < 0 else "failed"
            detail = f"signal {-code}" if code < 0 else f"exit code {code}"
            hint = " (out of memory?)" if code == -9 else ""
            raise LostError(
                f"python -m {self._module} {reason}: {detail}{hint}"
            )

    def _listen(self, tell: Callable[[str], object] | None) -> None:
        for line in map(bytes.rstrip, self._process.stderr or ()):
            text = line.decode("utf-8", "replace")
            if text.startswith(ERROR):
                self._bad_input = text.removeprefix(ERROR)
            elif tell is not None:
                tell(text)


def run_child(
    module: str,
    arguments: Sequence[str],
    variables: Mapping[str, str] | None = None,
    log: BinaryIO | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Run `python -m module arguments` and wait for it.

    What is to be done `meanwhile` is called while the child works. The other
    arguments and the errors are those of `Child`.
    """
    with Child(module, arguments, variables, log) as child:
        meanwhile()
        child.wait()


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
