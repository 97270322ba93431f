"""What may help a student that is far below its teacher.

Every line follows from a figure of the run itself.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from keras_distill.config import Config
from keras_distill.display import percent
from keras_distill.run import duration

# So far below its teacher a student is before anything is said, in shares.
_FAR_BELOW = 0.05
# Distances that are written as 5.0 points are not above it.
_ROUNDING = 5e-4
# Of its tokens, read as [UNK].
_MANY_UNKNOWN = 0.01
# Rows of the transfer set for each labelled one.
_FEW_ROWS = 5
# A student that says less often what its teacher says, on the very texts
# that it learned from, has not learned them.
_FOLLOWS = 0.9


def advice(results: Mapping[str, Any], config: Config) -> list[str]:
    """Return what to try next: a heading sentence, then the ways on.

    Args:
        results: What `results.json` will hold.
        config: The run's configuration.

    Returns:
        Sentences: that the yardstick is better than the student, where it
        is; how far the student is below its teacher, where that is more than
        5 points of the run's metric on the reported split; then what the
        figures suggest. Nothing where neither is so.
    """
    split = results["gain"]["split"]
    metric = results["metric"]
    student, teacher, yardstick = (
        _score(results.get(name), split, metric)
        for name in ("student", "teacher", "yardstick")
    )
    if student is None:
        return []
    said = []
    what = metric.replace("_", " ")
    if yardstick is not None and yardstick > student:
        seconds = duration(results["yardstick"]["seconds"])
        said.append(
            f"Logistic regression on word counts, {seconds} of work, is "
            f"better than the student on {split}: {percent(yardstick)} to "
            f"{percent(student)}, in percent of {what}."
        )
    if teacher is not None and teacher - student > _FAR_BELOW + _ROUNDING:
        said.append(
            f"The student is {100 * (teacher - student):.1f} points of {what} "
            f"below its teacher on {split}."
        )
    return [*said, *_ways(results, config)] if said else []


def advice_lines(results: Mapping[str, Any]) -> list[str]:
    """Return the advice of a run as Markdown, which a terminal shows too."""
    return [f"- {one}" for one in results.get("advice") or ()]


def _score(
    model: Mapping[str, Any] | None, split: str, metric: str
) -> float | None:
    """Return a model's score, the mean of several seeds where it is known."""
    scores = (model or {}).get(split) or {}
    return scores.get(f"{metric}_mean", scores.get(metric))


def _ways(results: Mapping[str, Any], config: Config) -> Iterator[str]:
    """Yield what the figures suggest, the cheapest first."""
    epochs = config.student.epochs
    if results["student"]["best_epoch"] >= epochs:
        yield (
            f"Its best look was the last one, after epoch {epochs}: more "
            f"epochs (--epochs {2 * epochs})."
        )
    unknown = (results.get("unknown") or {}).get(results["gain"]["split"])
    share = unknown["unk_tokens"] if unknown else 0
    if share > _MANY_UNKNOWN and config.recipe != "best":
        yield (
            f"{percent(share)}% of the tokens are [UNK] to it: a vocabulary "
            "that is open, with pieces (--recipe best)."
        )
    if way := _more_text(results, config):
        yield way
    original = (results.get("sources") or {}).get("original")
    if original and original["agreement"] < _FOLLOWS:
        yield (
            "It says what its teacher says in only "
            f"{percent(original['agreement'])}% of the very texts that it "
            f"learned from: another student ({_larger(results, config)})."
        )


def _larger(results: Mapping[str, Any], config: Config) -> str:
    """Return how to find a student that takes more of its teacher in."""
    if results["pair"] and config.student.kind != "interaction":
        return "--kind interaction, or tune.py --run RUN --space kinds"
    return "tune.py --run RUN --space kinds, then wide"


def _more_text(results: Mapping[str, Any], config: Config) -> str | None:
    """Say that the transfer set is short of text, where it is."""
    rows = results["transfer_set"]["rows"]
    labelled, total = rows.get("original", 0), sum(rows.values())
    ways = ["unlabelled text (--unlabeled FILE)"]
    if config.teacher.alone:
        # Nobody can be asked what it says of others.
        ways = ["more texts that the teacher has answered (--unlabeled FILE)"]
    if labelled and total < _FEW_ROWS * labelled:
        if not config.teacher.alone:
            more = max(10, 2 * config.augmentation.n_iter)
            ways.append(f"more copies (--n-iter {more})")
        return (
            f"The transfer set has only {total / labelled:.1f} rows for each "
            f"labelled one: {', '.join(ways)}."
        )
    if not rows.get("unlabelled"):
        return f"The transfer set has no text without a label: {ways[0]}."
    return None
