"""The stages of a run in order: what each reads, makes, depends on."""

import dataclasses
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_distill.check import (
    check_class_weights,
    check_tagger,
    check_teacher,
    summary,
)
from keras_distill.cli import import_tensorflow, write_above_bars
from keras_distill.cluster import Ray
from keras_distill.config import STAGES, ClassesConfig, Config
from keras_distill.data.examples import read_examples
from keras_distill.data.reported import Reported
from keras_distill.data.splits import (
    check_settings,
    corpus_files,
    write_data,
)
from keras_distill.disk import check_writable
from keras_distill.errors import LostError, UserError
from keras_distill.files import (
    checkpoint_identity,
    file_identity,
    matching,
    read_json,
    read_lines,
)
from keras_distill.process import Child, cores, run_child, threads
from keras_distill.progress import on_terminal
from keras_distill.reuse import Reused
from keras_distill.run import (
    RUNS,
    RunFolder,
    Stage,
    lower_case,
    seed_folders,
)
from keras_distill.student.vector_file import Sources, check_ends
from keras_distill.tasks import get_task
from keras_distill.teacher.source import check_path

logger = logging.getLogger(__name__)

# A stage's work gets the run and the folder to make, which may hold what an
# interrupted run left behind; it reads the finished folders of the stages
# before it. TensorFlow is imported where it is needed and not before: bad
# data is to be found first, and a finished run skips in milliseconds.


def _data(run: "Pipeline", place: Path) -> None:
    """Read, check and split the examples."""
    write_data(run.config, place)


def _teacher(run: "Pipeline", place: Path) -> None:
    """Fine-tune the teacher, in a process of its own."""
    if run.config.teacher.alone:
        from keras_distill.transfer_set.answers import write_teacher

        write_teacher(run.path / "data", place, not run.config.teacher.cased)
        return
    run_child(
        "keras_distill.teacher",
        [
            "finetune",
            *_inputs(run),
            *("--output", str(place)),
            *("--log-dir", str(run.path / "logs" / "teacher")),
        ],
    )


def _vectors(run: "Pipeline", place: Path) -> None:
    """Give words and sentences vectors, before there is a transfer set."""
    import_tensorflow()
    import numpy as np

    from keras_distill.student.embeddings import write_vectors, write_words
    from keras_distill.student.vocabulary import count_words, teacher_tokens

    settings, teacher = run.config.student, run.path / "teacher"
    lower = lower_case(run.config, run.path)
    words, states = place / "words.txt", place / "states.npy"
    if not words.is_file():
        counts = count_words(_own_texts(run), lower)
        tokens = teacher_tokens(teacher)
        write_words(place, settings, counts, tokens, lower)
    asked = []
    sources = Sources.of(settings.embeddings)
    # A student without vectors of its own has its words swapped by these.
    if sources.learned == "teacher" or settings.embeddings == "none":
        asked += ["--words", str(words)]
    if _mines(run.config):
        asked.append("--sentences")
    if asked:
        run_child(
            "keras_distill.teacher",
            [
                "embed",
                *_inputs(run),
                *("--teacher", str(teacher)),
                *("--output", str(place)),
                *asked,
            ],
        )
    write_vectors(
        place,
        settings,
        np.load(states) if states.is_file() else None,
        _own_texts(run),
        lower,
        run.config.seed,
    )
    states.unlink(missing_ok=True)


def _own_texts(run: "Pipeline") -> Iterator[str]:
    """Yield the texts that the transfer set is made from."""
    reported = Reported(run.path / "data")
    for name in ("train", "unlabeled"):
        for example in read_examples(run.path / "data" / f"{name}.jsonl.gz"):
            if reported.has_row(example):
                continue
            yield example.text_a
            if example.text_b is not None:
                yield example.text_b


def _augment(run: "Pipeline", place: Path) -> None:
    """Generate text from the training examples."""
    from keras_distill.augmentation.generate import augment_file
    from keras_distill.augmentation.mining import mine_file

    settings = run.config.augmentation
    facts = read_json(run.path / "data" / "manifest.json")
    vectors = run.path / "vectors"
    words = {}
    if settings.neighbours:
        folded = lower_case(run.config, run.path)
        words = {"vectors": vectors, "lower_case": folded}
    texts = {"train": place}
    if settings.unlabeled and facts["unlabeled"]:
        texts["unlabeled"] = place / "unlabeled"
    for name, output in texts.items():
        augment_file(
            run.path / "data" / f"{name}.jsonl.gz",
            output,
            settings,
            run.config.seed,
            facts["pair"],
            **words,
        )
    if settings.mined and facts["pair"]:
        mine_file(
            run.path / "data",
            place / "mined",
            settings,
            run.config.seed,
            vectors,
        )


def _label(run: "Pipeline", place: Path) -> None:
    """Deal all text to shards and have the teacher label them."""
    import_tensorflow()
    from keras_distill.transfer_set.plan import plan_run, remove_plan

    sizes = run.config.transfer_set.rows_per_shard, run.config.seed
    if run.config.teacher.alone:
        from keras_distill.transfer_set.answers import AnswersTeacher
        from keras_distill.transfer_set.labeller import (
            Labeller,
            write_transfer_set,
        )

        teacher = AnswersTeacher(run.path / "data")
        plan_run(run.path, place, *sizes, teacher.knows)
        labeller = Labeller(teacher, place, teacher.fingerprint)
        write_transfer_set(labeller, run.config, run.path / "data")
        remove_plan(place)
        return
    plan_run(run.path, place, *sizes)
    if run.ray:
        from keras_distill.teacher.remote import label_on_ray

        teacher = run.path / "teacher"
        label_on_ray(run.config, run.path / "data", teacher, place, run.ray)
        remove_plan(place)
        return
    run_child(
        "keras_distill.teacher",
        [
            "label",
            *_inputs(run),
            *("--teacher", str(run.path / "teacher")),
            *("--output", str(place)),
        ],
    )
    # From here on the records hold the texts.
    remove_plan(place)


def _shards_intact(run: "Pipeline", folder: Path) -> bool:
    """Say whether every shard still has its checksum."""
    from keras_distill.transfer_set.manifest import Manifest

    try:
        Manifest.load(folder).verify(folder)
    except UserError as error:
        logger.warning("%s", error)
        return False
    return True


def _vocabulary(run: "Pipeline", place: Path) -> None:
    """Choose the student's words and read their vectors."""
    import_tensorflow()
    from keras_distill.student.embeddings import write_vocabulary

    write_vocabulary(
        run.config,
        run.path,
        place,
        lower_case=lower_case(run.config, run.path),
        vectors=run.path / "vectors" if "vectors" in run.stages else None,
    )


def _student(run: "Pipeline", place: Path) -> None:
    """Train the distilled student, once for each seed."""
    import_tensorflow()
    from keras_distill.student.training import train_students

    train_students(
        run.config,
        run.path,
        place,
        lower_case=lower_case(run.config, run.path),
    )


def _baseline(run: "Pipeline", place: Path) -> None:
    """Train the undistilled student, once for each seed."""
    import_tensorflow()
    from keras_distill.student.training import train_baselines

    train_baselines(
        run.config,
        run.path,
        place,
        lower_case=lower_case(run.config, run.path),
        patience=run.config.baseline.patience,
    )


def _seeds_complete(run: "Pipeline", folder: Path) -> bool:
    """Say whether a student of every seed is there."""
    return all(
        (place / "training.json").is_file()
        for place in seed_folders(run.config, folder).values()
    )


def _export(run: "Pipeline", place: Path) -> None:
    """Export the main seed's student."""
    import_tensorflow()
    from keras_distill.export.display_names import stored_names
    from keras_distill.export.exporter import export_student
    from keras_distill.export.selection import calibrate

    folder = run.path / "student"
    names = stored_names(run.path, read_lines(folder / "labels.txt"))
    export_student(
        folder,
        place,
        temperature=calibrate(folder, place),
        display_names=names,
        final=run.path / "export",
    )


def _report(run: "Pipeline", place: Path) -> None:
    """Measure, and write results.json, the model card and pictures."""
    import_tensorflow()
    from keras_distill.report.results import write_report

    write_report(run.path, run.config, place)


def _report_fits(run: "Pipeline", folder: Path) -> bool:
    """Say whether the report is there, of all seeds and these exports."""
    reports = run.path / "results.json", run.path / "README.md"
    if not all(map(Path.is_file, reports)):
        return False
    results = read_json(reports[0])
    exports = results.get("exports") or {}
    return results["student"]["seeds"] == run.config.seeds and all(
        exports[path.name]["bytes"] == path.stat().st_size
        for path in (run.path / "export").glob("*.tflite")
        if path.name in exports
    )


def _curves(stage: str) -> str:
    """Return what the folders of all seeds' curves are called."""
    return f"{RUNS[stage]}*"


# Name, folder, what it needs, what makes it, what tells that it is whole.
_STAGES = (
    Stage("data", "data", (), _data),
    Stage("teacher", "teacher", ("data",), _teacher, logs="teacher"),
    Stage("vectors", "vectors", ("teacher",), _vectors),
    Stage("augment", "augmented", ("data", "vectors"), _augment),
    Stage(
        "label", "transfer_set", ("teacher", "augment"), _label, _shards_intact
    ),
    Stage("vocabulary", "vocabulary", ("label", "vectors"), _vocabulary),
    Stage(
        *("student", "student", ("vocabulary",), _student, _seeds_complete),
        logs=_curves("student"),
    ),
    Stage(
        *("baseline", "baseline", ("vocabulary",), _baseline, _seeds_complete),
        logs=_curves("baseline"),
    ),
    Stage("export", "export", ("student",), _export),
    Stage("report", "report", ("export", "baseline"), _report, _report_fits),
)


class Pipeline(RunFolder):
    """One run: its configuration, its folder and its stages."""

    def __init__(
        self, config: Config, run_dir: Path, ray: Ray | None = None
    ) -> None:
        """Work out what each stage depends on; nothing is written.

        Args:
            config: The resolved configuration.
            run_dir: The run folder.
            ray: The cluster that labels; None: a process of this machine.

        Raises:
            UserError: The settings do not fit each other, a file that they
                name is missing, or the word vectors do not fit.
        """
        self.config = config
        self.ray = ray
        super().__init__(run_dir, _stages(config), _settings(config))

    def run(
        self,
        stages: Iterable[str] = STAGES,
        redo: bool = False,
        show: Callable[[str], object] = lambda text: None,
        reuse: Path | None = None,
        side_by_side: bool = False,
    ) -> None:
        """Run stages in order; those that are complete are skipped.

        Args:
            stages: Names out of `STAGES`.
            redo: Make stages anew whose settings changed.
            show: Gets the summary of the data, before the first long stage.
            reuse: Another run folder: finished stages that are equal there
                are taken over first.
            side_by_side: Train both students at a time where it pays.

        Raises:
            UserError: Bad input, or a run folder made with other settings.
        """
        wanted = set(stages) & set(self.stages)
        if not self.config.baseline.enabled:
            wanted.discard("baseline")
        other = reuse and Reused(self, reuse)
        taken = other.names(wanted) if other else []
        self.check(wanted.union(taken), redo)
        todo = {n for n in wanted - {*taken} if not self.is_done(n)}
        self._check_files(todo, taken)
        data = self.path / "data"
        with self.lock():
            self.config.save(self.path / "config.yaml")
            for name in taken:
                other.take(name)
            quiet = {*taken}
            for name in STAGES:
                if name == "student" and side_by_side and self._pays(wanted):
                    quiet |= self._train_side_by_side(wanted)
                if name in wanted:
                    self.make(name, quiet=name in quiet)
                read = (data / "manifest.json").is_file()
                if name == "data" and todo & _LONG and read:
                    show(summary(self, self.config, data, keep=True))

    def _pays(self, wanted: set[str]) -> bool:
        """Say whether it pays to train the two students side by side.

        One makes little of many cores. A GPU is for one at a time.
        """
        from keras_distill.transfer_set.manifest import Manifest

        both = {"student", "baseline"}
        if not both <= wanted or any(map(self.is_whole, both)) or cores() < 2:
            return False
        student = self.config.student
        rows = Manifest.load(self.path / "transfer_set").rows("train")
        updates = student.epochs * math.ceil(rows / student.batch_size)
        if updates * len(self.config.seeds) < _UPDATES_WORTH_A_PROCESS:
            return False
        import_tensorflow()
        import tensorflow as tf

        return not tf.config.list_physical_devices("GPU")

    def _train_side_by_side(self, wanted: set[str]) -> set[str]:
        """Train the undistilled student in a process of its own meanwhile.

        Returns:
            The stages that were made.
        """
        here = [name for name in ("student", "export") if name in wanted]
        looks = "no-looks" if on_terminal() else "looks"
        arguments = [str(self.path), "baseline", ",".join(here), looks]
        with Child(
            "keras_distill.stage",
            arguments,
            threads(cores() // 2),
            tell=write_above_bars,
        ) as child:
            for name in here:
                self.make(name)
            try:
                child.wait()
            except LostError as error:
                logger.warning("%s; going on with it here", error)
                return {*here}
        return {*here, "baseline"}

    def check_run(
        self,
        redo: bool,
        show: Callable[[str], object],
        reuse: Path | None = None,
    ) -> None:
        """Check all that can be before hours of work; leave nothing behind.

        Args:
            redo: As `run` takes it.
            show: Gets what would be taken over and the summary of the data.
            reuse: As `run` takes it.

        Raises:
            UserError: The run would stop later.
            ReportedError: The teacher's process has said so.
        """
        other = reuse and Reused(self, reuse)
        taken = other.names(self.stages) if other else []
        self.check(set(self.stages), redo)
        todo = {n for n in self.stages if not self.is_done(n)} - {*taken}
        check_writable(self.path)
        self._check_files(todo, taken)
        if taken:
            lines = (f"{name}: would be taken from {reuse}" for name in taken)
            show("\n".join(lines))
        places = {name: other.folder(name) for name in taken}
        with tempfile.TemporaryDirectory(prefix="keras_distill-") as folder:
            data = places.get("data", self.path / "data")
            if "data" in todo:
                data = Path(folder) / "data"
                write_data(self.config, data)
            held = places.values()
            show(summary(self, self.config, data, keep=False, taken=held))
            if "teacher" in todo and not self.config.teacher.alone:
                config = Path(folder) / "config.yaml"
                self.config.save(config)
                arguments = ["--config", str(config), "--data", str(data)]
                run_child("keras_distill.teacher", ["check", *arguments])

    def _check_files(self, todo: set[str], taken: list[str]) -> None:
        """Check what files tell before there is data.

        Args:
            todo: The stages to be made.
            taken: Those that another run gives.
        """
        if not self.is_done("teacher") and "teacher" not in taken:
            check_teacher(self.config, None)
        if todo & {"teacher", "student", "baseline"}:
            check_class_weights(self.config)
        if "augment" in todo:
            check_tagger(self.config)


def _stages(config: Config) -> list[Stage]:
    """Return the stages of a run, each with what it needs there."""
    unread = set()
    if not config.baseline.enabled:
        unread.add(("report", "baseline"))
    if not _swaps(config):
        # Such an augmentation waits for no teacher.
        unread.add(("augment", "vectors"))
    if not _needs_vectors(config):
        unread.add(("vocabulary", "vectors"))
    stages = [
        dataclasses.replace(
            stage,
            needs=tuple(
                n for n in stage.needs if (stage.name, n) not in unread
            ),
        )
        for stage in _STAGES
    ]
    if not _needs_vectors(config):
        stages = [stage for stage in stages if stage.name != "vectors"]
    return stages


def _mines(config: Config) -> bool:
    """Say whether pairs are mined, which takes vectors of sentences."""
    pair = get_task(config.task).pair or config.data.text_pair_column
    return bool(config.augmentation.mined and pair)


def _swaps(config: Config) -> bool:
    """Say whether augmentation reads vectors."""
    return bool(config.augmentation.neighbours) or _mines(config)


def _needs_vectors(config: Config) -> bool:
    student = config.student
    opened = student.open_vocabulary and student.embeddings != "none"
    learned = Sources.of(student.embeddings).learned is not None
    return learned or opened or _swaps(config)


# A process takes some seconds to start.
_UPDATES_WORTH_A_PROCESS = 500

# Before these a person sees what was understood of the data.
_LONG = {"data", "teacher", "augment", "label"}

# What the vocabulary stage depends on; the rest is the students'.
_VOCABULARY_KEYS = (
    "embeddings",
    "embedding_dim",
    "embedding_mode",
    "vocabulary_size",
    "min_count",
    "open_vocabulary",
    "word_pieces",
)
# Of these, what decides the vectors that there are to choose from.
_VECTORS_KEYS = (
    *("embeddings", "fill", "embedding_dim", "open_vocabulary", "cased"),
)
# What only a student that learns from the teacher depends on.
_DISTILLED_KEYS = ("alpha", "loss", "temperature", "patience")


def _settings(config: Config) -> dict[str, dict[str, Any]]:
    """Return what each stage depends on, beside the stages it needs."""
    values = config.to_dict()
    teacher, student = values["teacher"], values["student"]
    # Batch sizes of inference, like the number of workers, change the
    # speed and not the result.
    teacher.pop("tokens_per_batch")
    values["augmentation"].pop("workers")
    # Runs from before there were these go on as they are.
    answers = teacher.pop("logits"), teacher.pop("confidence")
    flag = "--teacher-checkpoint" if teacher["checkpoints"] else "--teacher"
    for name in config.teacher.sources:
        check_path(flag, name)
    # One teacher is told as it was when there could not be several.
    for key, names in (("name", "names"), ("checkpoint", "checkpoints")):
        found = [checkpoint_identity(name) for name in teacher.pop(names)]
        teacher[key] = found if len(found) > 1 else (found or [None])[0]
    # Runs from before there were these go on as they are.
    if teacher["ensemble"] == 1 == len(config.teacher.names):
        teacher["ensemble"] = None
    for key in ("ensemble", "classes"):
        if teacher[key] is None:
            del teacher[key]
    vocabulary = {key: student.pop(key) for key in _VOCABULARY_KEYS}
    vocabulary["cased"] = teacher.pop("cased")
    _check_mode(vocabulary["embedding_mode"], vocabulary["embeddings"])
    sources = Sources.of(vocabulary["embeddings"])
    if sources.file is not None:
        vocabulary["embeddings"] = file_identity(sources.file)
        if sources.learned:
            vocabulary["fill"] = sources.learned
        # They are read when the teacher's hours are over.
        check_ends(sources.file, vocabulary["embedding_dim"])
    # More seeds add students and leave those alone that are there.
    student.pop("extra_seeds")
    # Runs from before there were these go on as they are.
    if student["kind"] == "bilstm":
        del student["kind"]
    if config.student.kind != "cnn":
        del student["filters"]
    baseline = {k: v for k, v in student.items() if k not in _DISTILLED_KEYS}
    baseline["patience"] = config.baseline.patience
    for values_of, found in zip(
        (teacher, student, baseline), _of_classes(config), strict=True
    ):
        values_of |= found
    return {
        "data": _data_settings(config, values["data"], *answers),
        "teacher": teacher,
        "vectors": {
            **{key: vocabulary.get(key) for key in _VECTORS_KEYS},
            "sentences": _mines(config),
        },
        "augment": values["augmentation"],
        "label": values["transfer_set"],
        "vocabulary": vocabulary,
        "student": student,
        "baseline": baseline,
        "export": {},
        "report": {"baseline": config.baseline.enabled},
    }


def _of_classes(config: Config) -> list[dict[str, Any]]:
    """Return what teacher, student and baseline each have of `classes`.

    What nobody asked for is left out: runs from before there was such a
    section go on as they are.
    """
    metric = {}
    if config.metric != get_task(config.task).metric:
        metric["select_metric"] = config.metric

    def of(classes: ClassesConfig) -> dict[str, Any]:
        return {"class_weights": classes.weights} if classes.weights else {}

    weights = of(config.classes.of_students)
    drawn = metric | ({"balance": True} if config.classes.balance else {})
    return [
        # One that comes fine-tuned is not trained and not chosen.
        {} if config.teacher.checkpoints else of(config.classes) | metric,
        drawn | (weights if config.student.alpha else {}),
        drawn | weights,
    ]


def _data_settings(
    config: Config, data: dict[str, Any], logits: list[str], confidence: float
) -> dict[str, Any]:
    check_settings(config)
    if logits:
        data["logits"] = [file_identity(Path(path)) for path in logits]
        data["confidence"] = confidence
    for key in ("train_file", "dev_file", "test_file"):
        if data[key] is not None:
            data[key] = file_identity(Path(data[key]))
    # Runs from before there were these go on as they are.
    for key in ("encoding", "separator", "header", "drop_labels"):
        if data[key] in (None, True):
            del data[key]
    data["unlabeled"] = list(map(file_identity, matching(data["unlabeled"])))
    if config.task == "quick":
        data["corpus"] = [file_identity(path) for path in corpus_files()]
    if data["data_dir"] is not None:
        from keras_distill.data.glue import find_glue_files

        files = find_glue_files(config.task, Path(data["data_dir"]))
        data["data_dir"] = {
            split: file_identity(path) for split, path in files.items()
        }
    return {"task": config.task, "seed": config.seed} | data


def _check_mode(mode: str, vectors: str) -> None:
    """Refuse to call a random table something else.

    Multichannel passes: it is the default, also where there are no vectors.
    """
    if vectors == "none" and mode in ("static", "non-static"):
        raise UserError(
            f"student.embedding_mode is {mode}, which needs word vectors: "
            "expected --embeddings FILE too, or --embedding-mode random"
        )


def _inputs(run: Pipeline) -> list[str]:
    """Return the flags of a child that reads the run."""
    return [
        *("--config", str(run.path / "config.yaml")),
        *("--data", str(run.path / "data")),
    ]
