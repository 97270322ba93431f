"""The stages in order, and what the result of each depends on."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keras_distill.cli import import_tensorflow
from keras_distill.config import STAGES, Config
from keras_distill.data.corpus import corpus_files
from keras_distill.data.settings import check_settings
from keras_distill.errors import UserError
from keras_distill.identity import checkpoint_identity, file_identity
from keras_distill.run import RunFolder, Stage
from keras_distill.stages import StageWork
from keras_distill.student.vector_file import check_ends
from keras_distill.tasks import Task, get_task
from keras_distill.teacher.source import check_path

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
