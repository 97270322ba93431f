"""Measure labelling: our length-sorted batches beside two plainer feedings.

    python benchmarks/labelling.py
    python benchmarks/labelling.py --data-dir glue \
        --output results/bench/labelling.json

One teacher, one precision, one graph; only the batches differ: sorted by
length (ours), in file order padded to 128 words, in file order padded to each
batch's longest. Counted are real tokens.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import workload
from contest import Contender, contest, median, ratios
from measuring import machine, parser, rows_table, write

from keras_distill.files import write_json
from keras_distill.tasks import QUICK_TEACHER

OURS = "sorted by length (ours)"


def main() -> int:
    """Run the contest and report."""
    options = parser(__doc__)
    workload.add_arguments(options)
    options.add_argument("--rows", type=int, default=2048)
    options.add_argument("--teacher", default=QUICK_TEACHER)
    options.add_argument("--precision", default="auto")
    options = options.parse_args()
    result = machine() | {
        "teacher": Path(options.teacher).name,
        "rows_of_data": options.rows,
        "rounds": options.rounds,
        "threads": options.threads,
    }
    shared = {"teacher": options.teacher, "precision": options.precision}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = workload.read_texts(options.data_dir, options.rows)
        write_json(folder / "texts.json", texts)
        # Four of five of its tokens are padding: a part of the rows will do.
        plain = shared | {"every": 4}
        rows = contest(
            [
                Contender(OURS, "teacher.py", "ours", options=shared),
                Contender(
                    "file order, padded to 128",
                    "teacher.py",
                    "padded",
                    options=plain,
                ),
                Contender(
                    "file order, padded to the batch's longest",
                    "teacher.py",
                    "longest",
                    options=shared,
                ),
            ],
            folder,
            options.rounds,
            ["label"],
            options.threads,
        )
    result["rows"] = report(rows)
    print(rows_table(result["rows"]))
    write(result, options.output)
    return 0


def report(rows: dict[str, Any]) -> dict[str, Any]:
    """Return rates, ratios and the padding."""
    faster = ratios(rows, "label", "real_tokens_per_s", OURS)
    of_cpu = ratios(rows, "label", "real_tokens_per_cpu_s", OURS)
    return {
        name: row
        if "missing" in row
        else {
            "real_tokens_per_s": round(
                median(row["label"], "real_tokens_per_s")
            ),
            "padded_per_real": round(median(row["label"], "padding"), 3),
            "ours_is_faster": faster.get(name),
            "by_cpu_seconds": of_cpu.get(name),
            "peak_memory_mib": row["facts"]["peak_memory_mib"],
            "precision": row["facts"]["precision"],
            "versions": row["facts"]["versions"],
        }
        for name, row in rows.items()
    }


if __name__ == "__main__":
    sys.exit(main())
