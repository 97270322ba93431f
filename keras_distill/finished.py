"""What is to be found in the folder of a finished run."""

from pathlib import Path

from keras_distill.config import Config, config_from_dict, load_config
from keras_distill.errors import UserError


def find_student(run_dir: Path | str) -> Path:
    """Return a run's student folder.

    Args:
        run_dir: A run folder, or a folder that holds `model.keras` itself,
            such as a run's `baseline` or `student/seed-43`.

    Raises:
        UserError: There is no student.
    """
    run_dir = Path(run_dir)
    for folder in (run_dir / "student", run_dir):
        if (folder / "model.keras").is_file():
            return folder
    raise UserError(
        f"{run_dir} holds no student (student/model.keras), expected the "
        "folder of a finished run of train.py"
    )


def seed_folders(config: Config, stage: Path) -> dict[int, Path]:
    """Return where the student of each seed lies.

    Args:
        config: The run's configuration.
        stage: The run's `student` or `baseline` folder, finished or not.

    Returns:
        The folders by seed, the main seed first: `stage` itself.
    """
    return {
        seed: stage if seed == config.seed else stage / f"seed-{seed}"
        for seed in config.seeds
    }


def find_config(student_dir: Path | str) -> Config | None:
    """Return the configuration of the run that a student is part of.

    Args:
        student_dir: As `find_student` gives it.

    Returns:
        The configuration, or None when the student was moved out of its
        run.

    Raises:
        UserError: The run's `config.yaml` is damaged.
    """
    folder = Path(student_dir).absolute()
    # RUN/student, RUN/baseline, or RUN/student/seed-43.
    for parent in list(folder.parents)[:2]:
        path = parent / "config.yaml"
        if path.is_file():
            return config_from_dict(load_config(path))
    return None
