"""Measure the student's answers beside what one would take instead.

    python benchmarks/inference.py
    python benchmarks/inference.py --data-dir glue \
        --output results/bench/inference.json

Sentences of SST-2 (or the embedded corpus, repeated), random weights in the
paper's shape: 15,000 words, two tables of 300 numbers, 150 units, 200 hidden.
All get the same batches, sorted by length, save where the table says
otherwise; transformers work them off 64 at a time. Every contender is a
process of its own and they take turns.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import workload
from contest import (
    FASTER,
    Contender,
    compared,
    contest,
    contest_table,
    limit,
    limit_table,
    median,
    ratios,
    reached,
)
from measuring import machine, page, parser, write
from peers import peers_python

from keras_distill.batches import like_lengths

OURS = "SavedModel (ours)"


def main() -> int:
    """Run the contest and report."""
    options = parser(__doc__)
    workload.add_arguments(options)
    options.add_argument("--rows", type=int, default=8192)
    options.add_argument("--batch-size", type=int, default=512)
    options.add_argument("--singles", type=int, default=300)
    workload.add_student(options)
    options.add_argument("--skip-bert-large", action="store_true")
    options.add_argument(
        "--only", help="names that contain one of these, comma-separated"
    )
    options = options.parse_args()
    where = machine()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        batches = prepare(folder, options)
        rows = contest(
            chosen(contenders(options), options.only),
            folder,
            options.rounds,
            ["check", "batches", "singles"],
            options.threads,
        )
        limits = limit(folder, options.threads)
    result = where | report(rows, limits, batches, options)
    print(as_page(result))
    write(result, options.output)
    return 0


def contenders(options: Any) -> list[Contender]:
    """Return all, ours first."""
    python = peers_python(options.peers)
    here, torch = "keras_inference.py", "torch_student.py"
    bert, slow = "torch_bert.py", {"every": 4}
    found = [
        Contender(OURS, here, "saved_model"),
        Contender("SavedModel from raw text (ours)", here, "saved_model_text"),
        Contender("SavedModel, small (ours)", here, "saved_model_small"),
        Contender("SavedModel, bfloat16 (ours)", here, "saved_model_bfloat16"),
        Contender("SavedModel, compiled (ours)", here, "saved_model_compiled"),
        Contender(
            *("SavedModel, compiled, from raw text (ours)", here),
            "saved_model_compiled_text",
        ),
        Contender("Keras student (ours)", here, "student"),
        Contender("LiteRT float32, 1 thread (ours)", here, "lite_float32"),
        Contender("LiteRT int8, 1 thread (ours)", here, "lite_int8"),
        Contender("stock keras.layers.LSTM", here, "stock"),
        Contender(
            *("Keras predict, file order, padded", here),
            *("stock_predict_padded", sys.executable, slow),
        ),
        Contender("PyTorch BiLSTM", torch, "inference", python),
        Contender("onnxruntime", "onnx_student.py", "inference", python),
        Contender("model2vec's manner", "static_vectors.py", "", python),
        Contender("all-MiniLM-L6-v2", bert, "all-MiniLM-L6-v2", python, slow),
        Contender("BERT-large", bert, "bert-large", python, {"every": 64}),
    ]
    return found[:-1] if options.skip_bert_large else found


def chosen(all_of_them: list[Contender], only: str | None) -> list[Contender]:
    """Return those whose names contain a word of `only`, and ours."""
    words = only.split(",") if only else [""]
    return [
        one
        for one in all_of_them
        if one.name == OURS or any(word in one.name for word in words)
    ]


def prepare(folder: Path, options: Any) -> list[np.ndarray]:
    """Write the work; return the padded batches."""
    texts = workload.read_texts(options.data_dir, options.rows)
    vocabulary = workload.vocabulary_of(texts, options.words)
    ids = workload.token_ids(texts, vocabulary)
    batches = [
        rows.tolist()
        for rows in like_lengths([len(row) for row in ids], options.batch_size)
    ]
    rng = np.random.default_rng(1)
    singles = rng.integers(0, len(texts), options.singles).tolist()
    return workload.write_work(
        folder, options, vocabulary, ids, batches, texts, singles
    )


def report(
    rows: dict[str, Any],
    limits: dict[str, float],
    batches: list[np.ndarray],
    options: Any,
) -> dict[str, Any]:
    """Return figures, ratios and how far the outputs agree."""
    alone = ratios(rows, "singles", "per_s", OURS)
    reference = rows[OURS].get("check")

    def figures(name: str, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "p50_ms": round(median(row["singles"], "p50_ms"), 3),
            "p99_ms": round(median(row["singles"], "p99_ms"), 3),
            "size_mb": round(row["facts"]["size_bytes"] / 1e6, 1),
            "ours_is_faster_alone": alone.get(name),
            "max_logit_difference": difference(reference, row["check"]),
        }

    shown = compared(rows, "batches", "sentences", OURS, figures)
    texts = sum(map(len, batches))
    words = sum(np.count_nonzero(ids) for ids in batches)
    ours = shown[OURS]
    if "missing" not in ours:
        flops = sum(
            workload.flops_per_batch(ids, folded=True, train=False)
            for ids in batches
        )
        gflops = flops / texts * ours["sentences_per_cpu_s"] / 1e9
        ours["gflop_per_cpu_s"] = round(gflops, 1)
    return {
        "rows_of_data": options.rows,
        "batch_size": options.batch_size,
        "rounds": options.rounds,
        "threads": options.threads,
        "mean_words": round(words / texts, 2),
        "padded_per_real": round(sum(ids.size for ids in batches) / words, 3),
        **reached(ours.get("gflop_per_cpu_s"), limits),
        "rows": shown,
    }


def difference(reference: list | None, check: list) -> float | None:
    """Return the largest difference of a logit on the rows in common."""
    if not reference or not check:
        return None
    ours = dict(zip(reference[0]["rows"], reference[0]["logits"], strict=True))
    theirs = zip(check[0]["rows"], check[0]["logits"], strict=True)
    each = [
        np.abs(np.subtract(ours[row], logits)).max()
        for row, logits in theirs
        if row in ours
    ]
    return float(f"{max(each):.1e}") if each else None


def as_page(result: dict[str, Any]) -> str:
    """Return the table of the student's answers."""
    # These have not the student's weights.
    foreign = ("model2vec", "MiniLM", "BERT")
    rows = {
        name: row | {"max_logit_difference": None}
        if any(word in name for word in foreign)
        else row
        for name, row in result["rows"].items()
    }
    figures = {
        "sentences/s": "sentences_per_s",
        **FASTER,
        "p50 alone, ms": "p50_ms",
        "p99, ms": "p99_ms",
        "size, MB": "size_mb",
        "memory, MiB": "peak_memory_mib",
        "logits differ by": "max_logit_difference",
    }
    corner = f"batch {result['batch_size']}, {result['mean_words']} words"
    shown = contest_table(corner, rows, figures)
    return page(result, shown, limit_table(result))


if __name__ == "__main__":
    sys.exit(main())
