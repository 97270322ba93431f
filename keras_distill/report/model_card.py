"""The model card: a run's README.md, written from its results alone."""

from typing import Any

from keras_distill.config import Config
from keras_distill.report import wording
from keras_distill.report.card_tables import (
    cost_section,
    markdown_table,
    numbers_section,
    paper_section,
    plain,
)
from keras_distill.run import duration

_MOST_LABELS = 20

_TASKS = {
    "quick": "short English reviews, the corpus that ships with keras_distill",
    "sst2": "SST-2 of GLUE: sentiment of phrases from film reviews",
    "qqp": "QQP of GLUE: whether two questions ask the same",
    "mnli": "MNLI of GLUE: whether a premise entails a hypothesis",
    "custom": "the user's own data",
}


def model_card(results: dict[str, Any], config: Config) -> str:
    """Return the model card of a run as Markdown.

    Args:
        results: The content of `results.json`.
        config: The run's configuration.

    Returns:
        What the model is, its numbers and how they were come by, the data,
        the settings, how to call it, its limits.
    """
    sections = [
        _what(results),
        numbers_section(results),
        cost_section(results),
        paper_section(results["task"]),
        _data(results, config),
        _making(results, config),
        _calling(results),
        _limits(results, config),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(results: dict[str, Any]) -> str:
    labels = [f"`{plain(label)}`" for label in results["labels"]]
    shown = ", ".join(labels[:_MOST_LABELS])
    if len(labels) > _MOST_LABELS:
        shown += f" and {len(labels) - _MOST_LABELS} more (labels.txt)"
    student = results["student"]
    kind = "siamese BiLSTM" if results["pair"] else "BiLSTM"
    takes = "a pair of texts" if results["pair"] else "a text"
    apart = wording.count(student["parameters_without_embeddings"])
    teacher = results["teacher"]
    return f"""# {results["task"]}: a {kind} distilled from \
{plain(teacher["name"])}

A small classifier of text in the manner of Tang et al. 2019, [Distilling
Task-Specific Knowledge from BERT into Simple Neural
Networks](https://arxiv.org/abs/1903.12136): a single-layer {kind} that learnt
from the logits of a fine-tuned BERT. It takes {takes} and gives one of
{len(labels)} classes: {shown}.

It has {wording.count(student["parameters"])} parameters ({apart} without word
vectors), the teacher {wording.count(teacher["parameters"])}."""


def _data(results: dict[str, Any], config: Config) -> str:
    transfer_set = results["transfer_set"]
    rows = transfer_set["rows"]
    counts = ", ".join(f"{count:,} {source}" for source, count in rows.items())
    settings = config.augmentation
    tagger = "" if settings.pos_tagger != "none" else ", which was left out"
    return f"""## Data

{_TASKS[results["task"]][0].upper()}{_TASKS[results["task"]][1:]}.
{results["splits"]["train"]["rows"]:,} labelled rows to train on.

The student was trained on {sum(rows.values()):,} rows with the teacher's
logits: {counts}. Augmented rows are the training rows\
{" and the unlabelled ones" if settings.unlabeled else ""} after up to
{settings.n_iter} rounds of masking (p {settings.p_mask}), replacement by a
word of the same part of speech (p {settings.p_pos}{tagger}) and n-gram
sampling (p {settings.p_ngram}, n up to {settings.max_ngram})."""


def _making(results: dict[str, Any], config: Config) -> str:
    student, teacher = results["student"], results["teacher"]
    if teacher["fine_tuned_here"]:
        rates = ", ".join(f"{rate:g}" for rate in config.teacher.learning_rates)
        tuning = (
            f"fine-tuned here, learning rates tried: {rates}; best: "
            f"{teacher['learning_rate']:g} after epoch {teacher['epoch']}"
        )
    else:
        tuning = "came fine-tuned"
    rows = [
        ["teacher", f"{plain(teacher['name'])}, {tuning}"],
        [
            "student",
            f"{config.student.lstm_units} LSTM units a direction, "
            f"{config.student.hidden_units} hidden units",
        ],
        ["word vectors", _vectors(results, config)],
        ["vocabulary", f"{student['vocabulary_size']:,} words"],
        ["objective", _objective(config)],
        [
            "training",
            f"{config.student.optimizer}, batches of "
            f"{config.student.batch_size}, {student['updates']:,} updates, "
            f"best after epoch {student['best_epoch']:g}",
        ],
    ]
    baseline = results["baseline"]
    if baseline is not None:
        rows.append(
            [
                "student on labels alone",
                "same architecture, vocabulary and vectors; "
                f"{baseline['updates']:,} updates on "
                f"{baseline['training_rows']:,} labelled rows, "
                f"{baseline['evaluations']} evaluations (distilled: "
                f"{student['evaluations']}), the best kept",
            ]
        )
    rows.append(["seed", str(results["seed"])])
    total = duration(sum(results["seconds"].values()))
    resumed = results["resumed_stages"]
    rows.append(
        [
            "time",
            f"{total} in all"
            + (
                f", not counting what {', '.join(resumed)} took before "
                "they were resumed"
                if resumed
                else ""
            ),
        ]
    )
    return f"""## How it was made

{markdown_table(["what", "how"], rows)}

`config.yaml` holds every setting: `python train.py --config config.yaml
--output-dir FOLDER` repeats the run, `results.json` has all numbers."""


def _vectors(results: dict[str, Any], config: Config) -> str:
    embeddings = results["embeddings"]
    wide = f"{config.student.embedding_dim} wide"
    if embeddings["source"] is None:
        return f"random at the start, {wide}"
    return (
        f"{plain(embeddings['source'])}, {embeddings['mode']}, {wide}; they "
        f"cover {wording.percent(embeddings['token_coverage'])}% of the "
        f"running words, {wording.percent(embeddings['type_coverage'])}% of "
        "the vocabulary"
    )


def _objective(config: Config) -> str:
    settings = config.student
    distance = "squared distance of the logits"
    if settings.loss == "kl":
        distance = f"KL divergence at temperature {settings.temperature:g}"
    if settings.alpha == 0:
        return distance
    if settings.alpha == 1:
        return "cross-entropy of gold labels"
    return (
        f"{settings.alpha:g} × cross-entropy of gold labels + "
        f"{1 - settings.alpha:g} × {distance}"
    )


def _calling(results: dict[str, Any]) -> str:
    if results["pair"]:
        shell = 'RUN "first text" --text-b "second text"'
        arguments = (
            'text=tf.constant(["first text"]),\n'
            '    text_b=tf.constant(["second text"]),'
        )
    else:
        shell = 'RUN "your own text"'
        arguments = 'text=tf.constant(["your own text"]),'
    parts = [
        f"""## How to call it

`RUN` is this folder.

```bash
python -m keras_distill.predict {shell}
python -m keras_distill.evaluate RUN --data FILE
```"""
    ]
    if "saved_model" in results["exports"]:
        parts.append(
            f"""With nothing but tensorflow and tensorflow-text installed:

```python
import tensorflow as tf
import tensorflow_text  # registers the tokenizer's ops

model = tf.saved_model.load("RUN/export/saved_model")
answer = model.signatures["serving_default"](
    {arguments}
)
answer["label"], answer["probabilities"], answer["logits"]
```"""
        )
    return "\n\n".join(parts)


def _limits(results: dict[str, Any], config: Config) -> str:
    settings = config.student
    split = results["gain"]["split"]
    rows = results["splits"][split]["rows"]
    limits = [
        f"Measured on {rows:,} rows like those it was trained on; other "
        "kinds of text are likely to go worse.",
        "It copies the teacher, mistakes and prejudices of its training text "
        "included.",
        f"It reads the first {settings.max_length} words of a text.",
    ]
    if not settings.word_pieces:
        limits.append(
            f"It knows {results['student']['vocabulary_size']:,} words; all "
            "others are one and the same to it."
        )
    if results["calibration"]["temperature"] is None:
        limits.append(
            "Its probabilities are not calibrated: read them as an order, "
            "not as frequencies."
        )
    if not results["teacher"]["fine_tuned_here"]:
        limits.append(
            "The teacher came fine-tuned. If it was trained on rows that are "
            "measured here, the teacher's numbers flatter."
        )
    if wording.chosen_on(results, split):
        limits.append(
            f"{split} chose learning rate and epochs; a labelled test file "
            "would give honest numbers."
        )
    if len(results["student"]["seeds"]) == 1:
        limits.append(
            "One seed: another one moves the numbers, by how much is not "
            "measured (`--extra-seeds`)."
        )
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)
