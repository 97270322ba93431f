"""What labelling on Ray costs and gives: overhead, rates, the driver, the plan.

    python benchmarks/on_ray.py --output results/ray/on_ray.json
    python benchmarks/on_ray.py --parts shards,plan --plan-rows 1000000

Needs Ray (requirements-ray.txt). `shards` has a teacher that answers at once
label thousands of tiny shards, in one process and by two actors: what is left
is what a shard itself costs, and the driver's memory. `teacher` has a BERT of
MiniLM's shape label in one process and by 1, 2 and 4 actors; with more actors
than cores they share them. `plan` deals rows to shards of 20,000. Every
measurement is a process of its own.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, machine, page, parser, table, write
from synthetic import CLASSES, sentences, word_list

from keras_distill.benchmark.worker import peak_memory
from keras_distill.process import child_environment

PARTS = ("shards", "teacher", "plan")
MINILM = {"vocabulary": 20_000, "hidden": 384, "layers": 6}
ACTORS = {"one process": 0, "1 actor": 1, "2 actors": 2, "4 actors": 4}
DEFAULT_ROWS = 20_000


def main() -> int:
    """Measure the parts, print the page, write the JSON."""
    options = parser(__doc__)
    options.add_argument("--parts", default=",".join(PARTS))
    options.add_argument("--shards", default="1000,10000")
    options.add_argument("--rows", type=int, default=16_000)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--plan-rows", default="100000,1000000,10000000")
    options.add_argument("--work", type=Path, help="where shards are made")
    options.add_argument("--measure", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.measure:
        name, *arguments = json.loads(options.measure)
        print(json.dumps(MEASURES[name](*arguments)))
        return 0
    result: dict[str, Any] = machine("ray", "tensorflow", "transformers")
    parts = options.parts.split(",")
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        if "shards" in parts:
            result["shards"] = [
                measured("shards", place, int(count), actors)
                for count in options.shards.split(",")
                for actors in (0, 2)
            ]
            write(result, options.output)
        if "teacher" in parts:
            teacher = Path(place) / "bert"
            run = [sys.executable, ROOT / "benchmarks" / "synthetic.py"]
            subprocess.run(
                [*run, str(teacher), json.dumps(MINILM)],
                check=True,
                capture_output=True,
            )
            result["teacher"] = [
                measured("teacher", place, str(teacher), options.rows, name)
                for _ in range(options.turns)
                for name in ACTORS
            ]
            write(result, options.output)
        if "plan" in parts:
            result["plan"] = [
                measured("plan", place, int(rows))
                for rows in options.plan_rows.split(",")
            ]
    write(result, options.output)
    print(as_page(result))
    return 0


def measured(name: str, place: str, *arguments: Any) -> dict[str, Any]:
    """Measure once, in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        asked = json.dumps([name, folder, *arguments])
        script = str(ROOT / "benchmarks" / "on_ray.py")
        result = subprocess.run(
            [sys.executable, script, "--measure", asked],
            env=child_environment({"CUDA_VISIBLE_DEVICES": "-1"}),
            capture_output=True,
            text=True,
        )
    if result.returncode:
        raise SystemExit(result.stderr)
    found = json.loads(result.stdout.splitlines()[-1])
    print(name, *arguments, json.dumps(found), file=sys.stderr, flush=True)
    return found


class Instant:
    """A teacher that answers at once."""

    def logits(self, examples: Any, on_rows: Any) -> Any:
        """Return zeros, float32 [rows, 2]."""
        from keras_distill.transfer_set.labeller import Tokens

        on_rows(len(examples))
        return np.zeros((len(examples), 2), np.float32), Tokens(1, 1)


def instant(folder: Path) -> Any:
    """Make a labeller whose teacher answers at once."""
    from keras_distill.transfer_set.labeller import Labeller

    return Labeller(Instant(), folder, "instant")


def planned(folder: Path, rows: int, per_shard: int) -> None:
    """Deal synthetic sentences of 12 words to shards."""
    from keras_distill.data.examples import Example
    from keras_distill.transfer_set.plan import plan_shards

    texts = sentences(word_list(20_000), min(rows, 10_000), 12)
    examples = (
        Example(texts[i % len(texts)], None, None, id=str(i))
        for i in range(rows)
    )
    plan_shards([(0, examples)], folder, per_shard, rows, seed=0)


def by_ray(folder: Path, load: Any, fingerprint: str, actors: int) -> None:
    """Label a plan on a cluster that says it has four cores."""
    from ray.cluster_utils import Cluster

    from keras_distill.cluster import Ray
    from keras_distill.transfer_set.crew import label_works
    from keras_distill.transfer_set.labeller import Labeller

    head = {"num_cpus": 4, "object_store_memory": 80 * 2**20}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**head, "include_dashboard": False},
    )
    options = Ray(cluster.address, actors, actors, max(1, 2 // actors))
    labeller = Labeller(None, folder, fingerprint)
    works, log = labeller.planned(), folder / "ray.log"
    label_works(labeller, works, load, options, 2**28, log)
    cluster.shutdown()


def measure_shards(place: str, count: int, actors: int) -> dict[str, Any]:
    """Label tiny shards by a teacher that answers at once."""
    folder = Path(place)
    planned(folder, 10 * count, 10)
    before = peak_memory()
    if actors:
        by_ray(folder, partial(instant, folder), "instant", actors)
    else:
        instant(folder).shards()
    return {
        "shards": count,
        "actors": actors,
        "ms_per_shard": 1000 * rate(folder, actors or 1)["seconds_per_shard"],
        "driver_mib_before": round(before / 2**20),
        "driver_mib": round(peak_memory() / 2**20),
    }


def measure_teacher(
    place: str, teacher: str, rows: int, name: str
) -> dict[str, Any]:
    """Label 16 shards with a BERT of MiniLM's shape."""
    folder, actors = Path(place), ACTORS[name]
    planned(folder, rows, max(1, rows // 16))
    load = partial(load_bert, teacher, folder, 2 // (actors or 1) or 1)
    started = time.perf_counter()
    if actors:
        by_ray(folder, load, "bert", actors)
    else:
        load().shards()
    found = rate(folder, actors or 1)
    return {
        "what": name,
        "rows": rows,
        "rows_per_s": round(found["rows_per_s"], 1),
        "seconds_in_all": round(time.perf_counter() - started, 1),
    }


def load_bert(teacher: str, folder: Path, threads: int) -> Any:
    """Load the teacher, in a process that has imported no TensorFlow."""
    import os

    from keras_distill.teacher.runtime import prepare_environment

    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)
    precision = prepare_environment("auto")
    from keras_distill.teacher.runtime import set_precision

    set_precision(precision)
    from keras_distill.teacher.checkpoint import load_fine_tuned
    from keras_distill.teacher.predict import Predictor
    from keras_distill.transfer_set.labeller import Labeller

    predictor = Predictor(load_fine_tuned(teacher, CLASSES), 128, 8192)
    return Labeller(predictor, folder, "bert")


def rate(folder: Path, actors: int) -> dict[str, float]:
    """Return the rate from when each actor has had its first shard."""
    notes = [
        (path.stat().st_mtime, json.loads(path.read_text())["shard"]["rows"])
        for path in (folder / "done").glob("*.json")
    ]
    notes.sort()
    seconds = notes[-1][0] - notes[actors - 1][0]
    later = notes[actors:]
    return {
        "seconds_per_shard": seconds / len(later),
        "rows_per_s": sum(rows for _, rows in later) / seconds,
    }


def measure_plan(place: str, rows: int) -> dict[str, Any]:
    """Deal rows to shards of the default size."""
    # TensorFlow's import is not the plan's.
    import keras_distill.transfer_set.plan  # noqa: F401

    started, cpu = time.perf_counter(), time.process_time()
    planned(Path(place), rows, DEFAULT_ROWS)
    return {
        "rows": rows,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mib": round(peak_memory() / 2**20),
        "mib_on_disk": round(
            sum(p.stat().st_size for p in Path(place).rglob("*.gz")) / 2**20
        ),
    }


MEASURES = {
    "shards": measure_shards,
    "teacher": measure_teacher,
    "plan": measure_plan,
}


def as_page(result: dict[str, Any]) -> str:
    """Return the tables, as they stand in docs/ray.md."""
    parts = []
    if shards := result.get("shards"):
        rows = [
            [
                f"{one['shards']:,}",
                f"{one['actors']} actors" if one["actors"] else "one process",
                f"{one['ms_per_shard']:.1f}",
                f"{one['driver_mib']:,}",
            ]
            for one in shards
        ]
        heads = ["shards", "labelled by", "ms a shard", "driver's peak, MiB"]
        parts.append(table(heads, rows))
    if teacher := result.get("teacher"):
        rows = []
        for name in ACTORS:
            turns = [t["rows_per_s"] for t in teacher if t["what"] == name]
            spread = f"{min(turns):.0f} to {max(turns):.0f}"
            rows.append([name, f"{statistics.median(turns):.0f}", spread])
        parts.append(table(["labelled by", "rows/s", "turns"], rows))
    if plan := result.get("plan"):
        rows = [
            [
                f"{one['rows']:,}",
                f"{one['cpu_seconds']:.1f}",
                f"{one['peak_mib']:,}",
                f"{one['mib_on_disk']:,}",
            ]
            for one in plan
        ]
        heads = ["rows planned", "CPU seconds", "peak MiB", "MiB on the disk"]
        parts.append(table(heads, rows))
        if len(plan) > 1:
            parts.append(f"Exponent of the plan's time: {exponent(plan):.2f}.")
    return page(result, "\n\n".join(parts))


def exponent(plan: list[dict[str, Any]]) -> float:
    """Return b of seconds = a * rows^b, by least squares of logarithms."""
    logs = [(math.log(p["rows"]), math.log(p["cpu_seconds"])) for p in plan]
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


if __name__ == "__main__":
    sys.exit(main())
