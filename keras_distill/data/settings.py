"""Whether the settings of the data are those that the task reads."""

from collections import Counter

from keras_distill.config import DataConfig
from keras_distill.errors import UserError
from keras_distill.tasks import Task


def check_settings(task: Task, settings: DataConfig) -> None:
    """Look, before any file is, whether the settings are the task's.

    Raises:
        UserError: The task needs another setting, or does not read one.
    """
    glue = "--task sst2, qqp or mnli"
    if task.name == "custom":
        unfit = ["data_dir"]
        if settings.train_file is None:
            raise UserError(
                "--task custom: data.train_file is missing, expected a "
                "CSV, TSV or JSON-lines file (--train-file)"
            )
        hint = f"your files come by --train-file, GLUE's by {glue}"
    else:
        unfit = [
            "train_file",
            "dev_file",
            "test_file",
            "text_pair_column",
            "label_column",
        ]
        hint = "GLUE's files come by --data-dir, yours by --task custom"
        if task.name == "quick":
            unfit.append("data_dir")
            hint = f"your files come by --task custom, GLUE's by {glue}"
    for name in unfit:
        if getattr(settings, name) is not None:
            raise UserError(
                f"data.{name} is {getattr(settings, name)!r}, but --task "
                f"{task.name} does not read it: {hint}"
            )
    if settings.labels is None:
        return
    if len(settings.labels) < 2:
        raise UserError(
            f"data.labels is {settings.labels}, expected at least two classes"
        )
    repeated = [n for n, k in Counter(settings.labels).items() if k > 1]
    if repeated:
        raise UserError(
            f"data.labels names {repeated[0]!r} twice, expected "
            "different class names"
        )
