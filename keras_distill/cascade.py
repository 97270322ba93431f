"""Picks when a run's student may answer alone: keras_distill.cascade RUN.

python -m keras_distill.cascade RUN --agree 0.98    # with the teacher
python -m keras_distill.cascade RUN --accuracy 0.9  # with the gold labels

The student keeps the texts of which it is confident enough, the teacher
answers for the others (`predict --defer`). The threshold is picked on the
split that chose everything else, and checked on the reported ones.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.cli import (
    Parser,
    configure_logging,
    exit_code,
    import_tensorflow,
    number,
)
from keras_distill.confidence import (
    LEVEL,
    confident,
    pick,
    rows_needed,
    rows_needed_at,
    thresholds,
)
from keras_distill.display import aligned
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json
from keras_distill.run import find_student

if TYPE_CHECKING:
    import numpy as np

    from keras_distill.transfer_set.record import Rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, pick, return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    return exit_code(run, options, resumes=False)


def run(options: argparse.Namespace) -> None:
    """Pick a threshold, write it beside the exports, say what it comes to."""
    kind = "agree" if options.accuracy is None else "accuracy"
    target = options.agree if options.accuracy is None else options.accuracy
    if not 0.5 <= target < 1:
        raise UserError(
            f"--{kind} is {target:g}, expected a share from 0.5 to below 1"
        )
    student_dir = find_student(options.run)
    if student_dir != options.run / "student":
        raise UserError(
            f"{options.run} holds a student alone, expected the folder of a "
            "finished run of train.py"
        )
    import_tensorflow()
    from keras_distill.export.calibration import stored_temperature
    from keras_distill.export.exporter import NOTES, export_student
    from keras_distill.export.threshold import THRESHOLD, student_identity
    from keras_distill.report.results import RESULTS, refresh_report
    from keras_distill.report.table import promise

    exports = options.run / "export"
    temperature = stored_temperature(exports) or 1.0
    chosen, splits, logits = _answers(options.run, student_dir)
    unanswered = [name for name, rows in splits.items() if not rows.answered]
    if unanswered:
        raise UserError(
            f"{options.run}: the teacher's file has no answer for all rows of "
            f"{', '.join(unanswered)}, expected one for each to compare with"
        )
    rows, (confidences, answers) = (
        splits[chosen],
        confident(logits[chosen], temperature),
    )
    wanted, known = _wanted(rows, kind)
    right = (answers == wanted)[known]
    picked = pick(confidences[known], right, target)
    if picked is None:
        sys.stdout.write(_nothing(confidences[known], right, kind, target))
        return
    facts = asdict(picked) | {
        "kind": kind,
        "target": target,
        "level": LEVEL,
        "split": chosen,
        "temperature": temperature,
        "student": student_identity(student_dir),
        "splits": {
            name: _seen(logits[name], split, picked.threshold, temperature)
            for name, split in splits.items()
        },
    }
    exports.mkdir(exist_ok=True)
    if (exports / "saved_model").is_dir():
        notes = (
            read_json(exports / NOTES) if (exports / NOTES).is_file() else {}
        )
        export_student(
            student_dir,
            exports,
            forms=["saved_model"],
            temperature=temperature,
            saved_model=notes.get("saved_model", {}).get("variant", "fast"),
            threshold=picked.threshold,
        )
    write_json(exports / THRESHOLD, facts)
    refresh_report(options.run)
    results = {}
    if (options.run / RESULTS).is_file():
        results = read_json(options.run / RESULTS)
    sys.stdout.write(promise(facts) + "\n\n" + _table(facts))
    if said := time_sentence(facts, results):
        sys.stdout.write("\n" + said + "\n")
    sys.stdout.write(f"\n{exports / THRESHOLD}\n")


def _answers(
    run_dir: Path, student_dir: Path
) -> tuple[str, dict[str, "Rows"], dict[str, "np.ndarray"]]:
    """Return the split that chose, and rows and logits of all splits."""
    from keras_distill.report.results import read_splits
    from keras_distill.student.predictor import StudentPredictor
    from keras_distill.transfer_set.manifest import Manifest

    data = read_json(run_dir / "data" / "manifest.json")
    folder = run_dir / "transfer_set"
    chosen = "dev" if data["selected_on"] == "dev" else "select"
    splits = read_splits(folder, Manifest.load(folder), data["splits"], chosen)
    student = StudentPredictor.load(student_dir)
    logits = {
        name: student.logits(*rows.columns) for name, rows in splits.items()
    }
    return chosen, splits, logits


def _wanted(rows: "Rows", kind: str) -> tuple["np.ndarray", "np.ndarray"]:
    """Return what the answers should be, and where that is known."""
    import numpy as np

    if kind == "agree":
        return rows.teacher_logits.argmax(axis=-1), np.ones(len(rows), bool)
    return rows.labels, rows.labels >= 0


def _seen(
    logits: "np.ndarray", rows: "Rows", threshold: float, temperature: float
) -> dict[str, Any]:
    """Return what a threshold comes to on a split; None where unknown.

    `kept` is a share of the rows; `agreement` and `right` are those of the
    rows kept; `student`, `teacher` and `pair` are accuracies on all.
    """
    import numpy as np

    confidences, answers = confident(logits, temperature)
    theirs = rows.teacher_logits.argmax(axis=-1)
    kept, known = confidences >= threshold, rows.labels >= 0

    def share(good: "np.ndarray", among: "np.ndarray") -> float | None:
        return float(good[among].mean()) if among.any() else None

    pair = np.where(kept, answers, theirs)
    return {
        "rows": len(rows),
        "kept": float(kept.mean()),
        "agreement": share(answers == theirs, kept),
        "right": share(answers == rows.labels, kept & known),
        "student": share(answers == rows.labels, known),
        "teacher": share(theirs == rows.labels, known),
        "pair": share(pair == rows.labels, known),
    }


def time_sentence(
    picked: Mapping[str, Any], results: Mapping[str, Any]
) -> str | None:
    """Say what the pair costs; None where speeds were not measured."""
    speeds = [
        (results.get(name) or {}).get("sentences_per_s")
        for name in ("teacher", "student")
    ]
    if not all(speeds):
        return None
    teacher, student = (1000 / speed for speed in speeds)
    first = next(iter(picked["splits"].values()))
    pair = student + (1 - first["kept"]) * teacher
    return (
        f"1,000 texts: teacher {teacher:.1f} s, student {student:.2f} s, both "
        f"as a pair {pair:.1f} s, {teacher / pair:.1f} times as fast as the "
        "teacher (speeds of the run's report)"
    )


def _nothing(
    confidences: "np.ndarray", right: "np.ndarray", kind: str, target: float
) -> str:
    """Say that no threshold passed, and what it would take."""
    verb = "agrees with the teacher" if kind == "agree" else "is right"
    least = rows_needed(target)
    said = (
        f"no threshold: on none of the {len(right):,} rows that choose it is "
        f"sure that the student {verb} in {100 * target:g}% of the texts kept. "
        f"It takes {least:,} of them without an error"
    )
    tested = thresholds(confidences, target)
    if len(tested):
        kept = confidences >= tested[0]
        share = float(right[kept].mean())
        needed = rows_needed_at(target, share)
        said += (
            f"; of the {kept.sum():,} most confident {100 * share:.1f}% are, "
            + (
                f"with which it takes about {needed:,}"
                if needed
                else "with which no number is enough: ask for less"
            )
        )
    return said + ". Nothing was written.\n"


def _table(facts: Mapping[str, Any]) -> str:
    """Return what the threshold comes to, split by split."""
    heads = ["%", "kept", "agrees there", "right there"]
    keys = ("kept", "agreement", "right", "student", "pair", "teacher")
    rows = [[*heads, "student", "pair", "teacher"]]
    for name, values in facts["splits"].items():
        star = "*" if name == facts["split"] else ""
        cells = (values[key] for key in keys)
        rows.append(
            [
                f"{name}{star}",
                *("-" if c is None else f"{100 * c:.1f}" for c in cells),
            ]
        )
    return aligned(rows) + "\n* the threshold was picked on it\n"


def _parser() -> Parser:
    parser = Parser(
        prog="python -m keras_distill.cascade",
        description="Pick the confidence from which on a run's student needs "
        "no teacher.",
    )
    parser.add_argument("run", type=Path, help="a run folder")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--agree",
        type=number,
        metavar="SHARE",
        help="so often it is to say what the teacher says, such as 0.98",
    )
    target.add_argument(
        "--accuracy",
        type=number,
        metavar="SHARE",
        help="so often it is to be right",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
