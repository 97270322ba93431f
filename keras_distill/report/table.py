"""The table that a run ends with, for a terminal."""

from typing import Any

from keras_distill import wording
from keras_distill.report.paper import CONDITIONS, PAPER, SOURCE
from keras_distill.run import duration

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
        wording.wrapped(wording.gain_sentence(results)),
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
            wording.f1_name(results),
            "parameters",
            "size",
            f"{wording.texts_name(results)}/s",
        )
    ]
    for name, model in wording.models(results):
        rows.append(
            (
                name,
                wording.score(model[split], "accuracy"),
                wording.score(model[split], "f1"),
                wording.count(model["parameters"]),
                wording.size(model["bytes"]),
                wording.rate(model["sentences_per_s"]),
            )
        )
    number = results["splits"][split]["rows"]
    heading = (
        f"{results['task']}: {number:,} rows of {split}. "
        + wording.choice_sentence(results, split)
    )
    notes = []
    apart = results["student"]["parameters_without_embeddings"]
    if apart is not None:
        notes.append(
            f"Without word vectors the student has {wording.count(apart)} "
            "parameters."
        )
    seeds = len(results["student"]["seeds"])
    if seeds > 1:
        notes.append(
            f"Students: mean ± standard deviation of {seeds} seeds; size and "
            "speed of the first."
        )
    return "\n".join(
        [
            wording.wrapped(heading),
            "",
            *wording.aligned(rows, [_NAME_WIDTH]),
            "",
            *map(wording.wrapped, notes),
        ]
    )


def _other_splits(results: dict[str, Any]) -> str | None:
    first = results["gain"]["split"]
    names = [n for n in results["splits"] if n not in ("train", first)]
    if not names:
        return None
    marked = [
        name + ("*" if wording.chosen_on(results, name) else "")
        for name in names
    ]
    rows = [("accuracy, %", *marked)]
    for name, model in wording.models(results):
        rows.append(
            (name, *(wording.score(model[s], "accuracy") for s in names))
        )
    lines = wording.aligned(rows, [_NAME_WIDTH])
    if marked != names:
        lines.append(f"* {wording.choices(results)} were chosen on it")
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
            *wording.aligned(rows, [_NAME_WIDTH]),
        ]
    )


def _seconds_block(seconds: dict[str, float]) -> str | None:
    if not seconds:
        return None

    def took(value: float) -> str:
        return duration(value).replace(" ", wording.NO_BREAK)

    stages = [
        f"{name}{wording.NO_BREAK}{took(value)}"
        for name, value in seconds.items()
    ]
    return wording.wrapped(
        f"Time: {', '.join(stages)}; together {took(sum(seconds.values()))}."
    )
