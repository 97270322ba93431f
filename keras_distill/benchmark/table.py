"""The tables of a benchmark, for a terminal and in Markdown."""

from typing import Any

from keras_distill.display import (
    UNKNOWN,
    aligned,
    count,
    markdown_table,
    size,
    wrapped,
)

_NAMES = {
    "teacher": "teacher",
    "bert_large": "BERT-large",
    "keras": "Keras model",
    "stock_lstm": "keras.layers.LSTM",
    "saved_model": "SavedModel",
}
_RATIOS = {
    "bert_large": "x BERT-large",
    "teacher": "x teacher",
    "stock_lstm": "x keras LSTM",
}
# More than one thread's work shows by this.
_MOST_BUSY = 1.1

Table = list[list[str]]


def plain(result: dict[str, Any]) -> str:
    """Return the content of `benchmark.json` as plain text."""
    blocks = [_heading(result)]
    for title, rows in _tables(result).items():
        blocks.append(f"{title}\n{aligned(rows)}")
    blocks.append("\n".join(map(wrapped, _notes(result))))
    return "\n\n".join(blocks) + "\n"


def markdown(result: dict[str, Any]) -> str:
    """Return the content of `benchmark.json` as a Markdown page."""
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    blocks = ["# Benchmark", _heading(result)]
    for title, (head, *body) in _tables(result).items():
        blocks += [f"## {title}", markdown_table(head, body, numbers=True)]
    blocks.append("\n".join(f"- {note}" for note in _notes(result)))
    blocks.append(
        f"Made by `{result['command']}` with {versions}, seed "
        f"{result['settings']['seed']}."
    )
    return "\n\n".join(blocks) + "\n"


def _heading(result: dict[str, Any]) -> str:
    count = result["processors"]
    gpus = f", {result['gpus']} GPU" if result["gpus"] else ""
    before, after = result["load_average"][0], result["load_average_after"][0]
    return (
        f"{result['date']}; {result['processor']}, {count} "
        f"processor{'s' if count > 1 else ''}{gpus}; load average {before:g} "
        f"before, {after:g} after."
    )


def _tables(result: dict[str, Any]) -> dict[str, Table]:
    """Return the tables by title; the first row of each is its head."""
    kind, words = "sentence", "words"
    if result["pair"]:
        kind, words = "pair", "words in each text"
    return {
        "Size": _sizes(result["contenders"]),
        f"Throughput, {kind}s in sorted batches": _speeds(
            result["contenders"], kind
        ),
        f"Latency of one {kind}, ms, one thread, by {words}": _latencies(
            result["contenders"], result["settings"]["words"]
        ),
    }


def _sizes(contenders: dict[str, Any]) -> Table:
    rows = [["", "parameters", "without embeddings", "file", "loads in"]]
    for name, values in contenders.items():
        load = values["load_seconds"]
        rows.append(
            [
                _name(name),
                count(values["parameters"]),
                count(values["parameters_without_embeddings"]),
                size(values["bytes"]),
                UNKNOWN if load is None else f"{load:.2f} s",
            ]
        )
    return rows


def _speeds(contenders: dict[str, Any], kind: str) -> Table:
    heads = {name: _RATIOS[name] for name in _RATIOS if name in contenders}
    rows = [
        ["", f"{kind}s/s", *heads.values(), "per processor s", "rows", "batch"]
    ]
    for name, values in contenders.items():
        found = values["throughput"]
        ratios = [values["ratios"].get(other, 1.0) for other in heads]
        sample = "sample of " if found["sample"] else ""
        rows.append(
            [
                _name(name),
                _number(found["sentences_per_s"]),
                *map(_number, ratios),
                _number(found["sentences_per_processor_s"]),
                f"{sample}{found['rows']:,}",
                str(found["batch_size"] if values["batched"] else 1),
            ]
        )
    return rows


def _latencies(contenders: dict[str, Any], lengths: list[int]) -> Table:
    heads = [f"{n}: {part}" for n in lengths for part in ("median", "p99")]
    rows = [["", "from", *heads]]
    for name, values in contenders.items():
        found = [values["latency"][str(length)] for length in lengths]
        cells = [_number(f[key]) for f in found for key in ("ms_p50", "ms_p99")]
        rows.append([_name(name), values["single"], *cells])
    return rows


def _notes(result: dict[str, Any]) -> list[str]:
    settings, contenders = result["settings"], result["contenders"]
    kind = "pairs" if result["pair"] else "sentences"
    repeats = settings["repeats"]
    repeats = f"{repeats} repeats" if repeats > 1 else "1 repeat"
    notes = [
        f"Throughput: from raw text to logits, {result['rows']:,} training "
        f"{kind}, the same for all, sorted by length into the same batches "
        f"of {settings['batch_size']}. A sample takes as many rows from each "
        "part of the range of lengths; where a batch is smaller, it is "
        "rows from all over such a batch. Median of "
        f"{repeats}, the models taking turns.",
        "Per processor second: of the time that processors spent on it, which "
        "other work on the machine changes little.",
        "Latency: `ids` begins with word ids, because an app's own tokenizer "
        "makes them; `text` with a string. p99 is left out where fewer than "
        "100 answers were timed.",
        "Loading: TensorFlow imported already; up to the first answer.",
    ]
    for name, values in contenders.items():
        if values["note"]:
            notes.append(f"{_name(name)}: {values['note']}.")
        if values["processors_busy"] > _MOST_BUSY:
            notes.append(
                f"{_name(name)} kept {values['processors_busy']:.1f} "
                "processors busy while single texts were timed."
            )
    return notes


def _name(name: str) -> str:
    return _NAMES.get(name, name)


def _number(value: float | None) -> str:
    """Return three digits, or more of a large number."""
    if value is None:
        return UNKNOWN
    if value >= 100:
        return f"{value:,.0f}"
    for least, digits in ((10, 1), (1, 2), (0.1, 3)):
        if value >= least:
            return f"{value:.{digits}f}"
    return f"{value:.4f}"
