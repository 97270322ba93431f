"""What the benchmarks share: where they ran, commands' memory, tables, JSON.

Every benchmark has `as_page`, which makes the text that it prints out of the
JSON that it writes; pages.py puts the same text into the docs.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The package lies beside this folder; imports after this one find it.
sys.path.insert(0, str(ROOT))

from keras_distill.benchmark.worker import peak_memory  # noqa: E402
from keras_distill.display import markdown_table  # noqa: E402
from keras_distill.process import child_environment  # noqa: E402

# More often costs a part of the core that is measured; Linux keeps the peak of
# each process that is alive at a look.
_SECONDS_BETWEEN_LOOKS = 0.3


def parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with `--output`; the first line describes it."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    result.add_argument("--output", type=Path, help="JSON to write")
    return result


def machine(*packages: str) -> dict[str, Any]:
    """Say when and where this runs; call it before the load is one's own."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "command": " ".join(
            [Path(sys.argv[0]).name, *(Path(a).name for a in sys.argv[1:])]
        ),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }


def run_sampled(
    arguments: list[str], log: Path | None = None
) -> dict[str, float]:
    """Run Python and watch the memory of it and of its children.

    Resident memory of all processes alive at one time is added up, so that
    pages which they share count more than once: the sum is an upper bound.
    Where there is no /proc, the largest single process is given.

    Returns `seconds`, `cpu_seconds` (children included), `peak_memory_mib`;
    what it writes to stderr goes to `log` or stays visible.
    """
    started = time.perf_counter()
    errors = open(log, "ab") if log else None  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=errors,
    )
    peak, stopped = [0], threading.Event()

    def look() -> None:
        # A command may be over before the second look.
        pause = _SECONDS_BETWEEN_LOOKS / 10
        while not stopped.wait(pause):
            peak[0] = max(
                peak[0], _tree_memory(process.pid), peak_memory(process.pid)
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


def _tree_memory(root: int) -> int:
    """Return the resident bytes of a process and its descendants."""
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


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; a row may be shorter: a missing one."""
    return markdown_table(
        head, ([_cell(value) for value in row] for row in rows)
    )


def _cell(value: Any) -> str:
    """Return a figure as a reader wants it, a ratio with its range."""
    if isinstance(value, dict):
        return "{ratio:.2f} ({low:.2f} to {high:.2f})".format(**value)
    if value is None:
        return ""
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        return f"{value:.0e}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def page(result: dict[str, Any], *parts: str) -> str:
    """Say when, on what and beside what load; then the parts, if any."""
    facts = [
        f"`python benchmarks/{result['command']}`",
        result["date"],
        f"{result['cores']} cores",
    ]
    if "threads" in result:
        facts.append(f"threads: {result['threads'] or 'all'}")
    facts.append(f"load average before it {result['load_average'][0]}")
    if "rounds" in result:
        facts.append(f"{result['rounds']} rounds")
    return "\n\n".join(filter(None, [", ".join(facts) + ".", *parts]))


def write(result: dict[str, Any], output: Path | None) -> None:
    """Write the result as JSON where the user wants it."""
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=2) + "\n")
