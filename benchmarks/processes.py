"""The memory of a command and of all processes that it starts."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from measuring import ROOT

# More often costs a part of the core that is measured; Linux keeps the peak of
# each process that is alive at a look.
_SECONDS_BETWEEN_LOOKS = 0.3


def run_sampled(
    arguments: list[str], log: Path | None = None
) -> dict[str, float]:
    """Run Python and watch the memory of it and of its children.

    Resident memory of all processes alive at one time is added up, so that
    pages which they share count more than once: the sum is an upper bound.
    Where there is no /proc, the largest single process is given.

    Args:
        arguments: Of the Python interpreter.
        log: Gets what it writes to stderr; None leaves it visible.

    Returns:
        `seconds`, `cpu_seconds` (children included), `peak_memory_mib`.

    Raises:
        SystemExit: The command failed.
    """
    started = time.perf_counter()
    errors = open(log, "ab") if log else None  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=errors,
    )
    peak, stopped = [0], threading.Event()

    def look() -> None:
        # A command may be over before the second look.
        pause = _SECONDS_BETWEEN_LOOKS / 10
        while not stopped.wait(pause):
            peak[0] = max(
                peak[0], tree_memory(process.pid), own_peak(process.pid)
            )
            pause = _SECONDS_BETWEEN_LOOKS

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    _, status, usage = os.wait4(process.pid, 0)
    stopped.set()
    thread.join()
    if errors:
        errors.close()
    if status:
        raise SystemExit(f"{' '.join(arguments[:3])} failed: status {status}")
    # On Linux this one begins with the memory of the process that started it.
    largest = usage.ru_maxrss if sys.platform == "darwin" else 0
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_mib": round(max(peak[0], largest) / 2**20),
    }


def own_peak(process: int | str) -> int:
    """Return the most bytes that a process itself has had; 0 if unknown.

    Args:
        process: Its id, or `self`.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def tree_memory(root: int) -> int:
    """Return the resident bytes of a process and its descendants; 0 if none.

    Args:
        root: Its process id.
    """
    children: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name in brackets may hold spaces.
            rest = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        process = int(folder.name)
        children.setdefault(int(rest[1]), []).append(process)
        pages[process] = int(rest[21])
    waiting, total = [root], 0
    while waiting:
        process = waiting.pop()
        total += pages.get(process, 0)
        waiting += children.get(process, [])
    return total * os.sysconf("SC_PAGE_SIZE")
