"""Measure the teacher in TensorFlow beside other engines, labelling and tuning.

    python benchmarks/engines.py saved_models/sst2/teacher
    python benchmarks/engines.py saved_models/sst2/teacher --data-dir glue \
        --output results/bench/engines.json

One fine-tuned checkpoint. Labelling: all get the same batches, sorted by
length; the logits are compared with those of PyTorch in float32. Fine-tuning:
PyTorch's are the steps of Hugging Face's Trainer, with bfloat16 and batches of
like lengths, ours those of train.py. Counted are real tokens.
"""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import workload
from contest import (
    FASTER,
    Contender,
    Row,
    compared,
    contest,
    contest_table,
)
from measuring import machine, page, parser, write
from peers import peers_python

from keras_distill.files import write_json

OURS = "TensorFlow, as train.py has it (ours)"
REFERENCE = "PyTorch, float32"
# Name, script and kind; the first of each contest is ours.
LABELLING = (
    (OURS, "teacher.py", "engine_auto"),
    ("TensorFlow, float32", "teacher.py", "engine_float32"),
    (REFERENCE, "teacher_torch.py", "float32"),
    ("PyTorch, bfloat16", "teacher_torch.py", "bfloat16"),
    ("onnxruntime, float32", "teacher_onnx.py", "onnxruntime"),
    ("onnxruntime, int8", "teacher_onnx.py", "onnxruntime_int8"),
    ("OpenVINO, float32", "teacher_onnx.py", "openvino_f32"),
    ("OpenVINO, bfloat16", "teacher_onnx.py", "openvino_bf16"),
)
TUNING = (
    (OURS, "teacher.py", "tuning"),
    ("Trainer in PyTorch, bfloat16", "teacher_torch.py", "tuning_bfloat16"),
    ("Trainer in PyTorch, float32", "teacher_torch.py", "tuning_float32"),
)


def main() -> int:
    """Run both contests and report."""
    options = parser(__doc__)
    workload.add_arguments(options)
    options.add_argument("teacher", type=Path, help="a fine-tuned checkpoint")
    options.add_argument("--rows", type=int, default=2048)
    options.add_argument("--updates", type=int, default=10, help="a round")
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument(
        "--peers", type=Path, help="a Python that has the peers installed"
    )
    options = options.parse_args()
    python = peers_python(options.peers)
    result = machine() | {
        "teacher": options.teacher.resolve().parent.name,
        "rounds": options.rounds,
        "threads": options.threads,
    }
    given = {
        "teacher": str(options.teacher),
        "precision": "auto",
        "updates": options.updates,
        "batch_size": options.batch_size,
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = workload.read_texts(options.data_dir, options.rows)
        write_json(folder / "texts.json", texts)
        for what, ways, question in (
            ("labelling", LABELLING, "label"),
            ("tuning", TUNING, "tune"),
        ):
            rows = contest(
                [
                    Contender(
                        name,
                        script,
                        kind,
                        Path(sys.executable)
                        if script == "teacher.py"
                        else python,
                        given,
                    )
                    for name, script, kind in ways
                ],
                folder,
                options.rounds,
                [question, "check"] if what == "labelling" else [question],
                options.threads,
            )
            result[what] = compared(
                rows, question, "real_tokens", OURS, partial(figures, rows)
            )
    print(as_page(result))
    write(result, options.output)
    return 0


def figures(rows: dict[str, Row], name: str, row: Row) -> dict[str, Any]:
    """Return what the table tells of a row beside its rates."""
    if "tune" in row:
        # Of the last round: each begins anew, with batches of its own.
        return {"loss": round(row["tune"][-1]["loss"], 4)}
    reference = logits_of(rows.get(REFERENCE, {}))
    mine = logits_of(row)
    if reference is None or mine is None:
        return {"logits_differ_by": None, "agrees": None}
    agree = np.mean(mine.argmax(-1) == reference.argmax(-1))
    return {
        "logits_differ_by": float(f"{np.abs(mine - reference).max():.1e}"),
        "agrees": round(100 * float(agree), 2),
    }


def logits_of(row: Row) -> np.ndarray | None:
    """Return what a contender said of the first texts, if it did."""
    answers: Sequence[dict[str, Any]] = row.get("check", [])
    return np.array(answers[0]["logits"]) if answers else None


def as_page(result: dict[str, Any]) -> str:
    """Return the tables of labelling and of fine-tuning."""
    rate = {"real tokens/s": "real_tokens_per_s", **FASTER}
    memory = {"memory, MiB": "peak_memory_mib"}
    said = {"logits differ by": "logits_differ_by", "agrees, %": "agrees"}
    return page(
        result,
        contest_table("labelling", result["labelling"], rate | said | memory),
        contest_table(
            "fine-tuning", result["tuning"], rate | {"loss": "loss"} | memory
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
