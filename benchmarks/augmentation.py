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
from pathlib import Path
from typing import Any

from contest import median, ratios
from measuring import machine, parser, table, write
from plain_augmentation import write_plainly

from keras_distill.augmentation.generate import (
    augment_file,
    tag_parts,
    tagged_path,
)
from keras_distill.augmentation.tagged import TaggedPart, load_tagger
from keras_distill.benchmark.worker import Watch
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.data.glue import read_glue
from keras_distill.data.normalize import normalize
from keras_distill.data.splits import read_corpus
from keras_distill.files import read_json

# The loops beside ours, and how they spell.
LOOPS = {"plain_loop": str, "plain_loop_with_spelling": normalize}


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
    print(as_page({options.task or "quick": result}))
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
    watch = Watch()
    sizes = tag_parts(inputs, work, settings, pair)
    tagging = watch.read()
    parts = [
        TaggedPart.load(tagged_path(work, number))
        for number in range(len(sizes))
    ]
    sides = [side for part in parts for side in part.sides]
    words = sum(len(side.words) for side in sides)
    texts = len(parts[0].sides)
    manifest, took = {}, []
    rates = {name: {"rounds": []} for name in ("ours", *LOOPS)}
    for number in range(rounds):
        # It finds the words tagged, and goes on from there.
        copy = place / f"round-{number}"
        shutil.copytree(output, copy)
        watch = Watch()
        manifest = augment_file(inputs, copy, settings, 42, pair)
        took.append(watch.read())
        done = {"ours": (manifest["rows"], took[-1])}
        for name, spell in LOOPS.items():
            watch = Watch()
            rows = write_plainly(parts, settings, place / "plain.gz", spell)
            done[name] = rows, watch.read()
        for name, (rows, (_, busy)) in done.items():
            rates[name]["rounds"].append({"sentences": texts * rows / busy})
    faster = ratios(rates, "rounds", "sentences", "ours")
    wall, cpu = map(statistics.median, zip(*took, strict=True))
    result = {
        "words_per_sentence": round(
            words / sum(len(side.lengths) for side in sides), 1
        ),
        "rows_generated": manifest["rows"],
        "sentences_generated": texts * manifest["rows"],
        "tagging_seconds": round(tagging[0], 2),
        "tagging_cpu_seconds": round(tagging[1], 2),
        "words_tagged_per_cpu_second": round(words / tagging[1]),
        "generating_seconds": round(wall, 2),
        "generating_cpu_seconds": round(cpu, 2),
        "rows_per_cpu_second": round(manifest["rows"] / cpu),
        "sentences_per_cpu_second": round(texts * manifest["rows"] / cpu),
    }
    for name in LOOPS:
        rate = round(median(rates[name]["rounds"], "sentences"))
        result[name] = {"sentences_per_cpu_second": rate} | faster[name]
    return result


def as_page(result: dict[str, Any]) -> str:
    """Return the table of augmentation, a line a task."""
    rate = "sentences_per_cpu_second"
    head = ["sentences a CPU second", "ours", "plain loop", "ours is faster"]
    head += ["plain loop, spelling undone", "ours is faster"]
    rows = []
    for task, row in result.items():
        if "plain_loop" in row:
            cells = [task, row[rate]]
            for name in LOOPS:
                cells += [row[name][rate], row[name]]
            rows.append([*cells, row["words_tagged_per_cpu_second"]])
    return table([*head, "words tagged a CPU second"], rows)


if __name__ == "__main__":
    sys.exit(main())
