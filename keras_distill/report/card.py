"""The model card of a run."""

import textwrap
from collections.abc import Iterable
from typing import Any

from keras_distill.config import Config, StudentConfig
from keras_distill.data.told import said_in_words
from keras_distill.display import (
    code,
    count,
    markdown_table,
    percent,
    size,
    wrapped,
)
from keras_distill.report.advice import advice_lines
from keras_distill.report.classes import (
    class_rows,
    lost_sentences,
    shows_classes,
    what_of,
)
from keras_distill.report.table import (
    CONDITIONS,
    MODELS,
    SOURCE,
    calibration_sentence,
    choice_sentence,
    choices,
    chosen_on,
    cost_cells,
    f1_name,
    gain_sentence,
    models,
    number,
    own_seconds,
    paper_results,
    promise,
    score,
    teacher_names,
    texts_name,
    whole_seconds,
    yardstick_sentence,
)
from keras_distill.report.understood import shown
from keras_distill.run import duration

_MOST_LABELS = 20

# What the kinds of students are called.
_KINDS = {
    "linear": "logistic regression",
    "bag": "bag of words",
    "cnn": "convolutional network",
    "bilstm": "BiLSTM",
    "attention": "BiLSTM with attention",
    "interaction": "BiLSTM with attention between the texts",
}
_PAPER = (
    "[Distilling Task-Specific Knowledge from BERT into Simple Neural "
    "Networks](https://arxiv.org/abs/1903.12136)"
)
_TASKS = {
    "quick": "Short English reviews, the corpus that ships with keras_distill",
    "sst2": "SST-2 of GLUE: sentiment of phrases from film reviews",
    "qqp": "QQP of GLUE: whether two questions ask the same",
    "mnli": "MNLI of GLUE: whether a premise entails a hypothesis",
    "custom": "The user's own data",
}


def model_card(
    results: dict[str, Any], config: Config, size_picture: str | None = None
) -> str:
    """Return the model card of a run as Markdown.

    What the model is, its numbers and how they were come by, the data, the
    settings, how to call it, its limits.

    Args:
        results: The content of `results.json`.
        config: The run's configuration.
        size_picture: Where the picture of size against accuracy is, seen
            from the card; None when there is none.
    """
    sections = [
        _what(results, config),
        _numbers(results),
        _advice(results),
        _cascade(results),
        _classes(results),
        _unknown(results),
        _sources(results),
        _cost(results, size_picture),
        _paper(results["task"]),
        _data(results, config),
        _making(results, config),
        _calling(results),
        _limits(results, config),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _numbers(results: dict[str, Any]) -> str:
    """Return how good the models are on every split."""
    split = results["gain"]["split"]
    finding = [choice_sentence(results, split), gain_sentence(results)]
    heads = [
        *("split", "model", "accuracy", f1_name(results), "MCC"),
        *("agreement with teacher", "KL", "logit MSE"),
    ]
    parts = [
        "## Numbers",
        wrapped(" ".join(filter(None, finding))),
        markdown_table(heads, _metric_rows(results)),
    ]
    notes = ["In percent; KL(teacher, student) in nats."]
    if len(results["labels"]) == 2:
        label = code(results["labels"][1])
        notes.append(f"F1 is that of the class {label}.")
    if any(chosen_on(results, name) for name in _splits(results)):
        notes.append(f"`*`: {choices(results)} were chosen on it.")
    seeds = results["student"]["seeds"]
    if len(seeds) > 1:
        listed = ", ".join(map(str, seeds))
        notes.append(
            f"Students: mean ± standard deviation over the seeds {listed}, "
            f"KL and logit MSE of seed {seeds[0]}, which is the model here."
        )
    else:
        notes.append(f"Students: one seed, {seeds[0]}.")
    if yardstick := yardstick_sentence(results):
        notes.append(yardstick)
    parts.append(wrapped(" ".join(notes)))
    if calibrated := calibration_sentence(results):
        parts.append(wrapped(calibrated))
    return "\n\n".join(parts)


def _advice(results: dict[str, Any]) -> str | None:
    """Return what to try next, by the run's own figures."""
    lines = advice_lines(results)
    if not lines:
        return None
    return "\n".join(["## What may help", "", *map(wrapped, lines)])


def _metric_rows(results: dict[str, Any]) -> Iterable[list[str]]:
    for split in _splits(results):
        star = "`*`" if chosen_on(results, split) else ""
        rows = results["splits"][split]["rows"]
        for name, model in models(results):
            # None of a teacher's file without all answers.
            values = model[split] or {}
            yield [
                f"{split}{star} ({rows:,})",
                name,
                *(
                    score(values, metric)
                    for metric in ("accuracy", "f1", "mcc", "agreement")
                ),
                *(number(values.get(key)) for key in ("kl", "logit_mse")),
            ]


def _cascade(results: dict[str, Any]) -> str | None:
    """Return when the student's answer may stand without the teacher's."""
    picked = results.get("cascade")
    if not picked:
        return None
    rows = [
        [
            split,
            f"{100 * values['kept']:.1f}",
            *(
                percent(values[key])
                for key in ("agreement", "student", "pair", "teacher")
            ),
        ]
        for split, values in picked["splits"].items()
    ]
    table = markdown_table(
        ["split", "kept", "agrees there", "student", "pair", "teacher"], rows
    )
    notes = (
        "In percent. The pair: the student's answer where it is kept, the "
        "teacher's for the others. A SavedModel says `confident` beside each "
        "answer; `predict --defer` asks the teacher where it is not."
    )
    return "\n\n".join(
        [
            "## When to ask the teacher",
            wrapped(promise(picked)),
            table,
            wrapped(notes),
        ]
    )


def _classes(results: dict[str, Any]) -> str | None:
    """Return how the models do on each class of the first split."""
    if not shows_classes(results):
        return None
    split, train = results["gain"]["split"], results["per_class"].get("train")
    shown = class_rows(results, _MOST_LABELS)
    heads = ["class", "rows in train", f"in {split}"]
    known = {k: name for k, name in MODELS.items() if results[k] is not None}
    for name in known.values():
        heads += [f"{name}: precision", "recall", "F1"]
    rows = []
    for label, facts in shown:
        row = [code(label)]
        row.append(number(train and train[label]["rows"], ",d"))
        row.append(f"{facts['rows']:,}")
        for key in known:
            # A teacher that is a file may have no answers here.
            scores = facts[key] or {}
            row += [
                percent(scores.get(s)) for s in ("precision", "recall", "f1")
            ]
        rows.append(row)
    notes = f"{what_of(results)} and the other models, in percent. A dash: "
    notes += "never answered (precision), or no row of it (recall)."
    if len(shown) < len(results["labels"]):
        notes += (
            f" The {len(shown)} of {len(results['labels'])} classes where its "
            "F1 is lowest; `results.json` has all."
        )
    parts = ["## By class", wrapped(notes), markdown_table(heads, rows)]
    parts += [wrapped(f"**Lost:** {text}.") for text in lost_sentences(results)]
    return "\n\n".join(parts)


def _unknown(results: dict[str, Any]) -> str | None:
    """Return what words are unknown to the student, and what they cost."""
    found = results.get("unknown")
    if not found:
        return None
    rows = []
    for split, facts in found.items():
        for words in ("without", "with"):
            texts = facts[words]
            rows.append(
                [
                    split,
                    f"{words} such a word",
                    f"{texts['rows']:,}",
                    *(
                        percent(texts[name])
                        for name in ("teacher", "student", "agreement")
                    ),
                ]
            )
    shares = "; ".join(
        f"{split}: {100 * facts['unseen_words']:.2f}% of the words, and "
        f"{100 * facts['unk_tokens']:.2f}% of the tokens are `[UNK]`"
        for split, facts in found.items()
    )
    heads = ["split", "texts", "number", "teacher", "student", "agreement"]
    return "\n\n".join(
        [
            "## Words that training never saw",
            wrapped(f"Never seen whole: {shares}. Accuracy in percent:"),
            markdown_table(heads, rows),
        ]
    )


def _sources(results: dict[str, Any]) -> str | None:
    """Return how well the student follows its teacher on what it learnt."""
    found = results.get("sources")
    if not found:
        return None
    heads = ["text of the transfer set", "rows asked", "agreement, %"]
    heads.append("squared logit distance")
    rows = [
        [
            name,
            f"{facts['rows']:,}",
            percent(facts["agreement"]),
            f"{facts['squared_distance']:.2f}",
        ]
        for name, facts in found.items()
    ]
    return "## By kind of text\n\n" + markdown_table(heads, rows)


def _cost(results: dict[str, Any], size_picture: str | None = None) -> str:
    """Return how large and how fast the models are."""
    rows = [[name, *cost_cells(model)] for name, model in models(results)]
    machine = results["machine"]
    where = f"{machine['processors']} processors ({machine['platform']})"
    if machine["gpus"]:
        where += f" and {machine['gpus']} GPU"
    texts = texts_name(results)
    parts = [
        "## Size and speed",
        markdown_table(["model", "parameters", "weights", f"{texts}/s"], rows),
        wrapped(
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
                        size(values["bytes"]),
                        number(values.get("rows"), ",d"),
                        percent(values["accuracy"]),
                        number(values["max_abs_logit_difference"], ".1e"),
                    ]
                    for name, values in results["exports"].items()
                ],
            )
        )
        parts += _windows(results["exports"].values())
    if results["sizes"]:
        parts += _smaller(results)
    if size_picture is not None:
        parts.append(f"![Accuracy against size]({size_picture})")
    return "\n\n".join(parts)


def _windows(exports: Iterable[dict[str, Any]]) -> list[str]:
    """Say how much of a text MediaPipe's bundles read, where that is known."""
    told = {
        f"MediaPipe's bundle reads the first {values['window']} words of a "
        f"text; {percent(values['cut'])}% of the training texts are longer."
        for values in exports
        if values.get("cut") is not None
    }
    return [wrapped(text) for text in sorted(told)]


def _smaller(results: dict[str, Any]) -> list[str]:
    """Return what smaller files would cost."""
    split = results["gain"]["split"]
    return [
        wrapped(
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
                    size(row["bytes"]),
                    f"{row['words']:,}",
                    str(row["width"]),
                    percent(row["accuracy"]),
                    f"{row['points']:.1f}",
                ]
                for row in results["sizes"]
            ],
        ),
    ]


def _paper(task: str) -> str | None:
    """Return the paper's numbers, or None for a task it does not have."""
    if not (paper := paper_results(task)):
        return None
    columns, rows = paper
    return f"""## The paper's numbers

{SOURCE}, for orientation: {CONDITIONS}.

{markdown_table(["model", "what it is", *columns], rows)}"""


def _splits(results: dict[str, Any]) -> list[str]:
    return [name for name in results["splits"] if name != "train"]


def _what(results: dict[str, Any], config: Config) -> str:
    labels = results["labels"]
    shown = ", ".join(map(code, labels[:_MOST_LABELS]))
    if len(labels) > _MOST_LABELS:
        shown += f" and {len(labels) - _MOST_LABELS} more (student/labels.txt)"
    student, teacher = results["student"], results["teacher"]
    kind = _KINDS[config.student.kind]
    if results["pair"] and config.student.kind != "interaction":
        kind = f"siamese {kind}"
    takes = "a pair of texts" if results["pair"] else "a text"
    apart = count(student["parameters_without_embeddings"])
    source = "a fine-tuned BERT"
    if teacher.get("answers") and not teacher["fine_tuned_here"]:
        source = "a teacher, which came in a file"
    its = f", the teacher {count(teacher['parameters'])}"
    return "\n\n".join(
        [
            f"# {results['task']}: a {kind} distilled from "
            + code(teacher["name"]),
            wrapped(
                "A small text classifier in the manner of Tang et al. 2019, "
                f"{_PAPER}: a {kind} that learnt from the logits "
                f"of {source}. It takes {takes} and gives one of "
                f"{len(labels)} classes: {shown}."
            ),
            wrapped(
                f"It has {count(student['parameters'])} parameters "
                f"({apart} without word vectors)"
                + (its if teacher["parameters"] else "")
                + "."
            ),
        ]
    )


def _data(results: dict[str, Any], config: Config) -> str:
    rows = results["transfer_set"]["rows"]
    counts = ", ".join(
        f"{count:,} {source}" for source, count in rows.items() if count
    )
    text = (
        f"{_TASKS[results['task']]}. "
        f"{results['splits']['train']['rows']:,} labelled rows to train on. "
        f"The student was trained on {sum(rows.values()):,} rows with the "
        f"teacher's logits: {counts}."
    )
    if rows["augmented"]:
        settings = config.augmentation
        operators = [f"masking (p {settings.p_mask:g})"]
        if settings.pos_tagger != "none":
            operators.append(
                "replacement by a word of the same part of speech "
                f"(p {settings.p_pos:g})"
            )
        both = " and unlabelled" if settings.unlabeled else ""
        text += (
            f" Augmented rows are training{both} rows after "
            f"{', '.join(operators)} and n-gram sampling "
            f"(p {settings.p_ngram:g}, n up to {settings.max_ngram}), "
            f"{settings.n_iter} rounds, duplicates dropped; they have no "
            "gold label."
        )
    parts = ["## Data", wrapped(text)]
    if facts := results.get("text"):
        parts.append(wrapped(_lengths(facts, config)))
    parts += shown(results.get("data") or {})
    return "\n\n".join(parts)


def _lengths(facts: dict[str, Any], config: Config) -> str:
    """Say how long training texts are and what the run expected of them."""
    lengths, cut = facts["lengths"], facts["cut"]
    text = (
        f"Half of the training texts have up to {lengths['p50']:,} words, 95% "
        f"up to {lengths['p95']:,}, 99% up to {lengths['p99']:,}, the longest "
        f"{lengths['max']:,}. The student reads {config.student.max_length} "
        f"of them ({percent(cut['student'])}% of the texts are longer)"
    )
    if "teacher" in cut:
        text += (
            f", the teacher {config.teacher.max_length} pieces "
            f"({percent(cut['teacher'])}%)"
        )
    return (
        f"{text}. Before training about {percent(facts['unknown'])}% of the "
        "tokens to choose on were expected to be unknown to the student."
    )


def _shape(settings: StudentConfig, pair: bool) -> str:
    """Return the sizes that a student of its kind has."""
    parts = []
    if settings.kind in ("bilstm", "attention", "interaction"):
        parts.append(f"{settings.lstm_units} LSTM units a direction")
    if settings.kind == "cnn":
        parts.append(f"{settings.filters} filters of each width")
    if pair or settings.kind not in ("linear", "cnn"):
        parts.append(f"{settings.hidden_units} hidden units")
    return ", ".join(parts) or "a number for each word, pair and class"


def _making(results: dict[str, Any], config: Config) -> str:
    student, settings = results["student"], config.student
    rows = [
        ["teacher", _teacher(results, config)],
        [
            "student",
            f"{_shape(settings, results['pair'])}, dropout "
            f"{settings.dropout:g}",
        ],
        ["word vectors", _vectors(results, config)],
        ["vocabulary", f"{student['vocabulary_size']:,} words"],
        ["objective", _objective(config)],
        *_of_classes(config),
        [
            "training",
            f"{settings.optimizer}, batches of {settings.batch_size}, "
            f"{student['updates']:,} updates, {student['evaluations']} "
            f"evaluations, best after epoch {student['best_epoch']:g}",
        ],
    ]
    baseline = results["baseline"]
    if baseline is not None:
        rows.append(
            [
                "student on labels alone",
                "same architecture, vocabulary, vectors and optimiser; "
                f"{baseline['training_rows']:,} labelled rows, "
                f"{baseline['updates']:,} updates, "
                f"{baseline['evaluations']} evaluations, best after epoch "
                f"{baseline['best_epoch']:g}",
            ]
        )
    rows.append(["seed", str(results["seed"])])
    own = own_seconds(results)
    time = f"{duration(whole_seconds(results))} without the report"
    if resumed := [n for n in results["resumed_stages"] if n in own]:
        time += f" (stopped and resumed: {', '.join(resumed)})"
    if taken := [n for n in results["seconds"] if n not in own]:
        time += f"; taken over from another run: {', '.join(taken)}"
    rows.append(["time", time])
    return f"""## How it was made

{markdown_table(["what", "how"], rows)}

`results.json` has all numbers, `config.yaml` every setting. To repeat the run:

```bash
python train.py --config config.yaml --output-dir FOLDER
```"""


def _teacher(results: dict[str, Any], config: Config) -> str:
    teacher = results["teacher"]
    if config.teacher.alone:
        return f"{said_in_words(teacher['answers'])} ({code(teacher['name'])})"
    if members := teacher_names(teacher):
        listed = "; ".join(map(code, members))
        came = "" if teacher["fine_tuned_here"] else ", which came fine-tuned"
        return f"the mean logits of {len(members)} teachers{came}: {listed}"
    name = code(teacher["name"])
    if not teacher["fine_tuned_here"]:
        return f"{name}, came fine-tuned"
    if teacher.get("answers"):
        name += f" on {said_in_words(teacher['answers'])}"
    rates = config.teacher.learning_rates
    text = (
        f"{name}, fine-tuned at learning rate {teacher['learning_rate']:g}, "
        f"epoch {teacher['epoch']} of {config.teacher.epochs}"
    )
    if len(rates) > 1:
        text += f" (the best of {', '.join(f'{rate:g}' for rate in rates)})"
    return text


def _vectors(results: dict[str, Any], config: Config) -> str:
    embeddings = results["embeddings"]
    wide = f"{config.student.embedding_dim} wide"
    if embeddings["source"] is None:
        return f"random at the start, {wide}"
    return (
        f"{code(embeddings['source'])}, {embeddings['mode']}, {wide}; for "
        f"{percent(embeddings['token_coverage'])}% of the running "
        f"words, {percent(embeddings['type_coverage'])}% of the "
        "vocabulary"
    )


def _objective(config: Config) -> str:
    alpha = config.student.alpha
    distance = "squared distance of the logits"
    if config.student.loss == "kl":
        degrees = config.student.temperature
        distance = f"KL divergence at temperature {degrees:g}"
    gold = "cross-entropy of gold labels"
    if alpha == 0:
        return distance
    if alpha == 1:
        return gold
    return f"{alpha:g} × {gold} + {1 - alpha:g} × {distance}"


def _of_classes(config: Config) -> Iterable[list[str]]:
    """Yield what was done for classes of different sizes."""
    if config.classes.weights:
        weights = ", ".join(map(code, config.classes.weights))
        yield ["weights of gold labels", weights]
    if config.classes.balance:
        yield ["rows", "every class drawn equally often"]
    if config.classes.select_metric:
        metric = config.metric.replace("_", " ")
        yield ["rate and epochs chosen by", metric]


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
    text = f"""## How to call it

`RUN` is this folder.

```bash
python -m keras_distill.predict {shell}
python -m keras_distill.evaluate RUN --data FILE
```"""
    if "saved_model" in results["exports"]:
        text += f"""

With nothing but tensorflow and tensorflow-text installed:

```python
import tensorflow as tf
import tensorflow_text  # registers the tokenizer's ops

model = tf.saved_model.load("RUN/export/saved_model")
answer = model.signatures["serving_default"](
    {arguments}
)
answer["label"], answer["probabilities"], answer["logits"]
```"""
    return text


def _limits(results: dict[str, Any], config: Config) -> str:
    split = results["gain"]["split"]
    rows = results["splits"][split]["rows"]
    limits = [
        f"Measured on {rows:,} rows like those it was trained on; other "
        "kinds of text are likely to go worse.",
        "It copies the teacher, with the mistakes and prejudices of the text "
        "that the teacher learnt from.",
        f"It reads the first {config.student.max_length} words of a text.",
    ]
    if not config.student.word_pieces:
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
            "The teacher came from elsewhere. Should it have been trained on "
            "rows that are measured here, its numbers flatter, and so may "
            "the students'."
        )
    if chosen_on(results, split):
        limits.append(
            f"{choice_sentence(results, split)} A labelled test file "
            "would give honest ones."
        )
    if len(results["student"]["seeds"]) == 1:
        limits.append(
            "One seed: another one moves the numbers, by how much was not "
            "measured (`--extra-seeds`)."
        )
    return "## Limits\n\n" + "\n".join(
        textwrap.indent(wrapped(limit, 77), "  ").replace(" ", "-", 1)
        for limit in limits
    )
