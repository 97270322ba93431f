"""The table of results on the terminal."""

from dataclasses import dataclass
from typing import Any

from keras_distill.display import (
    NO_BREAK,
    aligned,
    choice_sentence,
    choices,
    chosen_on,
    count,
    f1_name,
    gain_sentence,
    models,
    rate,
    score,
    size,
    texts_name,
    wrapped,
)
from keras_distill.run import duration

SOURCE = "Tang et al. 2019, table 1"
# What the paper's rows are, so that nobody takes them for the same thing.
CONDITIONS = "BERT-large teacher, full training data, GLUE's test server"


@dataclass(frozen=True)
class PaperResults:
    """Rows of table 1 for one task.

    Attributes:
        columns: What the numbers are, in order.
        rows: The model's name as the paper has it, what it corresponds to
            here, and its numbers in percent.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[float, ...]], ...]


def _results(
    columns: tuple[str, ...],
    teacher: tuple[float, ...],
    undistilled: tuple[float, ...],
    distilled: tuple[float, ...],
) -> PaperResults:
    return PaperResults(
        columns,
        (
            ("BERT_LARGE", "the teacher", teacher),
            ("BiLSTM", "on labels alone", undistilled),
            ("BiLSTM_SOFT", "distilled", distilled),
        ),
    )


# The BiLSTM is the paper's own implementation, not GLUE's.
PAPER = {
    "sst2": _results(("accuracy",), (94.9,), (86.7,), (90.7,)),
    "qqp": _results(
        ("accuracy", "F1"), (89.3, 72.1), (86.2, 63.7), (88.1, 68.2)
    ),
    "mnli": _results(
        ("accuracy, matched", "accuracy, mismatched"),
        (86.7, 85.9),
        (68.7, 68.3),
        (73.0, 72.6),
    ),
}


_NAME_WIDTH = 21


def results_table(results: dict[str, Any]) -> str:
    """Return a run's results as plain text.

    Args:
        results: The content of `results.json`.

    Returns:
        Teacher, student on labels alone and distilled student on the first
        split, with what they cost; the other splits; the gain with its
        interval; the paper's rows for a task that it has; seconds per stage.
    """
    blocks = [
        _main_block(results),
        _other_splits(results),
        wrapped(gain_sentence(results)),
        _paper_block(results["task"]),
        _seconds_block(results["seconds"]),
    ]
    return "\n\n".join(block for block in blocks if block)


def _main_block(results: dict[str, Any]) -> str:
    split = results["gain"]["split"]
    rows = [
        (
            f"{split}, %",
            "accuracy",
            f1_name(results),
            "parameters",
            "size",
            f"{texts_name(results)}/s",
        )
    ]
    for name, model in models(results):
        rows.append(
            (
                name,
                score(model[split], "accuracy"),
                score(model[split], "f1"),
                count(model["parameters"]),
                size(model["bytes"]),
                rate(model["sentences_per_s"]),
            )
        )
    number = results["splits"][split]["rows"]
    heading = (
        f"{results['task']}: {number:,} rows of {split}. "
        + choice_sentence(results, split)
    )
    notes = []
    apart = results["student"]["parameters_without_embeddings"]
    if apart is not None:
        notes.append(
            f"Without word vectors the student has {count(apart)} parameters."
        )
    seeds = len(results["student"]["seeds"])
    if seeds > 1:
        notes.append(
            f"Students: mean ± standard deviation of {seeds} seeds; size and "
            "speed of the first."
        )
    return "\n".join(
        [
            wrapped(heading),
            "",
            *aligned(rows, _NAME_WIDTH).splitlines(),
            "",
            *map(wrapped, notes),
        ]
    )


def _other_splits(results: dict[str, Any]) -> str | None:
    first = results["gain"]["split"]
    names = [n for n in results["splits"] if n not in ("train", first)]
    if not names:
        return None
    marked = [
        name + ("*" if chosen_on(results, name) else "") for name in names
    ]
    rows = [("accuracy, %", *marked)]
    for name, model in models(results):
        rows.append((name, *(score(model[s], "accuracy") for s in names)))
    lines = aligned(rows, _NAME_WIDTH).splitlines()
    if marked != names:
        lines.append(f"* {choices(results)} were chosen on it")
    return "\n".join(lines)


def _paper_block(task: str) -> str | None:
    if task not in PAPER:
        return None
    paper = PAPER[task]
    rows = [("", *paper.columns)]
    rows += [
        (f"{name}, {role}", *(f"{value:.1f}" for value in values))
        for name, role, values in paper.rows
    ]
    return "\n".join(
        [
            f"For orientation, {SOURCE}",
            f"({CONDITIONS}):",
            "",
            *aligned(rows, _NAME_WIDTH).splitlines(),
        ]
    )


def _seconds_block(seconds: dict[str, float]) -> str | None:
    if not seconds:
        return None

    def took(value: float) -> str:
        return duration(value).replace(" ", NO_BREAK)

    stages = [
        f"{name}{NO_BREAK}{took(value)}" for name, value in seconds.items()
    ]
    return wrapped(
        f"Time: {', '.join(stages)}; together {took(sum(seconds.values()))}."
    )
