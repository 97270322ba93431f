"""The model card's tables of numbers, in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_distill import wording
from keras_distill.report.paper import CONDITIONS, PAPER, SOURCE


def numbers_section(results: dict[str, Any]) -> str:
    """Return how good the models are on every split."""
    split = results["gain"]["split"]
    finding = [
        wording.choice_sentence(results, split),
        wording.gain_sentence(results),
    ]
    parts = ["## Numbers", wording.wrapped(" ".join(filter(None, finding)))]
    parts.append(
        markdown_table(
            [
                "split",
                "model",
                "accuracy",
                wording.f1_name(results),
                "MCC",
                "agreement with teacher",
                "KL",
                "logit MSE",
            ],
            _metric_rows(results),
        )
    )
    notes = ["In percent; KL(teacher, student) in nats."]
    if len(results["labels"]) == 2:
        label = code(results["labels"][1])
        notes.append(f"F1 is that of the class {label}.")
    if any(wording.chosen_on(results, name) for name in _splits(results)):
        notes.append(f"`*`: {wording.choices(results)} were chosen on it.")
    seeds = results["student"]["seeds"]
    if len(seeds) > 1:
        listed = ", ".join(map(str, seeds))
        notes.append(
            f"Students: mean ± standard deviation over the seeds {listed}, "
            f"KL and logit MSE of seed {seeds[0]}, which is the model here."
        )
    else:
        notes.append(f"Students: one seed, {seeds[0]}.")
    parts.append(wording.wrapped(" ".join(notes)))
    parts.append(wording.wrapped(wording.calibration_sentence(results)))
    return "\n\n".join(filter(None, parts))


def _metric_rows(results: dict[str, Any]) -> Iterable[list[str]]:
    for split in _splits(results):
        star = "`*`" if wording.chosen_on(results, split) else ""
        rows = results["splits"][split]["rows"]
        for name, model in wording.models(results):
            values = model[split]
            yield [
                f"{split}{star} ({rows:,})",
                name,
                *(
                    wording.score(values, metric)
                    for metric in ("accuracy", "f1", "mcc", "agreement")
                ),
                *(_number(values.get(key)) for key in ("kl", "logit_mse")),
            ]


def cost_section(
    results: dict[str, Any], size_picture: str | None = None
) -> str:
    """Return how large and how fast the models are.

    Args:
        results: The content of `results.json`.
        size_picture: Where the picture of size against accuracy is, seen
            from the card; None when there is none.
    """
    rows = [
        [
            name,
            wording.count(model["parameters"]),
            wording.size(model["bytes"]),
            wording.rate(model["sentences_per_s"]),
        ]
        for name, model in wording.models(results)
    ]
    machine = results["machine"]
    where = f"{machine['processors']} processors ({machine['platform']})"
    if machine["gpus"]:
        where += f" and {machine['gpus']} GPU"
    texts = wording.texts_name(results)
    parts = [
        "## Size and speed",
        markdown_table(["model", "parameters", "weights", f"{texts}/s"], rows),
        wording.wrapped(
            "Speed from text to logits, in batches of like length: the "
            "teacher's while it labelled the transfer set, the students' on "
            f"{where}."
        ),
    ]
    if results["exports"]:
        parts.append(
            markdown_table(
                ["export", "size", "rows", "accuracy", "logits off by"],
                [
                    [
                        f"`{name}`",
                        wording.size(values["bytes"]),
                        _number(values.get("rows"), ",d"),
                        wording.percent(values["accuracy"]),
                        _number(values["max_abs_logit_difference"], ".1e"),
                    ]
                    for name, values in results["exports"].items()
                ],
            )
        )
    if results["sizes"]:
        parts += _smaller(results)
    if size_picture is not None:
        parts.append(f"![Accuracy against size]({size_picture})")
    return "\n\n".join(parts)


def _smaller(results: dict[str, Any]) -> list[str]:
    """Return what smaller files would cost."""
    split = results["gain"]["split"]
    return [
        wording.wrapped(
            "Smaller int8 files, made by `python -m keras_distill.export RUN "
            "--max-size-mb N`, which keeps fewer words and narrower vectors, "
            "chosen on the selection split; accuracy on "
            f"{split}, and how many points that is below the whole student. "
            "No file was made for this table: sizes are estimated, and "
            "accuracies computed with the word vectors rounded as in the file, "
            "all other weights as they are."
        ),
        markdown_table(
            ["size", "words", "vector", "accuracy", "points below"],
            [
                [
                    wording.size(row["bytes"]),
                    f"{row['words']:,}",
                    str(row["width"]),
                    wording.percent(row["accuracy"]),
                    f"{row['points']:.1f}",
                ]
                for row in results["sizes"]
            ],
        ),
    ]


def paper_section(task: str) -> str | None:
    """Return the paper's numbers, or None for a task it does not have."""
    if task not in PAPER:
        return None
    paper = PAPER[task]
    rows = [
        [name, role, *(f"{value:.1f}" for value in values)]
        for name, role, values in paper.rows
    ]
    return f"""## The paper's numbers

{SOURCE}, for orientation: {CONDITIONS}.

{markdown_table(["model", "what it is", *paper.columns], rows)}"""


def _splits(results: dict[str, Any]) -> list[str]:
    return [name for name in results["splits"] if name != "train"]


def _number(value: float | None, form: str = ".3f") -> str:
    return wording.UNKNOWN if value is None else format(value, form)


def code(text: str) -> str:
    """Return a name as inline code, whatever characters it holds."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
        for line in lines
    )
