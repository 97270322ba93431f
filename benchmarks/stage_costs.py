"""One stage of the pipeline at growing sizes, in a process of its own.

    python benchmarks/stage_costs.py STAGE TEACHER FOLDER

TEACHER is JSON: the shape of the teacher that labels. Asked by scaling.py.
CPU seconds are those of the process. Memory is the process' peak during one
size where Linux can forget the earlier peak, else that of the sizes so far.
"""

import contextlib
import gc
import json
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring  # noqa: F401 (puts the package on the path)
from synthetic import CLASSES, sentences, word_list, write_teacher

from keras_distill.benchmark.worker import Watch, peak_memory, serve
from keras_distill.data.examples import Example, write_examples

TINY_ROWS = 20

# Everything that one point is made of.
Point = dict[str, Any]
# Prepares a point outside the clock and returns the work to be timed.
Prepare = Callable[[Point, Path], Callable[[], object]]


class Stage:
    """Does a stage's work at one size after another: what `serve` serves.

    Args:
        name: Of the stage.
        teacher: The shape of the teacher that labels.
        place: A folder for the stage's files.
    """

    hello: dict[str, Any] = {}

    def __init__(self, name: str, teacher: dict[str, int], place: Path) -> None:
        self._prepare = start(name, teacher)
        self._place = place
        # Axes cross in one point, and many have the same tiny one.
        self._known: dict[str, dict[str, float]] = {}

    def cost(self, point: Point) -> dict[str, Any]:
        """Return a point's seconds and memory; `fixed` has hardly any row."""
        tiny = point | {"rows": TINY_ROWS}
        if not self._known:
            # The first call pays for imports and is forgotten.
            self._measured(tiny)
        return {"fixed": self._once(tiny)} | self._once(point)

    def _once(self, point: Point) -> dict[str, float]:
        key = json.dumps(point, sort_keys=True)
        if key not in self._known:
            self._known[key] = self._measured(point)
        return self._known[key]

    def _measured(self, point: Point) -> dict[str, float]:
        work = self._prepare(point, self._place / str(uuid.uuid4()))
        forget_peak()
        watch = Watch()
        work()
        seconds, busy = watch.read()
        peak = peak_memory()
        forget_models()
        return {
            "seconds": round(seconds, 4),
            "cpu_seconds": round(busy, 4),
            "peak_memory_mib": round(peak / 2**20, 1),
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


def start(stage: str, teacher: dict[str, int]) -> Prepare:
    """Import what the stage needs and return how its points are prepared."""
    if stage == "labelling":
        return start_labelling(teacher)
    if stage == "augmentation":
        return augmentation
    from keras_distill.cli import import_tensorflow

    import_tensorflow()
    stages = (vocabulary, training, inference, export)
    return {function.__name__: function for function in stages}[stage]


def texts_of(point: Point) -> list[str]:
    """Return the point's sentences."""
    words = word_list(point["vocabulary"])
    return sentences(words, point["rows"], point["words"])


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


def start_labelling(shape: dict[str, int]) -> Prepare:
    """Make and load the teacher, whose process this becomes."""
    from keras_distill.teacher.runtime import prepare_environment

    precision = prepare_environment("auto")
    from keras_distill.teacher.runtime import set_precision

    set_precision(precision)
    from keras_distill.files import sha256_file
    from keras_distill.teacher.checkpoint import load_fine_tuned
    from keras_distill.teacher.predict import Predictor
    from keras_distill.transfer_set.labeller import Labeller, Work

    with tempfile.TemporaryDirectory() as place:
        write_teacher(Path(place), **shape)
        teacher = load_fine_tuned(place, CLASSES)
    predictor = Predictor(teacher, 128, 8192)

    def labelling(point: Point, folder: Path) -> Callable[[], object]:
        inputs = write_texts(point, folder, None)
        labeller = Labeller(predictor, folder, "synthetic")
        digest = sha256_file(inputs)
        work = Work(
            *("rows.tfrecord", inputs, point["rows"], digest), measured=True
        )
        return lambda: labeller.split(work)

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
    rows = [
        encode(Example(text, None, i % 2, str(i)), [0.5, -0.5], ORIGINAL)
        for i, text in enumerate(texts_of(point))
    ]
    write_shard(paths[0], rows)
    write_shard(paths[1], rows[:50])
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
    _, name, teacher, folder = sys.argv
    serve(lambda: Stage(name, json.loads(teacher), Path(folder)))
