"""The stages in order: from text to a distilled student."""

import io
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_distill.child import run_child
from keras_distill.cli import import_tensorflow
from keras_distill.config import STAGES, Config
from keras_distill.data.corpus import corpus_files
from keras_distill.data.splits_io import read_examples, write_examples
from keras_distill.errors import UserError
from keras_distill.files import (
    read_json,
    sha256_file,
    write_bytes,
    write_json,
    write_text,
)
from keras_distill.run import RunFolder, Stage
from keras_distill.tasks import Task, get_task

logger = logging.getLogger(__name__)

# Files up to this size are hashed whole; of larger ones the size, the head
# and the tail (a word-vector file has gigabytes).
_HASH_WHOLE = 512 * 2**20


class Pipeline:
    """One run: its configuration, its folder and its stages."""

    def __init__(self, config: Config, run_dir: Path) -> None:
        """Work out what each stage depends on; nothing is written.

        Args:
            config: The resolved configuration.
            run_dir: The run folder.

        Raises:
            UserError: A file that the configuration names is missing.
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
                # Bad data is to be found before the long import.
                if name not in ("data", "teacher", "augment"):
                    import_tensorflow()
                self.folder.run(name)

    def _stages(self) -> list[Stage]:
        values = self.config.to_dict()
        teacher, student = values["teacher"], values["student"]
        # Batch sizes of inference, like the number of workers, change the
        # speed and not the result.
        teacher.pop("tokens_per_batch")
        for key in ("name", "checkpoint"):
            teacher[key] = _checkpoint_identity(teacher[key])
        augmentation = values["augmentation"]
        augmentation.pop("workers")
        base = {"task": self.config.task, "seed": self.config.seed}
        # More seeds add students and leave those alone that are there.
        student.pop("extra_seeds")
        cased = teacher.pop("cased")
        vocabulary_keys = (
            "embeddings",
            "embedding_dim",
            "embedding_mode",
            "vocabulary_size",
            "min_count",
            "word_pieces",
        )
        vocabulary = {key: student.pop(key) for key in vocabulary_keys}
        vectors = self.config.student.embeddings
        if vectors != "none":
            vocabulary["embeddings"] = _identity(Path(vectors))
        data = dict(values["data"])
        for key in ("train_file", "dev_file", "test_file"):
            if data[key] is not None:
                data[key] = _identity(Path(data[key]))
        data["unlabeled"] = [_identity(Path(p)) for p in data["unlabeled"]]
        if self.task.name == "quick":
            data["corpus"] = [_identity(path) for path in corpus_files()]
        # The data stage says which tasks have no such folder.
        glue = self.task.name not in ("quick", "custom")
        if data["data_dir"] is not None and glue:
            data["data_dir"] = self._glue_identities(Path(data["data_dir"]))
        return [
            Stage("data", "data", base | data, (), self._data),
            Stage("teacher", "teacher", teacher, ("data",), self._teacher),
            Stage(
                "augment", "augmented", augmentation, ("data",), self._augment
            ),
            Stage(
                "label",
                "transfer_set",
                values["transfer_set"],
                ("teacher", "augment"),
                self._label,
                self._transfer_set_intact,
            ),
            Stage(
                "vocabulary",
                "vocabulary",
                vocabulary | {"cased": cased},
                ("label",),
                self._vocabulary,
            ),
            Stage(
                "student",
                "student",
                student,
                ("vocabulary",),
                self._student,
                self._seeds_complete,
            ),
            Stage(
                "baseline",
                "baseline",
                student,
                ("student",),
                self._baseline,
                self._seeds_complete,
            ),
            Stage("export", "export", {}, ("student",), self._export),
            Stage(
                "report",
                "report",
                {"baseline": self.config.baseline},
                ("export", "baseline") if self.config.baseline else ("export",),
                self._report,
                self._report_fits,
            ),
        ]

    def _glue_identities(self, folder: Path) -> dict[str, Any]:
        from keras_distill.data.glue import find_glue_files

        files = find_glue_files(self.task.name, folder)
        return {split: _identity(path) for split, path in files.items()}

    # The stages. Each gets the folder to make, which may hold what an
    # interrupted run left behind.

    def _data(self, place: Path) -> None:
        from keras_distill.data.load import load_splits
        from keras_distill.data.unlabeled import read_unlabeled

        splits = load_splits(self.config)
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
        settings = self.config.data
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

    def _teacher(self, place: Path) -> None:
        run_child(
            "keras_distill.teacher",
            [
                "finetune",
                *self._common(),
                *("--work", str(place / "work")),
                *("--output", str(place)),
                *("--log-dir", str(self.path / "logs" / "teacher")),
            ],
        )

    def _augment(self, place: Path) -> None:
        from keras_distill.augmentation.generate import augment_file

        settings = self.config.augmentation
        texts = {"train": place}
        if settings.unlabeled and self._facts["unlabeled"]:
            texts["unlabeled"] = place / "unlabeled"
        for name, output in texts.items():
            augment_file(
                self.path / "data" / f"{name}.jsonl.gz",
                output,
                settings,
                self.config.seed,
                self._facts["pair"],
            )

    def _label(self, place: Path) -> None:
        from keras_distill.augmentation.generate import read_augmented
        from keras_distill.transfer_set.plan import plan_shards
        from keras_distill.transfer_set.record import (
            AUGMENTED,
            ORIGINAL,
            UNLABELED,
        )

        data, augmented = self.path / "data", self.path / "augmented"
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
            self.config.transfer_set.rows_per_shard,
            total=None,
            seed=self.config.seed,
            fingerprint=self.folder.fingerprint("label"),
        )
        run_child(
            "keras_distill.teacher",
            [
                "label",
                *self._common(),
                *("--teacher", str(self.path / "teacher")),
                *("--output", str(place)),
            ],
        )

    def _transfer_set_intact(self, folder: Path) -> bool:
        from keras_distill.transfer_set.manifest import Manifest

        try:
            Manifest.load(folder).verify(folder)
        except UserError as error:
            logger.warning("%s", error)
            return False
        return True

    def _vocabulary(self, place: Path) -> None:
        from keras_distill.student import vocabulary
        from keras_distill.transfer_set.plan import load_plan, read_input

        settings = self.config.student

        def texts() -> Iterator[str]:
            for path in load_plan(self.path / "transfer_set"):
                for _, example in read_input(path):
                    yield example.text_a
                    if example.text_b is not None:
                        yield example.text_b

        counts = vocabulary.count_words(texts(), self._lower_case)
        words = vocabulary.select_words(
            counts,
            settings.vocabulary_size,
            settings.min_count,
            self._word_pieces() if settings.word_pieces else None,
        )
        vocabulary.save(place / "vocab.txt", words)
        coverage = {"tokens": None, "types": None}
        if settings.embeddings != "none":
            from keras_distill.student.embeddings import load_vectors

            vectors, found = load_vectors(
                Path(settings.embeddings),
                words,
                settings.embedding_dim,
                counts=counts,
                seed=self.config.seed,
            )
            import numpy as np

            # np.save does not notice when the disk is full at the last bytes.
            content = io.BytesIO()
            np.save(content, vectors)
            write_bytes(place / "vectors.npy", content.getbuffer())
            coverage = {"tokens": found.tokens, "types": found.types}
        write_json(place / "coverage.json", coverage)

    def _student(self, place: Path) -> None:
        self._train(place, labelled_only=False, budget={})

    def _baseline(self, place: Path) -> None:
        # As many updates and looks at the selection split as the distilled
        # student may have: a weak baseline proves nothing.
        training = read_json(self.path / "student" / "training.json")
        settings = self.config.student
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
        import numpy as np

        from keras_distill.student import vocabulary
        from keras_distill.student.training import train_student
        from keras_distill.transfer_set.manifest import Manifest

        transfer_set = self.path / "transfer_set"
        manifest = Manifest.load(transfer_set)
        vectors_file = self.path / "vocabulary" / "vectors.npy"
        vectors = np.load(vectors_file) if vectors_file.exists() else None
        words = vocabulary.load(self.path / "vocabulary" / "vocab.txt")
        name = "baseline" if labelled_only else "student"
        for seed in self.seeds:
            main = seed == self.config.seed
            output = self._seed_folder(place, seed)
            if (output / "training.json").is_file():
                continue
            result = train_student(
                self.config.student,
                vocabulary=words,
                vectors=vectors,
                train_files=manifest.files(transfer_set, "train"),
                select_file=transfer_set / "select.tfrecord",
                labels=manifest.labels,
                pair=manifest.pair,
                lower_case=self._lower_case,
                output_dir=output,
                seed=seed,
                metric=self.task.metric,
                labelled_only=labelled_only,
                log_dir=self.path
                / "logs"
                / (name if main else f"{name}-seed-{seed}"),
                fingerprint=self.folder.fingerprint(name),
                **budget,
            )
            vocabulary.save(output / "vocab.txt", words)
            write_text(
                output / "labels.txt",
                "".join(f"{label}\n" for label in manifest.labels),
            )
            write_json(
                output / "text.json",
                {
                    "lower_case": self._lower_case,
                    "max_length": self.config.student.max_length,
                    "pair": manifest.pair,
                },
            )
            write_json(
                output / "training.json",
                {
                    "seed": seed,
                    "updates": result.updates,
                    "updates_per_epoch": result.updates_per_epoch,
                    "rows": result.rows,
                    "evaluations": len(result.history),
                    "best": result.best,
                },
            )

    def _seed_folder(self, stage: Path, seed: int) -> Path:
        main = seed == self.config.seed
        return stage if main else stage / f"seed-{seed}"

    def _seeds_complete(self, folder: Path) -> bool:
        return all(
            (self._seed_folder(folder, seed) / "training.json").is_file()
            for seed in self.seeds
        )

    def _export(self, place: Path) -> None:
        from keras_distill.export.saved_model import export_saved_model

        facts = export_saved_model(self.path / "student", place / "saved_model")
        write_json(place / "exports.json", {"saved_model": facts})

    def _report(self, place: Path) -> None:
        from keras_distill.report.model_card import model_card
        from keras_distill.report.plots import plot_learning_curves
        from keras_distill.report.results import collect_results

        results = collect_results(self.path, self.config)
        numbers, card = self._reports
        write_json(numbers, results)
        write_text(card, model_card(results, self.config))
        plot_learning_curves(self.path, place)

    def _report_fits(self, folder: Path) -> bool:
        if not all(map(Path.is_file, self._reports)):
            return False
        return read_json(self._reports[0])["student"]["seeds"] == self.seeds

    @property
    def _reports(self) -> tuple[Path, Path]:
        return self.path / "results.json", self.path / "README.md"

    @property
    def seeds(self) -> list[int]:
        """The main seed and the extra ones."""
        first = self.config.seed
        return [first + i for i in range(1 + self.config.student.extra_seeds)]

    @property
    def _facts(self) -> dict[str, Any]:
        return read_json(self.path / "data" / "manifest.json")

    @property
    def _lower_case(self) -> bool:
        if self.config.teacher.cased is not None:
            return not self.config.teacher.cased
        facts = read_json(self.path / "teacher" / "teacher.json")
        return facts["lower_case"]

    def _word_pieces(self) -> list[str]:
        path = self.path / "teacher" / "tokenizer.json"
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        if tokenizer["model"]["type"] != "WordPiece":
            raise UserError(
                "student.word_pieces needs a teacher with WordPiece tokens, "
                f"this one has {tokenizer['model']['type']}"
            )
        return list(tokenizer["model"]["vocab"])

    def _common(self) -> list[str]:
        return [
            *("--config", str(self.path / "config.yaml")),
            *("--data", str(self.path / "data")),
        ]


def _checkpoint_identity(name: str | None) -> Any:
    """Return what tells a checkpoint folder's content, or the name itself."""
    if name is None or not Path(name).is_dir():
        return name
    folder = Path(name).resolve()
    files = {
        path.name: _identity(path)
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".h5", ".safetensors", ".txt", ".model")
    }
    return {"folder": folder.name, "files": files}


def _identity(path: Path) -> dict[str, Any]:
    """Return what tells a file's content: name, size and a hash."""
    try:
        size = path.stat().st_size
        if size <= _HASH_WHOLE:
            return {"name": path.name, "sha256": sha256_file(path)}
        import hashlib

        digest = hashlib.sha256()
        with open(path, "rb") as stream:
            digest.update(stream.read(2**20))
            stream.seek(-(2**20), 2)
            digest.update(stream.read())
        return {
            "name": path.name,
            "bytes": size,
            "sha256_of_ends": digest.hexdigest(),
        }
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
