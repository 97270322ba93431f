"""Measure augmentation on one core: words tagged and sentences made a second.

    python benchmarks/augmentation.py
    python benchmarks/augmentation.py --task sst2 --data SST-2/train.tsv \
        --output results/bench/augmentation.json

Without --data the embedded corpus is repeated. Making sentences counts from
the tagged words to the compressed files, which are as a run leaves them; beside
it a plain loop over the words, in turns: as the paper has it, and with
Penn-Treebank spelling undone in each new sentence, as ours does. CPU
seconds are those of the process, so other load matters little. An output file
that is there keeps the figures of other tasks.
"""

import dataclasses
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import columns, machine, parser, write
from plain_augmentation import write_plainly

from keras_distill.augmentation.generate import (
    augment_file,
    tag_parts,
    tagged_path,
)
from keras_distill.augmentation.tagged import TaggedPart, load_tagger
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.data.glue import read_glue
from keras_distill.data.normalize import normalize
from keras_distill.data.splits import read_corpus
from keras_distill.files import read_json


def main() -> int:
    """Tag, generate, report."""
    options = parser(__doc__)
    options.add_argument("--task", choices=["sst2", "qqp", "mnli"])
    options.add_argument("--data", type=Path, help="GLUE's train.tsv of it")
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--n-iter", type=int, default=20)
    options.add_argument("--pos-tagger", default="nltk")
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    if (options.task is None) != (options.data is None):
        raise SystemExit("--task and --data go together")
    result = machine("numpy", "nltk")
    examples = read(options.task, options.data, options.rows)
    settings = AugmentationConfig(
        n_iter=options.n_iter, pos_tagger=options.pos_tagger, workers=1
    )
    result |= {
        "n_iter": options.n_iter,
        "pos_tagger": options.pos_tagger,
        "examples": len(examples),
    }
    with tempfile.TemporaryDirectory() as place:
        result |= generate(examples, settings, Path(place), options.rounds)
    print(columns(result))
    others = {}
    if options.output is not None and options.output.is_file():
        others = read_json(options.output)
    write(others | {options.task or "quick": result}, options.output)
    return 0


def read(task: str | None, data: Path | None, rows: int) -> list[Example]:
    """Return the first rows of a GLUE file, or the corpus over and over."""
    if task is not None:
        return read_glue(task, data)[:rows]
    repeated = itertools.islice(itertools.cycle(read_corpus("train")), rows)
    return [
        dataclasses.replace(example, id=str(place))
        for place, example in enumerate(repeated)
    ]


def generate(
    examples: list[Example],
    settings: AugmentationConfig,
    place: Path,
    rounds: int = 1,
) -> dict[str, Any]:
    """Run both passes and the plain loop; return what they took."""
    pair = examples[0].text_b is not None
    inputs, output = place / "examples.jsonl.gz", place / "augmented"
    write_examples(inputs, examples)
    load_tagger(settings.pos_tagger)
    work = output / "work"
    work.mkdir(parents=True)
    sizes, tagging = timed(lambda: tag_parts(inputs, work, settings, pair))
    parts = [
        TaggedPart.load(tagged_path(work, number))
        for number in range(len(sizes))
    ]
    sides = [side for part in parts for side in part.sides]
    words = sum(len(side.words) for side in sides)
    manifest, seconds = {}, {"ours": [], "plain": [], "spelt": []}
    for number in range(rounds):
        # It finds the words tagged, and goes on from there.
        copy = place / f"round-{number}"
        shutil.copytree(output, copy)
        manifest, took = timed(
            lambda copy=copy: augment_file(inputs, copy, settings, 42, pair)
        )
        seconds["ours"].append(took)
        for name, spell in (("plain", str), ("spelt", normalize)):
            rows, took = timed(
                lambda spell=spell: write_plainly(
                    parts, settings, place / "plain.gz", spell
                )
            )
            # The same work a row; the number of rows differs by chance.
            share = manifest["rows"] / rows
            seconds[name].append({k: share * v for k, v in took.items()})
    drawing = {
        key: statistics.median(one[key] for one in seconds["ours"])
        for key in ("seconds", "cpu_seconds")
    }
    sentences = manifest["rows"] * (2 if pair else 1)
    return {
        "words_per_sentence": round(
            words / sum(len(side.lengths) for side in sides), 1
        ),
        "rows_generated": manifest["rows"],
        "sentences_generated": sentences,
        "tagging_seconds": round(tagging["seconds"], 2),
        "tagging_cpu_seconds": round(tagging["cpu_seconds"], 2),
        "words_tagged_per_cpu_second": round(words / tagging["cpu_seconds"]),
        "generating_seconds": round(drawing["seconds"], 2),
        "generating_cpu_seconds": round(drawing["cpu_seconds"], 2),
        "rows_per_cpu_second": round(manifest["rows"] / drawing["cpu_seconds"]),
        "sentences_per_cpu_second": round(sentences / drawing["cpu_seconds"]),
        "plain_loop": beside(seconds, "plain", sentences),
        "plain_loop_with_spelling": beside(seconds, "spelt", sentences),
    }


def beside(
    seconds: dict[str, list[dict[str, float]]], name: str, sentences: int
) -> dict[str, float]:
    """Return a loop's rate, and how many times as fast ours is."""
    mine, theirs = (
        [one["cpu_seconds"] for one in seconds[key]] for key in ("ours", name)
    )
    each = [b / a for a, b in zip(mine, theirs, strict=True)]
    return {
        "sentences_per_cpu_second": round(
            sentences / statistics.median(theirs)
        ),
        "ratio": round(statistics.median(theirs) / statistics.median(mine), 3),
        "low": round(min(each), 3),
        "high": round(max(each), 3),
    }


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Call, and return the result with the seconds it took."""
    started = time.perf_counter(), time.process_time()
    result = work()
    return result, {
        "seconds": time.perf_counter() - started[0],
        "cpu_seconds": time.process_time() - started[1],
    }


if __name__ == "__main__":
    sys.exit(main())
