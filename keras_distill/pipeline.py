"""The stages in order: what each depends on and what it does."""

import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_distill.cli import import_tensorflow
from keras_distill.config import STAGES, Config, Task, get_task
from keras_distill.data.examples import read_examples, write_examples
from keras_distill.data.splits import check_settings, corpus_files
from keras_distill.errors import UserError
from keras_distill.files import (
    checkpoint_identity,
    file_identity,
    read_json,
    write_bytes,
    write_json,
)
from keras_distill.process import run_child
from keras_distill.run import RunFolder, Stage, lower_case, seed_folders
from keras_distill.student.vectors import check_ends
from keras_distill.teacher.source import check_path

logger = logging.getLogger(__name__)


class StageWork:
    """Does the stages of one run, each a method named like it.

    Each gets the folder to make, which may hold what an interrupted run
    left behind, and reads the finished folders of the stages before it.
    """

    def __init__(
        self, config: Config, run_dir: Path, fingerprint: Callable[[str], str]
    ) -> None:
        """Remember the run; nothing is read or written.

        Args:
            config: The resolved configuration.
            run_dir: The run folder.
            fingerprint: Tells a stage's fingerprint by its name.
        """
        self._config = config
        self._path = run_dir
        self._fingerprint = fingerprint

    def data(self, place: Path) -> None:
        """Read, check and split the examples."""
        from keras_distill.data.splits import load_splits
        from keras_distill.data.tables import read_unlabeled

        splits = load_splits(self._config)
        named = {
            "train": splits.train,
            "select": splits.select,
            "dev": None if splits.selected_on == "dev" else splits.dev,
            "dev_mismatched": splits.dev_mismatched,
            "test": splits.test,
        }
        rows = {
            name: write_examples(place / f"{name}.jsonl.gz", examples)
            for name, examples in named.items()
            if examples is not None
        }
        settings = self._config.data
        unlabeled = write_examples(
            place / "unlabeled.jsonl.gz",
            read_unlabeled(
                splits.unlabeled,
                splits.pair,
                settings.text_column,
                settings.text_pair_column,
            ),
        )
        write_json(
            place / "manifest.json",
            {
                "labels": splits.labels,
                "pair": splits.pair,
                "splits": rows,
                "unlabeled": unlabeled,
                "selected_on": splits.selected_on,
            },
        )

    def teacher(self, place: Path) -> None:
        """Fine-tune the teacher, in a process of its own."""
        run_child(
            "keras_distill.teacher",
            [
                "finetune",
                *self._common(),
                *("--work", str(place / "work")),
                *("--output", str(place)),
                *("--log-dir", str(self._path / "logs" / "teacher")),
            ],
        )

    def augment(self, place: Path) -> None:
        """Generate text from the training examples."""
        from keras_distill.augmentation.generate import augment_file

        settings = self._config.augmentation
        texts = {"train": place}
        if settings.unlabeled and self._facts["unlabeled"]:
            texts["unlabeled"] = place / "unlabeled"
        for name, output in texts.items():
            augment_file(
                self._path / "data" / f"{name}.jsonl.gz",
                output,
                settings,
                self._config.seed,
                self._facts["pair"],
            )

    def label(self, place: Path) -> None:
        """Deal all text to shards and have the teacher label them."""
        from keras_distill.augmentation.generate import read_augmented
        from keras_distill.transfer_set.plan import plan_shards
        from keras_distill.transfer_set.record import (
            AUGMENTED,
            ORIGINAL,
            UNLABELED,
        )

        data, augmented = self._path / "data", self._path / "augmented"
        sources = [
            (ORIGINAL, read_examples(data / "train.jsonl.gz")),
            (AUGMENTED, read_augmented(augmented)),
            (UNLABELED, read_examples(data / "unlabeled.jsonl.gz")),
        ]
        if (augmented / "unlabeled").is_dir():
            sources.append((AUGMENTED, read_augmented(augmented / "unlabeled")))
        plan_shards(
            sources,
            place,
            self._config.transfer_set.rows_per_shard,
            total=None,
            seed=self._config.seed,
            fingerprint=self._fingerprint("label"),
        )
        run_child(
            "keras_distill.teacher",
            [
                "label",
                *self._common(),
                *("--teacher", str(self._path / "teacher")),
                *("--output", str(place)),
            ],
        )

    def transfer_set_intact(self, folder: Path) -> bool:
        """Say whether every shard still has its checksum."""
        from keras_distill.transfer_set.manifest import Manifest

        try:
            Manifest.load(folder).verify(folder)
        except UserError as error:
            logger.warning("%s", error)
            return False
        return True

    def vocabulary(self, place: Path) -> None:
        """Choose the student's words and read their vectors."""
        from keras_distill.student.text import (
            count_words,
            save_vocabulary,
            select_words,
        )
        from keras_distill.transfer_set.plan import load_plan, read_input

        settings = self._config.student

        def texts() -> Iterator[str]:
            for path in load_plan(self._path / "transfer_set"):
                for _, example in read_input(path):
                    yield example.text_a
                    if example.text_b is not None:
                        yield example.text_b

        counts = count_words(texts(), self._lower_case)
        words = select_words(
            counts,
            settings.vocabulary_size,
            settings.min_count,
            self._word_pieces() if settings.word_pieces else None,
        )
        save_vocabulary(place / "vocab.txt", words)
        coverage = {"tokens": None, "types": None}
        if settings.embeddings != "none":
            from keras_distill.student.vectors import load_vectors

            vectors, found = load_vectors(
                Path(settings.embeddings),
                words,
                settings.embedding_dim,
                counts=counts,
                seed=self._config.seed,
            )
            import numpy as np

            # np.save does not notice when the disk is full at the last bytes.
            content = io.BytesIO()
            np.save(content, vectors)
            write_bytes(place / "vectors.npy", content.getbuffer())
            coverage = {"tokens": found.tokens, "types": found.types}
        write_json(place / "coverage.json", coverage)

    def student(self, place: Path) -> None:
        """Train the distilled student, once for each seed."""
        self._train(place, labelled_only=False, budget={})

    def baseline(self, place: Path) -> None:
        """Train the undistilled student, once for each seed."""
        # As many updates and looks at the selection split as the distilled
        # student may have: a weak baseline proves nothing.
        training = read_json(self._path / "student" / "training.json")
        settings = self._config.student
        per_epoch = training["updates_per_epoch"]
        budget = {
            "max_updates": settings.epochs * per_epoch,
            "updates_per_evaluation": -(
                -per_epoch // settings.evaluations_per_epoch
            ),
        }
        self._train(place, labelled_only=True, budget=budget)

    def _train(
        self, place: Path, labelled_only: bool, budget: dict[str, int]
    ) -> None:
        from keras_distill.student.seeds import read_vocabulary, train_seeds

        words, vectors = read_vocabulary(self._path / "vocabulary")
        train_seeds(
            self._config,
            self._path / "transfer_set",
            place,
            words=words,
            vectors=vectors,
            logs=self._path / "logs",
            labelled_only=labelled_only,
            lower_case=self._lower_case,
            fingerprint=self._fingerprint(
                "baseline" if labelled_only else "student"
            ),
            **budget,
        )

    def seeds_complete(self, folder: Path) -> bool:
        """Say whether a student of every seed is there."""
        return all(
            (place / "training.json").is_file()
            for place in seed_folders(self._config, folder).values()
        )

    def export(self, place: Path) -> None:
        """Export the main seed's student."""
        from keras_distill.export.exporter import export_student
        from keras_distill.export.selection import calibrate

        folder = self._path / "student"
        export_student(folder, place, temperature=calibrate(folder, place))

    def report(self, place: Path) -> None:
        """Measure, and write results.json, the model card and pictures."""
        from keras_distill.report.results import write_report

        write_report(self._path, self._config, place)

    def report_fits(self, folder: Path) -> bool:
        """Say whether the report is there, of all seeds and these exports."""
        if not all(map(Path.is_file, self._reports)):
            return False
        results = read_json(self._reports[0])
        exports = results.get("exports") or {}
        return results["student"]["seeds"] == self._config.seeds and all(
            exports[path.name]["bytes"] == path.stat().st_size
            for path in (self._path / "export").glob("*.tflite")
            if path.name in exports
        )

    @property
    def _reports(self) -> tuple[Path, Path]:
        return self._path / "results.json", self._path / "README.md"

    @property
    def _facts(self) -> dict[str, Any]:
        return read_json(self._path / "data" / "manifest.json")

    @property
    def _lower_case(self) -> bool:
        return lower_case(self._path, self._config)

    def _word_pieces(self) -> list[str]:
        path = self._path / "teacher" / "tokenizer.json"
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        if tokenizer["model"]["type"] != "WordPiece":
            raise UserError(
                "student.word_pieces needs a teacher with WordPiece tokens, "
                f"this one has {tokenizer['model']['type']}"
            )
        return list(tokenizer["model"]["vocab"])

    def _common(self) -> list[str]:
        return [
            *("--config", str(self._path / "config.yaml")),
            *("--data", str(self._path / "data")),
        ]


# What the vocabulary stage depends on; the rest is the students'.
_VOCABULARY_KEYS = (
    "embeddings",
    "embedding_dim",
    "embedding_mode",
    "vocabulary_size",
    "min_count",
    "word_pieces",
)

# Bad data is to be found before the long import.
_WITHOUT_TENSORFLOW = ("data", "teacher", "augment")


class Pipeline:
    """One run: its configuration, its folder and its stages."""

    def __init__(self, config: Config, run_dir: Path) -> None:
        """Work out what each stage depends on; nothing is written.

        Args:
            config: The resolved configuration.
            run_dir: The run folder.

        Raises:
            UserError: The settings do not fit each other, a file that they
                name is missing, or the word vectors do not fit.
        """
        self.config = config
        self.path = Path(run_dir)
        self.task: Task = get_task(config.task)
        self.folder = RunFolder(self.path, self._stages())

    def run(self, stages: Iterable[str] = STAGES, redo: bool = False) -> None:
        """Run stages in order; those that are complete are skipped.

        Args:
            stages: Names out of `STAGES`.
            redo: Make stages anew whose settings changed.

        Raises:
            UserError: Bad input, or a run folder made with other settings.
        """
        wanted = set(stages)
        if not self.config.baseline:
            wanted.discard("baseline")
        self.folder.check(wanted, redo)
        with self.folder.lock():
            self.config.save(self.path / "config.yaml")
            for name in STAGES:
                if name not in wanted:
                    continue
                self.folder.run(name)

    def _stages(self) -> list[Stage]:
        settings = self._settings()
        # The folder is made from these stages, so it is asked later.
        work = StageWork(
            self.config, self.path, lambda name: self.folder.fingerprint(name)
        )
        baseline = ("baseline",) if self.config.baseline else ()
        # Name, folder, what it needs, what it does, what tells it is whole.
        rows = (
            ("data", "data", (), work.data),
            ("teacher", "teacher", ("data",), work.teacher),
            ("augment", "augmented", ("data",), work.augment),
            (
                "label",
                "transfer_set",
                ("teacher", "augment"),
                work.label,
                work.transfer_set_intact,
            ),
            ("vocabulary", "vocabulary", ("label",), work.vocabulary),
            (
                "student",
                "student",
                ("vocabulary",),
                work.student,
                work.seeds_complete,
            ),
            (
                "baseline",
                "baseline",
                ("student",),
                work.baseline,
                work.seeds_complete,
            ),
            ("export", "export", ("student",), work.export),
            (
                "report",
                "report",
                ("export", *baseline),
                work.report,
                work.report_fits,
            ),
        )
        return [
            Stage(
                name,
                folder,
                settings[name],
                needs,
                do if name in _WITHOUT_TENSORFLOW else _with_tensorflow(do),
                *others,
            )
            for name, folder, needs, do, *others in rows
        ]

    def _settings(self) -> dict[str, dict[str, Any]]:
        """Return what each stage depends on, beside the stages it needs."""
        values = self.config.to_dict()
        teacher, student = values["teacher"], values["student"]
        # Batch sizes of inference, like the number of workers, change the
        # speed and not the result.
        teacher.pop("tokens_per_batch")
        values["augmentation"].pop("workers")
        if teacher["checkpoint"] is not None:
            check_path("--teacher-checkpoint", teacher["checkpoint"])
        else:
            check_path("--teacher", teacher["name"])
        for key in ("name", "checkpoint"):
            teacher[key] = checkpoint_identity(teacher[key])
        vocabulary = {key: student.pop(key) for key in _VOCABULARY_KEYS}
        vocabulary["cased"] = teacher.pop("cased")
        _check_mode(vocabulary["embedding_mode"], vocabulary["embeddings"])
        if vocabulary["embeddings"] != "none":
            path = Path(vocabulary["embeddings"])
            vocabulary["embeddings"] = file_identity(path)
            # They are read when the teacher's hours are over.
            check_ends(path, vocabulary["embedding_dim"])
        # More seeds add students and leave those alone that are there.
        student.pop("extra_seeds")
        return {
            "data": self._data_settings(values["data"]),
            "teacher": teacher,
            "augment": values["augmentation"],
            "label": values["transfer_set"],
            "vocabulary": vocabulary,
            "student": student,
            "baseline": student,
            "export": {},
            "report": {"baseline": self.config.baseline},
        }

    def _data_settings(self, data: dict[str, Any]) -> dict[str, Any]:
        check_settings(self.task, self.config.data)
        for key in ("train_file", "dev_file", "test_file"):
            if data[key] is not None:
                data[key] = file_identity(Path(data[key]))
        data["unlabeled"] = [file_identity(Path(p)) for p in data["unlabeled"]]
        if self.task.name == "quick":
            data["corpus"] = [file_identity(path) for path in corpus_files()]
        if data["data_dir"] is not None:
            data["data_dir"] = self._glue_identities(Path(data["data_dir"]))
        return {"task": self.config.task, "seed": self.config.seed} | data

    def _glue_identities(self, folder: Path) -> dict[str, Any]:
        from keras_distill.data.glue import find_glue_files

        files = find_glue_files(self.task.name, folder)
        return {split: file_identity(path) for split, path in files.items()}


def _check_mode(mode: str, vectors: str) -> None:
    """Refuse to call a random table something else.

    Multichannel passes: it is the default, also where there are no vectors.
    """
    if vectors == "none" and mode in ("static", "non-static"):
        raise UserError(
            f"student.embedding_mode is {mode}, which needs word vectors: "
            "expected --embeddings FILE too, or --embedding-mode random"
        )


def _with_tensorflow(work: Callable[[Path], None]) -> Callable[[Path], None]:
    """Import TensorFlow when the work is done, not when it is skipped."""

    def do(place: Path) -> None:
        import_tensorflow()
        work(place)

    return do
