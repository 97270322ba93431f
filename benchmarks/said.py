"""Write what a run's teacher says to few texts, as another model would.

    python benchmarks/said.py saved_models/sst2-ensemble --output said

A stand-in for a model that answers a few thousand texts and no more: the
texts of the selection split, which its teacher never trained on. The folder
gets `said.jsonl` (its probabilities, for `--teacher-logits`), `gold.tsv` (the
same texts with their gold labels) and `test.tsv` (the reported split).
"""

import csv
import json
import sys
from pathlib import Path

from measuring import parser

from keras_distill.files import atomic_path, read_json
from keras_distill.metrics import softmax
from keras_distill.transfer_set.record import Rows, read_rows


def main() -> int:
    """Read two splits, write three files."""
    options = parser(__doc__)
    options.add_argument("run", type=Path)
    options = options.parse_args()
    data = read_json(options.run / "data" / "manifest.json")
    labels = data["labels"]
    reported = "test" if "test" in data["splits"] else "dev"
    folder = options.output or Path("said")
    asked, kept = (
        read_rows(
            [options.run / "transfer_set" / f"{name}.tfrecord"],
            pair=False,
            classes=len(labels),
        )
        for name in ("select", reported)
    )
    folder.mkdir(parents=True, exist_ok=True)
    with (
        atomic_path(folder / "said.jsonl") as path,
        path.open("w", encoding="utf-8") as stream,
    ):
        for text, row in zip(
            asked.columns[0], softmax(asked.teacher_logits), strict=True
        ):
            said = {
                n: round(float(p), 4) for n, p in zip(labels, row, strict=True)
            }
            line = {"text": text, "probabilities": said}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    write_gold(folder / "gold.tsv", asked, labels)
    write_gold(folder / "test.tsv", kept, labels)
    right = (asked.teacher_logits.argmax(-1) == asked.labels).mean()
    print(f"{len(asked)} texts, {100 * right:.1f}% answered right")
    return 0


def write_gold(path: Path, rows: Rows, labels: list[str]) -> None:
    """Write texts and their gold labels with a header."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["text", "label"])
        for text, label in zip(rows.columns[0], rows.labels, strict=True):
            writer.writerow([text, labels[label]])


if __name__ == "__main__":
    sys.exit(main())
