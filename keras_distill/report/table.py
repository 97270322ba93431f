"""A run's results in words, and as a table on the terminal."""

from typing import Any

from keras_distill.display import (
    NO_BREAK,
    UNKNOWN,
    aligned,
    count,
    percent,
    size,
    wrapped,
)
from keras_distill.report.advice import advice_lines
from keras_distill.report.classes import classes_block
from keras_distill.run import duration

# The rows of a report: its key in the results and its name for people.
MODELS = {
    "teacher": "teacher",
    "baseline": "student, labels alone",
    "student": "student, distilled",
}
_NAME_WIDTH = max(map(len, MODELS.values()))
_YARDSTICK = "logistic regression"

SOURCE = "Tang et al. 2019, table 1"
# What the paper's rows are, so that nobody takes them for the same thing.
CONDITIONS = "BERT-large teacher, full training data, GLUE's test server"


_PAPER_MODELS = (
    ("BERT_LARGE", "the teacher"),
    # The paper's own implementation, not GLUE's.
    ("BiLSTM", "on labels alone"),
    ("BiLSTM_SOFT", "distilled"),
)
# By task the columns, and the models' numbers in percent.
_PAPER = {
    "sst2": (["accuracy"], [[94.9], [86.7], [90.7]]),
    "qqp": (["accuracy", "F1"], [[89.3, 72.1], [86.2, 63.7], [88.1, 68.2]]),
    "mnli": (
        ["accuracy, matched", "accuracy, mismatched"],
        [[86.7, 85.9], [68.7, 68.3], [73.0, 72.6]],
    ),
}


def paper_results(task: str) -> tuple[list[str], list[list[str]]] | None:
    """Return table 1 for a task, or None for one that it does not have.

    The columns; then for each model the paper's name, what it is here, and
    the numbers.
    """
    if task not in _PAPER:
        return None
    columns, numbers = _PAPER[task]
    return columns, [
        [*names, *(f"{value:.1f}" for value in values)]
        for names, values in zip(_PAPER_MODELS, numbers, strict=True)
    ]


def results_table(results: dict[str, Any]) -> str:
    """Return a run's results as plain text.

    Args:
        results: The content of `results.json`.

    Returns:
        Teacher, student on labels alone and distilled student on the first
        split, with what they cost; the other splits; the student by class,
        where that tells more; the gain with its interval; the paper's rows
        for a task that it has; seconds per stage; what to try next.
    """
    gain = gain_sentence(results)
    blocks = [
        _main_block(results),
        _other_splits(results),
        classes_block(results),
        gain and wrapped(gain),
        _paper_block(results["task"]),
        _seconds_block(results),
        _advice_block(results),
    ]
    return "\n\n".join(block for block in blocks if block)


def score(values: dict[str, Any] | None, metric: str) -> str:
    """Return a metric in percent: `87.2`, or over seeds `87.2 ± 0.4`."""
    if not values:
        return UNKNOWN
    spread = values.get(f"{metric}_std")
    if spread is None:
        return percent(values.get(metric))
    return f"{percent(values[f'{metric}_mean'])} ± {percent(spread)}"


def number(value: float | None, form: str = ".3f") -> str:
    """Return a formatted number, a dash for None."""
    return UNKNOWN if value is None else format(value, form)


def f1_name(results: dict[str, Any]) -> str:
    """Return what F1 is called: with more than two classes it is a mean."""
    return "F1" if len(results["labels"]) == 2 else "macro F1"


def texts_name(results: dict[str, Any]) -> str:
    """Return what a row of the task is, for rates."""
    return "pairs" if results["pair"] else "sentences"


def chosen_on(results: dict[str, Any], split: str) -> bool:
    """Say whether learning rate and epochs were chosen on a split."""
    return results["splits"][split]["chosen_on"]


def models(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return name and results of each model that the run has.

    The members of a teacher that is several stand before it, the yardstick
    before the students.
    """
    found = [
        (name, results[key])
        for key, name in MODELS.items()
        if results[key] is not None
    ]
    # Runs of older versions have none.
    if yardstick := results.get("yardstick"):
        found.insert(1, (_YARDSTICK, yardstick))
    members = results["teacher"].get("members")
    if not members:
        return found
    (_, together), *students = found
    each = [(f"teacher {i}", one) for i, one in enumerate(members, start=1)]
    return [*each, (f"teachers, mean of {len(members)}", together), *students]


def teacher_names(teacher: dict[str, Any]) -> list[str]:
    """Return what each of several teachers is: `bert, rate 2e-05, epoch 3`."""
    return [
        one["name"]
        if one["learning_rate"] is None
        else f"{one['name']}, rate {one['learning_rate']:g}, epoch "
        f"{one['epoch']}"
        for one in teacher.get("members") or ()
    ]


def cost_cells(model: dict[str, Any]) -> list[str]:
    """Return a model's parameters, size and speed for people."""
    return [
        count(model["parameters"]),
        size(model.get("bytes")),
        number(model.get("sentences_per_s"), ",.0f"),
    ]


def yardstick_sentence(results: dict[str, Any]) -> str | None:
    """Say what the yardstick is; None in a run that has none."""
    if not (found := results.get("yardstick")):
        return None
    return (
        f"{_YARDSTICK.capitalize()}: TF-IDF of {found['features']:,} words and "
        f"pairs of words, fitted on {found['rows']:,} gold labels in "
        f"{duration(found['seconds']).replace(' ', NO_BREAK)}."
    )


def gain_sentence(results: dict[str, Any]) -> str | None:
    """Say what distillation gained; None when no baseline was trained."""
    gain = results["gain"]
    if gain["points"] is None:
        return None
    points, low, high = (gain[key] for key in ("points", "ci_low", "ci_high"))
    rows = results["splits"][gain["split"]]["rows"]
    seeds = len(results["student"]["seeds"])
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    text = (
        f"Distillation changes accuracy on {gain['split']} by {points:+.1f} "
        f"points (95% interval {low:+.1f} to {high:+.1f}; {rows:,} "
        f"rows{mean})."
    )
    if low <= 0 <= high:
        text += " The interval holds 0: these rows do not settle it."
    return text


def promise(picked: dict[str, Any]) -> str:
    """Say what a picked threshold of confidence promises."""
    said = (
        "says what the teacher says"
        if picked["kind"] == "agree"
        else "is right"
    )
    return (
        f"With a probability of {picked['threshold']:.4f} or more the student "
        f"{said} in at least {100 * picked['target']:g}% of the texts "
        f"({100 * picked['level']:g}% certain for texts like those of "
        f"{picked['split']}; seen there: {picked['right']:,} of "
        f"{picked['kept']:,}). So it keeps {picked['kept']:,} of "
        f"{picked['rows']:,} texts."
    )


def choices(results: dict[str, Any]) -> str:
    """Return what was chosen on the selection split."""
    if results["teacher"]["fine_tuned_here"]:
        return "learning rate and epochs"
    return "the students' epochs"


def choice_sentence(results: dict[str, Any], split: str) -> str:
    """Say whether a split's numbers are those of untouched rows."""
    what = choices(results)
    what = f"{what[0].upper()}{what[1:]} were chosen on"
    if chosen_on(results, split):
        return f"{what} {split} itself, so its numbers flatter."
    place = "dev"
    if results["selected_on"] != "dev":
        place = "a held-out part of train (select)"
    return f"{what} {place}; {split} had no say in anything."


def calibration_sentence(results: dict[str, Any]) -> str | None:
    """Say what the temperature does, or None when there is none."""
    calibration = results["calibration"]
    if calibration["temperature"] is None:
        return None
    place = "dev" if results["selected_on"] == "dev" else "select"
    text = (
        "Probabilities are calibrated: the logits are divided by "
        f"{calibration['temperature']:.2f}, fitted on {place}, before the "
        "softmax."
    )
    if calibration["ece_before"] is not None:
        text += (
            " The expected calibration error on "
            f"{results['gain']['split']} is "
            f"{percent(calibration['ece_after'])} points with that and "
            f"{percent(calibration['ece_before'])} without."
        )
    return text


def _main_block(results: dict[str, Any]) -> str:
    split = results["gain"]["split"]
    texts = f"{texts_name(results)}/s"
    heads = ["accuracy", f1_name(results), "parameters", "size", texts]
    rows = [[f"{split}, %", *heads]]
    for name, model in models(results):
        scores = [score(model[split], key) for key in ("accuracy", "f1")]
        rows.append([name, *scores, *cost_cells(model)])
    total = results["splits"][split]["rows"]
    heading = (
        f"{results['task']}: {total:,} rows of {split}. "
        + choice_sentence(results, split)
    )
    lines = [wrapped(heading), "", aligned(rows, _NAME_WIDTH), ""]
    for place, name in enumerate(teacher_names(results["teacher"]), start=1):
        lines.append(wrapped(f"Teacher {place}: {name}."))
    if yardstick := yardstick_sentence(results):
        lines.append(wrapped(yardstick))
    apart = results["student"]["parameters_without_embeddings"]
    if apart is not None:
        lines.append(
            f"Without word vectors the student has {count(apart)} parameters."
        )
    seeds = len(results["student"]["seeds"])
    if seeds > 1:
        lines.append(
            f"Students: mean ± standard deviation of {seeds} seeds; size and "
            "speed of the first."
        )
    return "\n".join(lines)


def _other_splits(results: dict[str, Any]) -> str | None:
    first = results["gain"]["split"]
    names = [n for n in results["splits"] if n not in ("train", first)]
    if not names:
        return None
    marked = [
        name + ("*" if chosen_on(results, name) else "") for name in names
    ]
    rows = [["accuracy, %", *marked]]
    for name, model in models(results):
        rows.append([name, *(score(model[s], "accuracy") for s in names)])
    table = aligned(rows, _NAME_WIDTH)
    if marked != names:
        table += f"\n* {choices(results)} were chosen on it"
    return table


def _paper_block(task: str) -> str | None:
    if not (paper := paper_results(task)):
        return None
    columns, rows = paper
    lines = [[f"{name}, {role}", *values] for name, role, *values in rows]
    table = aligned([["", *columns], *lines], _NAME_WIDTH)
    return f"For orientation, {SOURCE}\n({CONDITIONS}):\n\n{table}"


def _advice_block(results: dict[str, Any]) -> str | None:
    lines = advice_lines(results)
    return (
        "\n".join(["What may help:", *map(wrapped, lines)]) if lines else None
    )


def own_seconds(results: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of the stages that this run has made itself."""
    taken = results.get("taken_stages", {})
    return {n: s for n, s in results["seconds"].items() if n not in taken}


def whole_seconds(results: dict[str, Any]) -> float:
    """Return what a run's own stages took together, some side by side."""
    own = own_seconds(results)
    saved = (
        min(own[name], sum(own.get(other, 0.0) for other in others))
        for name, others in results.get("beside", {}).items()
        if name in own
    )
    return sum(own.values()) - sum(saved)


def _seconds_block(results: dict[str, Any]) -> str | None:
    if not results["seconds"]:
        return None

    def took(value: float) -> str:
        return duration(value).replace(" ", NO_BREAK)

    def listed(seconds: dict[str, float]) -> str:
        return ", ".join(f"{n}{NO_BREAK}{took(s)}" for n, s in seconds.items())

    own = own_seconds(results)
    text = f"Time: {listed(own)}; together {took(whole_seconds(results))}"
    for name, others in results.get("beside", {}).items():
        if name in own:
            text += f" ({name} beside {' and '.join(others)})"
    text += "."
    if taken := {n: s for n, s in results["seconds"].items() if n not in own}:
        text += f" Taken over, made before: {listed(taken)}."
    return wrapped(text)
