"""The benchmark's side: a measuring process that is asked questions."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError


class Worker:
    """A measuring process; it ends with the block.

    Args:
        module: `keras_distill.timing.students`, or the teacher's.
        run_dir: The run folder.
        texts: The file of texts; see `serve`.
        threads: Threads it may use; None is all there are.
        log: Gets what it writes to stderr.

    Attributes:
        entries: What can be opened there: a dictionary for each contender,
            with the fields of `contender.Entry` but `open`.
    """

    def __init__(
        self,
        module: str,
        run_dir: Path,
        texts: Path,
        threads: int | None,
        log: Path,
    ) -> None:
        self._module = module
        self._log = log
        package = Path(__file__).resolve().parent.parent.parent
        paths = [str(package), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        environment.pop("TF_USE_LEGACY_KERAS", None)
        command = [sys.executable, "-m", module, str(run_dir)]
        command += ["--texts", str(texts)]
        if threads is not None:
            command += ["--threads", str(threads)]
            # One thread is a CPU's.
            environment["CUDA_VISIBLE_DEVICES"] = "-1"
        with open(log, "wb") as stream:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=environment,
                text=True,
                encoding="utf-8",
            )
        self.entries: list[dict[str, Any]] = []

    def __enter__(self) -> "Worker":
        """Wait until it is ready."""
        try:
            self.entries = self._read()["entries"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def ask(
        self,
        do: str,
        on_rows: Callable[[int], object] = lambda rows: None,
        **question: Any,
    ) -> dict[str, Any]:
        """Ask a question of `serve` and wait for the answer.

        Args:
            do: Its name.
            on_rows: Called with the number of rows just finished.
            **question: Its arguments.

        Raises:
            UserError: A file is damaged, or the process died.
        """
        try:
            line = json.dumps({"do": do, **question})
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        while "progress" in (answer := self._read()):
            on_rows(answer["progress"])
        return answer

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer = json.loads(line)
        if "error" in answer:
            raise UserError(answer["error"])
        return answer

    def _died(self) -> UserError:
        code = self._process.wait()
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else "it said nothing"
        hint = " (out of memory?)" if code == -9 else ""
        return UserError(
            f"python -m {self._module} failed, exit code {code}{hint}: {reason}"
        )
