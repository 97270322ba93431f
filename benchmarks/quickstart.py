"""Time the whole quick start, stage by stage.

    python benchmarks/quickstart.py --output results/bench/quickstart.json

Runs `train.py` as a new user would, into a temporary folder, and reads the
seconds of each stage from its results.json. What is left over is starting,
checking and the report at the end.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import machine, page, parser, run_sampled, table, write

from keras_distill.files import read_json
from keras_distill.report.table import whole_seconds


def main() -> int:
    """Run, print, write."""
    options = parser(__doc__)
    options.add_argument(
        "--keep", type=Path, help="make the run here, where none is yet"
    )
    options.add_argument(
        "arguments", nargs="*", help="for train.py, after -- (none: as it is)"
    )
    options = options.parse_args()
    result = machine("tensorflow", "keras", "transformers")
    with tempfile.TemporaryDirectory() as place:
        # train.py is started in another folder.
        run = (options.keep or Path(place) / "quick").resolve()
        if run.exists():
            raise SystemExit(f"{run} is there already: nothing to time")
        took = run_sampled(
            ["train.py", *options.arguments, "--output-dir", str(run)]
        )
        results = read_json(run / "results.json")
    rest = took["seconds"] - whole_seconds(results)
    result |= {
        "seconds": results["seconds"] | {"everything else": round(rest, 1)},
        "beside": results["beside"],
        "total": took,
        "transfer_set_rows": sum(results["transfer_set"]["rows"].values()),
    }
    print(as_page(result))
    write(result, options.output)
    return 0


def as_page(result: dict[str, Any]) -> str:
    """Return the table of the quick start's stages."""
    beside = result.get("beside", {})
    rows = [
        (f"{name}, beside {' and '.join(beside[name])}", seconds)
        if name in beside
        else (name, seconds)
        for name, seconds in result["seconds"].items()
    ]
    rows.append(("all", result["total"]["seconds"]))
    return page(result, table(["stage", "seconds"], rows))


if __name__ == "__main__":
    sys.exit(main())
