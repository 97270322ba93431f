"""A tiny run to label, and the driver that has a Ray cluster label it.

python tests/ray_driver.py FOLDER make     a planned run, and what one
                                           process makes of it in alone/
python tests/ray_driver.py FOLDER label    the same by Ray
"""

import sys
from pathlib import Path

import teacher_tiny as tiny


def make(folder):
    from keras_distill.config import config_from_dict, load_config
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.teacher.label import label_transfer_set
    from keras_distill.transfer_set.plan import plan_shards

    tiny.run_folder(folder)
    tiny.settings(folder)
    teacher = tiny.checkpoint(folder / "teacher")
    for name in ("alone", "transfer_set"):
        rows = iter(tiny.examples(200, seed=10))
        plan_shards([(0, rows)], folder / name, 10, 200, seed=0)
    config = config_from_dict(load_config(folder / "config.yaml"))
    label_transfer_set(config, folder / "data", teacher, folder / "alone")


def label(folder):
    from keras_distill.cli import configure_logging, exit_code
    from keras_distill.cluster import Ray
    from keras_distill.config import config_from_dict, load_config
    from keras_distill.teacher.remote import label_on_ray

    configure_logging()
    config = config_from_dict(load_config(folder / "config.yaml"))
    places = (folder / name for name in ("data", "teacher", "transfer_set"))
    sys.exit(exit_code(label_on_ray, config, *places, Ray("auto")))


if __name__ == "__main__":
    {"make": make, "label": label}[sys.argv[2]](Path(sys.argv[1]))
