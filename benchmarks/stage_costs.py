"""One stage of the pipeline at growing sizes, in a process of its own.

    python benchmarks/stage_costs.py STAGE SETTINGS.json OUTPUT.json

Used by scaling.py. A warm-up comes first, so that imports are in no figure. CPU
seconds are those of the process. Memory is the process' peak during one size
where Linux can forget the earlier peak, else that of the sizes so far.
"""

import contextlib
import functools
import gc
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring  # noqa: F401 (puts the package on the path)
from synthetic import CLASSES, sentences, word_list, write_teacher

from keras_distill.benchmark.worker import peak_memory
from keras_distill.data.examples import Example, write_examples
from keras_distill.files import read_json
from keras_distill.progress import progress

TINY_ROWS = 20

# Everything that one point is made of; the settings change some of it.
Point = dict[str, Any]
# Prepares a point outside the clock and returns the work to be timed.
Prepare = Callable[[Point, Path], Callable[[], object]]


def main() -> int:
    """Measure the points of one stage and write them."""
    stage, settings_file, output = sys.argv[1:]
    settings = read_json(Path(settings_file))
    prepare = start(stage, settings)
    rows = []
    with (
        tempfile.TemporaryDirectory() as place,
        progress(len(settings["points"]), stage, "sizes") as bar,
    ):
        # Axes cross in one point, and many have the same tiny one.
        @functools.cache
        def cost(values: str) -> dict[str, float]:
            work = prepare(json.loads(values), Path(place) / str(uuid.uuid4()))
            result = timed(work)
            forget_models()
            return result

        for point in settings["points"]:
            axis = point.pop("axis")
            # The same call with hardly any row: what does not grow.
            tiny = json.dumps(point | {"rows": TINY_ROWS}, sort_keys=True)
            if not rows:
                # The first call pays for imports and is forgotten.
                cost(tiny)
                cost.cache_clear()
            fixed = cost(tiny)
            costs = cost(json.dumps(point, sort_keys=True))
            rows.append({"axis": axis, "point": point, "fixed": fixed} | costs)
            bar.update(1)
    Path(output).write_text(json.dumps(rows))
    return 0


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Do the work; return its seconds and the process' peak memory."""
    forget_peak()
    started = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": round(time.perf_counter() - started[0], 4),
        "cpu_seconds": round(time.process_time() - started[1], 4),
        "peak_memory_mib": round(peak_memory() / 2**20, 1),
    }


def forget_models() -> None:
    """Drop what Keras and Python keep of the point before."""
    # The teacher is made once for all points.
    if "keras" in sys.modules and "transformers" not in sys.modules:
        sys.modules["keras"].utils.clear_session()
    gc.collect()


def forget_peak() -> None:
    """Let the peak begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def start(stage: str, settings: dict[str, Any]) -> Prepare:
    """Import what the stage needs and return how its points are prepared."""
    if stage == "labelling":
        return start_labelling(settings)
    if stage == "augmentation":
        return augmentation
    from keras_distill.cli import import_tensorflow

    import_tensorflow()
    stages = {
        "vocabulary": vocabulary,
        "training": training,
        "inference": inference,
        "export": export,
    }
    return stages[stage]


def texts_of(point: Point, seed: int = 0) -> list[str]:
    """Return the point's sentences."""
    words = word_list(point["vocabulary"])
    return sentences(words, point["rows"], point["words"], seed)


def write_texts(point: Point, folder: Path, label: int | None) -> Path:
    """Write the point's sentences as examples, into a new folder."""
    folder.mkdir()
    path = folder / "examples.jsonl.gz"
    texts = enumerate(texts_of(point))
    write_examples(path, [Example(t, None, label, id=str(i)) for i, t in texts])
    return path


def augmentation(point: Point, folder: Path) -> Callable[[], object]:
    """Tagging and generating, from the examples to the compressed files."""
    from keras_distill.augmentation.generate import augment_file
    from keras_distill.config import AugmentationConfig

    inputs = write_texts(point, folder, 0)
    settings = AugmentationConfig(
        n_iter=point["n_iter"], pos_tagger=point["pos_tagger"], workers=1
    )
    return lambda: augment_file(inputs, folder / "out", settings, 1, False)


def start_labelling(settings: dict[str, Any]) -> Prepare:
    """Make and load the teacher, whose process this becomes."""
    from keras_distill.teacher.runtime import prepare_environment

    precision = prepare_environment("auto")
    from keras_distill.teacher.runtime import set_precision

    set_precision(precision)
    from keras_distill.teacher.checkpoint import load_fine_tuned
    from keras_distill.teacher.label import Labeller
    from keras_distill.teacher.predict import Predictor

    with tempfile.TemporaryDirectory() as place:
        write_teacher(Path(place), **settings["teacher"])
        teacher = load_fine_tuned(place, CLASSES)
    predictor = Predictor(teacher, 128, 8192)

    def labelling(point: Point, folder: Path) -> Callable[[], object]:
        inputs = write_texts(point, folder, None)
        labeller = Labeller(predictor, folder, "synthetic")
        return lambda: labeller.split(inputs, "rows")

    return labelling


def vocabulary(point: Point, folder: Path) -> Callable[[], object]:
    """Counting and choosing the words."""
    from keras_distill.student.vocabulary import count_words, select_words

    texts = texts_of(point)
    size = point["vocabulary"] + 5
    return lambda: select_words(count_words(texts, True), size, 1)


def training(point: Point, folder: Path) -> Callable[[], object]:
    """One pass over the rows, reading and evaluating (50 rows) included."""
    from keras_distill.student.training import Lessons, fit_student
    from keras_distill.transfer_set.record import ORIGINAL, encode, write_shard

    folder.mkdir()
    paths = [folder / "train.tfrecord", folder / "select.tfrecord"]
    texts = texts_of(point)
    for path, some in zip(paths, (texts, texts[:50]), strict=True):
        write_shard(
            path,
            (
                encode(
                    Example(t, None, i % 2, id=str(i)), [0.5, -0.5], ORIGINAL
                )
                for i, t in enumerate(some)
            ),
        )
    lessons = Lessons(
        vocabulary=student_words(point),
        vectors=None,
        train_files=paths[:1],
        select_file=paths[1],
        labels=CLASSES,
        pair=False,
        lower_case=True,
    )
    settings = student_config(point)
    return lambda: fit_student(settings, lessons, folder / "student", seed=1)


def inference(point: Point, folder: Path) -> Callable[[], object]:
    """The Keras student's answers to raw text, in batches of 512."""
    from keras_distill.student.predictor import StudentPredictor

    write_student(point, folder)
    student = StudentPredictor.load(folder)
    texts = texts_of(point)
    # The first call traces.
    student.logits(texts[:20])
    return lambda: student.logits(texts)


def export(point: Point, folder: Path) -> Callable[[], object]:
    """The SavedModel and the TFLite files of word ids, proved."""
    from keras_distill.export.exporter import export_student

    write_student(point, folder)
    return lambda: export_student(
        folder,
        folder / "export",
        forms=["saved_model", "student", "student_int8"],
    )


def write_student(point: Point, folder: Path) -> None:
    """Write an untrained student's folder."""
    from keras_distill.files import write_json, write_text
    from keras_distill.student import text as words_file
    from keras_distill.student.models import build_student

    folder.mkdir()
    words = student_words(point)
    model = build_student(student_config(point), len(words), 2, False, None)
    model.save(folder / "model.keras")
    words_file.save_vocabulary(folder / "vocab.txt", words)
    write_text(folder / "labels.txt", "".join(f"{c}\n" for c in CLASSES))
    write_json(
        folder / "text.json",
        {"lower_case": True, "max_length": 128, "pair": False},
    )


def student_words(point: Point) -> list[str]:
    """Return special tokens and the synthetic words."""
    from keras_distill.student.text import SPECIALS

    return [*SPECIALS, *word_list(point["vocabulary"])]


def student_config(point: Point) -> Any:
    """Return the paper's student with the point's number of units."""
    from keras_distill.config import StudentConfig

    return StudentConfig(
        lstm_units=point["units"],
        embedding_dim=point["dim"],
        embedding_mode="random",
        epochs=1,
    )


if __name__ == "__main__":
    sys.exit(main())
