"""What the benchmarks share: where they ran, children's memory, the JSON."""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The package lies beside this folder; imports after this one find it.
sys.path.insert(0, str(ROOT))


def parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with `--output`; the first line describes it."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    result.add_argument("--output", type=Path, help="JSON to write")
    return result


def machine(*packages: str) -> dict[str, Any]:
    """Say when and where this runs; call it before the load is one's own.

    Args:
        packages: Distributions whose versions matter.
    """
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


def measure(arguments: list[str]) -> dict[str, float]:
    """Run Python; return its wall time and its largest process's memory."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments[:3]} failed")
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_memory_gib": round(usage.ru_maxrss * unit / 2**30, 2),
    }


def table(rows: dict[str, Any]) -> str:
    """Return names and values in two columns."""
    width = max(map(len, rows))
    return "\n".join(
        f"{name:{width}}  {value:,}"
        if isinstance(value, int | float)
        else f"{name:{width}}  {value}"
        for name, value in rows.items()
    )


def rows_table(rows: dict[str, dict[str, Any]]) -> str:
    """Return named rows of figures; a column for each figure of any row."""
    columns = dict.fromkeys(
        column
        for row in rows.values()
        for column, value in row.items()
        if column != "missing" and _cell(value)
    )
    lines = [["", *columns]]
    for name, row in rows.items():
        if "missing" in row:
            lines.append([name, f"missing: {row['missing']}"])
        else:
            cells = [_cell(row.get(column)) for column in columns]
            lines.append([name, *cells])
    full = [line for line in lines if len(line) == len(columns) + 1]
    widths = [max(map(len, cells)) for cells in zip(*full, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(
                zip(line, widths, strict=False)
            )
        )
        for line in lines
    )


def _cell(value: Any) -> str:
    """Return a figure, or a ratio with its range; nothing else is shown."""
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, dict) and "ratio" in value:
        return f"{value['ratio']:.2f} ({value['low']:.2f}-{value['high']:.2f})"
    return ""


def write(result: dict[str, Any], output: Path | None) -> None:
    """Write the result as JSON where the user wants it."""
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=2) + "\n")
