"""Show that a large transfer set streams: the peak memory of every stage.

    python benchmarks/memory.py --output results/bench/memory.json
    python benchmarks/memory.py --sizes 2000,4000 --updates 20

Makes synthetic pairs, a set of 230,000 (n_iter 10: more than two million
rows) and one of half of it, and takes both through the real stages: data,
augmentation, planning and labelling, vocabulary, and a number of the paper's
student's updates. The teacher is a BERT of two thin layers, which makes
millions of logits affordable; what is measured is the pipeline's memory, not
the teacher's. Every stage is a process of its own, children included.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import machine, page, parser, run_sampled, table, write
from synthetic import train_command, write_pairs

from keras_distill.files import read_json
from keras_distill.progress import progress

LIMIT_MIB = 4096
STAGES = ("data", "teacher", "augment", "label", "vocabulary")
# Of first and second texts, between those of QQP and MNLI.
MEAN_WORDS = (12, 7)

TRAIN = """
import sys
from pathlib import Path
from keras_distill.cli import configure_logging, import_tensorflow
configure_logging()
import_tensorflow()
from keras_distill.config import config_from_dict, load_config
from keras_distill.student.training import Lessons, fit_student
run, output, updates = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
config = config_from_dict(load_config(run / "config.yaml"))
fit_student(
    config.student,
    Lessons.of_run(config, run, lower_case=True),
    output,
    seed=1,
    max_updates=updates,
    updates_per_look=updates,
)
"""


def main() -> int:
    """Run both sizes, print the table, write the JSON."""
    options = parser(__doc__)
    options.add_argument(
        "--sizes", default="230000,115000", help="labelled pairs, by commas"
    )
    options.add_argument("--n-iter", type=int, default=10)
    options.add_argument("--updates", type=int, default=500)
    options.add_argument("--vocabulary", type=int, default=60_000)
    options.add_argument("--lstm-units", type=int, default=150)
    options.add_argument("--pos-tagger", default="nltk")
    options.add_argument("--work", type=Path, help="where the runs are made")
    options = options.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    result = machine("tensorflow", "keras", "transformers") | {
        "n_iter": options.n_iter,
        "mean_words": MEAN_WORDS,
        "updates": options.updates,
        "lstm_units": options.lstm_units,
        "limit_mib": LIMIT_MIB,
        "sets": [],
    }
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
    total = len(sizes) * (len(STAGES) + 1)
    with (
        tempfile.TemporaryDirectory(dir=options.work) as shared,
        progress(total, "measuring memory", "stages") as bar,
    ):
        teacher = Path(shared) / "bert"
        words = json.dumps({"vocabulary": min(20_000, options.vocabulary)})
        run_sampled(["benchmarks/synthetic.py", str(teacher), words])
        for size in sizes:
            with tempfile.TemporaryDirectory(dir=options.work) as place:
                result["sets"].append(
                    measure_set(Path(place), teacher, size, options, bar)
                )
            # What a long run has so far is not lost.
            summarise(result)
            write(result, options.output)
    verdict = "below" if result["below_limit"] else "NOT below"
    most = f"{result['peak_memory_mib']:,} MiB at most"
    print(f"{as_page(result)}\n\n{most}, {verdict} {LIMIT_MIB:,}")
    return 0


def measure_set(
    place: Path, teacher: Path, size: int, options: Any, bar: Any
) -> dict[str, Any]:
    """Take one set through the stages and return what each took."""
    pairs, run = place / "pairs.tsv", place / "run"
    write_pairs(pairs, size, options.vocabulary, MEAN_WORDS)
    command = train_command(
        *(pairs, teacher, run),
        *("--n-iter", str(options.n_iter), "--pos-tagger", options.pos_tagger),
        *("--batch-size", "256"),
        *("--set", f"student.lstm_units={options.lstm_units}"),
    )
    commands = {name: [*command, "--stages", name] for name in STAGES}
    trained = [str(run), str(place / "student"), str(options.updates)]
    commands["training"] = ["-c", TRAIN, *trained]
    stages = {}
    for name, arguments in commands.items():
        stages[name] = run_sampled(arguments)
        bar.update(1)
        # A line each: a run of hours that is stopped has told something.
        print(size, name, json.dumps(stages[name]), flush=True)
    counts = read_json(run / "transfer_set" / "manifest.json")["counts"]
    return {
        "labelled_pairs": size,
        "rows": sum(counts.values()),
        "counts": counts,
        "transfer_set_bytes": sum(
            path.stat().st_size
            for path in (run / "transfer_set").glob("*.tfrecord")
        ),
        "stages": stages,
    }


def summarise(result: dict[str, Any]) -> None:
    """Add the peaks over all stages, and how they grow, to the result."""
    for one in result["sets"]:
        peaks = {n: s["peak_memory_mib"] for n, s in one["stages"].items()}
        one["peak_memory_mib"] = max(peaks.values())
        one["peak_stage"] = max(peaks, key=peaks.get)
    sets = sorted(result["sets"], key=lambda one: one["rows"])
    small, large = sets[0], sets[-1]
    result["peak_memory_mib"] = large["peak_memory_mib"]
    result["below_limit"] = large["peak_memory_mib"] < LIMIT_MIB
    if len(sets) < 2:
        return
    result["growth"] = {
        name: round(
            large["stages"][name]["peak_memory_mib"]
            / small["stages"][name]["peak_memory_mib"],
            3,
        )
        for name in large["stages"]
    } | {"rows": round(large["rows"] / small["rows"], 3)}


def as_page(result: dict[str, Any]) -> str:
    """Return each stage's peak for every set, and its growth."""
    sets = sorted(result["sets"], key=lambda one: one["rows"])
    head = ["peak, MiB", *(f"{one['rows']:,} rows" for one in sets)]
    growth = result.get("growth")
    if growth:
        head.append(f"growth (rows: {growth['rows']:.2f})")
    rows = []
    for stage in sets[0]["stages"]:
        row = [stage]
        row += [one["stages"][stage]["peak_memory_mib"] for one in sets]
        rows.append([*row, growth[stage]] if growth else row)
    return page(result, table(head, rows))


if __name__ == "__main__":
    sys.exit(main())
