"""What the teacher's tests do, in processes of its own.

transformers' TF classes switch `tf.keras` to tf_keras for their whole
process, so each scenario is run as `python -m teacher_scenarios NAME FOLDER`
by `run_scenario` and leaves facts behind; the tests assert on these. A start
costs seconds, hence few scenarios with many facts.
"""

import logging
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import teacher_tiny as tiny

from keras_distill.config import TeacherConfig, config_from_dict
from keras_distill.data.examples import Example
from keras_distill.data.splits_io import write_examples
from keras_distill.errors import UserError
from keras_distill.files import read_json, sha256_file, write_json

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "tiny_teacher_package"
REPOSITORY = "acme/tiny-bert"
KILLED_AT = "evaluation.txt"


def start(arguments, **environment):
    """Start `python -m` in a process that finds the package and this file."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    values = {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env=os.environ | values,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_scenario(name, folder, **environment):
    """Run a scenario to its end and return its facts."""
    process = start(["teacher_scenarios", name, folder], **environment)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr[-4000:]
    return read_json(Path(folder) / f"{name}.json")


def attempt(work, *arguments):
    """Return the line that the user would see, or None."""
    try:
        work(*arguments)
    except UserError as error:
        return str(error)
    return None


# Checkpoints: found, loaded, refused.


def checkpoints(folder):
    with tiny.hub({REPOSITORY: folder / "hub"}) as (address, seen):
        os.environ |= {
            "HF_ENDPOINT": address,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(folder / "cache"),
            "NO_PROXY": "127.0.0.1",
        }
        from keras_distill.teacher.runtime import prepare_environment

        prepare_environment("float32")
        return {
            **_found(folder),
            **_from_hub(folder, seen),
            **_texts(folder),
            **_refused(folder),
            **_columns(folder),
        }


def _found(folder):
    from keras_distill.teacher.checkpoint import (
        find_checkpoint,
        load_fine_tuned,
        load_teacher,
        lower_cases,
    )
    from keras_distill.teacher.finetune import save_teacher
    from keras_distill.teacher.predict import Predictor

    place = folder / "site" / PACKAGE / "model"
    tiny.checkpoint(place, head=False)
    (place.parent / "__init__.py").touch()
    sys.path.append(str(folder / "site"))
    found = find_checkpoint(PACKAGE.replace("_", "-"))
    # A pretrained encoder gets a new head, whose saved form is fine-tuned.
    teacher = load_teacher(found, ["a", "b", "c"])
    saved = folder / "saved"
    save_teacher(teacher, saved)
    again = load_fine_tuned(str(saved), ["a", "b", "c"])
    rows = tiny.examples(6)
    before, _ = Predictor(teacher, 32, 64).logits(rows)
    after, _ = Predictor(again, 32, 64).logits(rows)
    cased = tiny.tokenizer(folder / "cased", lower_case=False)
    roberta = tiny.roberta_tokenizer(folder / "roberta")
    return {
        "package": {"found": found, "expected": str(place)},
        "round_trip": {
            "files": sorted(path.name for path in saved.iterdir()),
            "facts": read_json(saved / "teacher.json"),
            "parameters": sum(int(np.prod(w.shape)) for w in _all(teacher)),
            "spread": float(np.std(before)),
            "difference": float(np.abs(before - after).max()),
        },
        "lower_case": {
            "uncased": lower_cases(teacher.tokenizer),
            "cased": lower_cases(cased),
            "roberta": lower_cases(roberta),
        },
    }


def _all(teacher):
    return [variable.numpy() for variable in teacher.model.weights]


def _from_hub(folder, seen):
    from keras_distill.teacher.checkpoint import load_teacher

    tiny.checkpoint(folder / "hub", seed=3)
    teacher = load_teacher(REPOSITORY, tiny.LABELS)
    origin = load_teacher(str(folder / "hub"), tiny.LABELS)
    return {
        "hub": {
            "requests": sorted(set(seen)),
            "difference": max(
                float(np.abs(a - b).max())
                for a, b in zip(_all(teacher), _all(origin), strict=True)
            ),
            "words": teacher.tokenizer.tokenize("a superb film"),
            "missing": attempt(load_teacher, "acme/nothing", tiny.LABELS),
        }
    }


def _texts(folder):
    from keras_distill.teacher.batches import encode
    from keras_distill.teacher.checkpoint import Teacher
    from keras_distill.teacher.predict import Predictor

    bert = tiny.tokenizer(folder / "texts")
    roberta = tiny.roberta_tokenizer(folder / "roberta")
    pair = [Example("a [MASK] film", "the [MASK]")]
    ids = {
        "bert": (bert, encode(bert, pair, 32)),
        "roberta": (roberta, encode(roberta, pair, 64)),
    }
    long = [Example("a " * 40, "the " * 40)]
    cut = encode(bert, long, 16)
    teachers = {
        "bert": Teacher(tiny.bert(), bert, [0, 1]),
        "roberta": Teacher(tiny.roberta(roberta), roberta, [0, 1]),
    }
    return {
        "mask": {
            name: {
                "count": encoded.columns["input_ids"][0]
                .tolist()
                .count(own.mask_token_id),
                "text": own.decode(encoded.columns["input_ids"][0]),
            }
            for name, (own, encoded) in ids.items()
        },
        "pair_types": ids["bert"][1].columns["token_type_ids"][0].tolist(),
        "cut": {
            "asked": teachers["bert"].cut(8),
            "pair": int(cut.lengths[0]),
            **{name: teachers[name].cut(128) for name in teachers},
        },
        "long": {
            name: Predictor(teacher, 128, 64).logits(long)[0].tolist()
            for name, teacher in teachers.items()
        },
    }


def _refused(folder):
    from transformers import BertConfig, BertTokenizerFast

    from keras_distill.teacher.checkpoint import (
        find_checkpoint,
        load_fine_tuned,
        load_teacher,
    )

    bare = folder / "bare"
    tiny.tokenizer(bare).save_pretrained(bare)
    no_config = attempt(find_checkpoint, str(bare))
    BertConfig().save_pretrained(bare)
    damaged = tiny.checkpoint(folder / "damaged")
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[:-100])
    tokens = tiny.checkpoint(folder / "tokens")
    (tokens / "tokenizer.json").write_text('{"half": ')
    other = tiny.checkpoint(folder / "other")
    config = read_json(other / "config.json")
    write_json(other / "config.json", config | {"hidden_size": 8})
    no_class = tiny.checkpoint(folder / "no_class")
    write_json(no_class / "config.json", config | {"model_type": "modernbert"})
    unpadded = tiny.checkpoint(folder / "unpadded")
    BertTokenizerFast(
        str(unpadded / "vocab.txt"), pad_token=None
    ).save_pretrained(unpadded)
    encoder = tiny.checkpoint(folder / "encoder", head=False)
    labels = tiny.LABELS
    return {
        "refused": {
            "no_config": no_config,
            "no_weights": attempt(load_teacher, str(bare), labels),
            "damaged": attempt(load_teacher, str(damaged), labels),
            "tokens": attempt(load_teacher, str(tokens), labels),
            "other_weights": attempt(load_teacher, str(other), labels),
            "no_class": attempt(load_teacher, str(no_class), labels),
            "unpadded": attempt(load_teacher, str(unpadded), labels),
            "encoder": attempt(load_fine_tuned, str(encoder), labels),
        }
    }


def _columns(folder):
    from keras_distill.teacher.checkpoint import load_fine_tuned, match_labels
    from keras_distill.teacher.predict import Predictor

    class Config:
        def __init__(self, *names):
            self.id2label = dict(enumerate(names))

    def columns(names, labels):
        return match_labels("t", Config(*names), labels)

    rows = tiny.examples(5)
    names = ["positive", "negative"]
    permuted = tiny.checkpoint(folder / "permuted", names=names)
    teacher = load_fine_tuned(str(permuted), tiny.LABELS)
    own = load_fine_tuned(str(permuted), names)
    logits, _ = Predictor(teacher, 32, 64).logits(rows)
    plain, _ = Predictor(own, 32, 64).logits(rows)
    stars = ["1", "2", "3", "4", "5"]
    return {
        "columns": {
            "same": columns(tiny.LABELS, tiny.LABELS),
            "permuted": columns("cab", ["a", "b", "c"]),
            "case": columns(["POSITIVE", "NEGATIVE"], tiny.LABELS),
            "two_cases": columns(["a", "A"], ["A", "a"]),
            "generic": columns(["LABEL_0", "LABEL_1"], tiny.LABELS),
            "numbers_permuted": columns(["0", "1"], ["1", "0"]),
            "count": attempt(columns, tiny.LABELS, stars),
            "names": attempt(columns, ["ham", "spam"], tiny.LABELS),
            "logits": float(np.abs(logits - plain[:, ::-1]).max()),
            "spread": float(np.abs(logits - plain).max()),
        }
    }


# Training: one update, the grid.


def training(folder):
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    import tensorflow as tf

    from keras_distill.teacher.trainer import learning_rate

    cpu = tf.config.list_physical_devices("CPU")[0]
    device = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [device] * 2)
    return {
        "schedule": [learning_rate(step, 10, 4.0, 0.3) for step in range(10)],
        "no_warmup": [learning_rate(step, 4, 4.0, 0.0) for step in range(4)],
        "all_warmup": [learning_rate(step, 3, 4.0, 1.0) for step in range(3)],
        **_updates(tf, folder),
        **_grid(folder),
        **_full_disk(folder),
    }


def _updates(tf, folder):
    """Losses and weights after two updates, in several ways."""
    import tf_keras

    from keras_distill.teacher.batches import encode
    from keras_distill.teacher.trainer import Trainer

    rows = tiny.examples(7)
    labels = np.asarray([e.label for e in rows], np.int32)

    def train(strategy=None, precision="float32", **settings):
        strategy = strategy or tf.distribute.get_strategy()
        settings = TeacherConfig(**{"clip_norm": 0.1, **settings})
        with strategy.scope():
            model = tiny.bert(seed=1, scale=0.1, layers=1)
        first = [w.numpy() for w in model.trainable_variables]
        trainer = Trainer(model, settings, strategy, precision)
        adam = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
        # Adam divides by a gradient's size; where the true gradient is 0
        # that would blow rounding up to a full step.
        adam.epsilon = 1e-3
        losses = [trainer.step(batch, labels, 1e-3) for _ in range(2)]
        change = [
            (w.numpy() - before).ravel()
            for w, before in zip(model.trainable_variables, first, strict=True)
        ]
        return losses, np.concatenate(change)

    tokens = encode(tiny.tokenizer(folder / "tokens"), rows, 32)
    batch = tokens.batch(range(7))
    losses, change = train()
    ways = {
        # 7 rows in 4 parts of 2: one row fills up.
        "accumulation_4": train(accumulation=4),
        "two_devices": train(
            tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), accumulation=2
        ),
        "no_clipping": train(clip_norm=1e6),
    }
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    ways["float16"] = train(precision="float16")
    tf_keras.mixed_precision.set_global_policy("float32")
    size = np.linalg.norm(change)
    return {
        "updates": {
            name: {
                "loss": float(np.abs(np.subtract(other[0], losses)).max()),
                "change": float(np.linalg.norm(other[1] - change) / size),
            }
            for name, other in ways.items()
        },
        "first_losses": losses,
    }


def _grid(folder):
    from keras_distill.metrics import classification_metrics
    from keras_distill.teacher.checkpoint import load_fine_tuned
    from keras_distill.teacher.finetune import fine_tune
    from keras_distill.teacher.predict import Predictor

    settings = TeacherConfig(
        name=str(tiny.checkpoint(folder / "pretrained", scale=0.1)),
        # Too small, right, and one that diverges.
        learning_rates=[1e-9, 3e-2, 1e30],
        epochs=3,
        batch_size=16,
    )
    select = tiny.examples(40, seed=1, longest=5)
    work = folder / "grid"
    arguments = {
        "labels": tiny.LABELS,
        "train": tiny.examples(128, longest=5),
        "select": select,
        "metric": "f1",
        "output_dir": work,
        "log_dir": folder / "logs",
        "seed": 0,
        "precision": "float32",
    }
    grid = fine_tune(settings, **arguments)
    started = time.perf_counter()
    again = fine_tune(settings, **arguments)
    seconds = time.perf_counter() - started
    best = load_fine_tuned(str(work / "best"), tiny.LABELS)
    logits, _ = Predictor(best, 32, 256).logits(select)
    settings = TeacherConfig(learning_rates=[1e30])
    rows = [grid["rows"][-1] | {"index": 0}]
    write_json(folder / "hopeless" / "grid.json", {"rows": rows, "best": None})
    arguments["output_dir"] = folder / "hopeless"
    return {
        "grid": grid,
        "best": classification_metrics(logits, [e.label for e in select]),
        "again": {"equal": again == grid, "seconds": seconds},
        "work": sorted(path.name for path in work.iterdir()),
        "logs": sorted(path.name for path in (folder / "logs").iterdir()),
        "hopeless": attempt(lambda: fine_tune(settings, **arguments)),
    }


def _full_disk(folder):
    """A limit on file sizes fails a write as a full disk does."""
    from keras_distill.teacher import finetune
    from keras_distill.teacher.checkpoint import load_teacher

    settings = TeacherConfig(name=str(folder / "pretrained"))
    teacher = load_teacher(settings.name, tiny.LABELS)
    work = folder / "full"
    run = finetune._Run(settings, tiny.LABELS, work, work, 0, "float32")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        facts = {
            "teacher": attempt(finetune.save_teacher, teacher, work / "best"),
            "checkpoint": attempt(run._save),
        }
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    facts["left"] = [p.name for p in work.rglob("*best*")]
    return {"full_disk": facts}


# Killed and resumed.


def _run_folder(folder):
    """Write what the stages before the teacher leave behind."""
    data = folder / "data"
    splits = {"train": 48, "select": 24, "dev": 10}
    for seed, (name, count) in enumerate(splits.items()):
        rows = tiny.examples(count, seed)
        write_examples(data / f"{name}.jsonl.gz", rows)
    write_json(
        data / "manifest.json",
        {"labels": tiny.LABELS, "pair": False, "splits": splits},
    )


def _settings(folder, **teacher):
    values = {
        "task": "quick",
        "teacher": {
            "name": str(folder / "pretrained"),
            "learning_rates": [3e-2],
            "epochs": 2,
            "batch_size": 8,
            "max_length": 32,
            "precision": "float32",
            **teacher,
        },
    }
    config_from_dict(values).save(folder / "config.yaml")


def _finetune(folder, name):
    from keras_distill.teacher.__main__ import main

    return main(
        [
            "finetune",
            *("--config", str(folder / "config.yaml")),
            *("--data", str(folder / "data")),
            *("--output", str(folder / name)),
            *("--work", str(folder / name / "work")),
            *("--log-dir", str(folder / "logs")),
        ]
    )


def killed(folder):
    """Train to the end of epoch 1 and wait there for SIGKILL."""
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.teacher import finetune
    from keras_distill.teacher.predict import Predictor

    def wait(self, examples):
        (folder / KILLED_AT).touch()
        time.sleep(600)

    # A checkpoint at every step.
    finetune._SECONDS_BETWEEN_CHECKPOINTS = -1.0
    Predictor.logits = wait
    tiny.checkpoint(folder / "pretrained", scale=0.1)
    _run_folder(folder)
    _settings(folder)
    _finetune(folder, "teacher")


def resumed(folder):
    """Go on after the kill; do the same again without one."""
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.teacher.checkpoint import load_fine_tuned

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("keras_distill.teacher.finetune").addHandler(handler)
    before = sorted(p.name for p in (folder / "teacher" / "work").iterdir())
    codes = [_finetune(folder, "teacher")]
    said = list(lines)
    codes.append(_finetune(folder, "reference"))
    weights, grids = [], []
    for name in ("teacher", "reference"):
        place = str(folder / name)
        weights.append(_all(load_fine_tuned(place, tiny.LABELS)))
        grids.append(read_json(folder / name / "grid.json"))
    return {
        "codes": codes,
        "left_by_kill": before,
        "said": said,
        "grids": grids,
        "files": sorted(p.name for p in (folder / "teacher").iterdir()),
        "difference": max(
            float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True)
        ),
        "given": _given(folder),
    }


def _given(folder):
    """A teacher that is fine-tuned already skips the training."""
    _settings(folder, checkpoint=str(folder / "reference"))
    code = _finetune(folder, "given")
    grid = read_json(folder / "given" / "grid.json")
    return {
        "code": code,
        "rows": grid["rows"],
        "cross_entropy": grid["best"]["cross_entropy"],
        "files": sorted(p.name for p in (folder / "given").iterdir()),
    }


# Labelling.


def labelling(folder):
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.teacher.label import shard_name
    from keras_distill.transfer_set.manifest import Manifest
    from keras_distill.transfer_set.plan import load_plan, plan_shards

    _run_folder(folder)
    _settings(folder)
    place = folder / "transfer_set"
    tiny.checkpoint(folder / "teacher")
    tiny.checkpoint(folder / "second", seed=9)
    sources = [
        (source, iter(tiny.examples(20, seed=10 + source)))
        for source in range(3)
    ]
    plan_shards(sources, place, rows_per_shard=15, total=60, seed=0)
    inputs = load_plan(place)
    names = [shard_name(i, len(inputs)) for i in range(len(inputs))]
    codes = [_label(folder, "--shards", "0,2")]
    part = sorted(p.name for p in place.iterdir())
    first = _files(place)
    codes.append(_label(folder))
    whole = _files(place)
    records = _records(place, inputs, names)
    # Three ways to spoil a shard, and none.
    data = bytearray((place / names[0]).read_bytes())
    data[100] ^= 1
    (place / names[0]).write_bytes(data)
    (place / names[1]).unlink()
    (place / "done" / f"{names[2]}.json").write_text("{")
    codes.append(_label(folder))
    mended = _files(place)
    Manifest.load(place).verify(place)
    manifest = read_json(place / "manifest.json")
    codes.append(_label(folder, teacher="second"))
    other = _files(place)
    return {
        "codes": codes,
        "names": names,
        "part": part,
        "first": first,
        "whole": whole,
        "mended": mended,
        "other": other,
        "manifest": manifest,
        "manifest_after": read_json(place / "manifest.json"),
        "notes": read_json(place / "done" / f"{names[0]}.json"),
        **records,
        **_single_rows(folder),
        **_label_refused(folder, place),
    }


def _label(folder, *arguments, teacher="teacher"):
    from keras_distill.teacher.__main__ import main

    return main(
        [
            "label",
            *("--config", str(folder / "config.yaml")),
            *("--data", str(folder / "data")),
            *("--output", str(folder / "transfer_set")),
            *("--teacher", str(folder / teacher)),
            *arguments,
        ]
    )


def _files(place):
    """What tells whether a file was written again, and its content."""
    return {
        path.name: {
            "inode": path.stat().st_ino,
            "mtime": path.stat().st_mtime_ns,
            "sha256": sha256_file(path),
        }
        for path in sorted(place.glob("*.tfrecord"))
    }


def _records(place, inputs, names):
    """Compare the records with the rows that were planned for them."""
    from keras_distill.transfer_set.plan import read_input
    from keras_distill.transfer_set.record import parse
    from keras_distill.transfer_set.shards import read_shard

    planned, found = [], []
    for path, name in zip(inputs, names, strict=True):
        for source, example in read_input(path):
            label = -1 if example.label is None else example.label
            planned.append([example.id, example.text_a, source, label])
        row = parse(list(read_shard(place / name)), pair=False)
        found += [
            [identity.decode(), text.decode(), int(source), int(label)]
            for identity, text, source, label in zip(
                *(row[key].numpy() for key in ("id", "text_a")),
                *(row[key].numpy() for key in ("source", "label")),
                strict=True,
            )
        ]
    return {"planned": planned, "found": found}


def _single_rows(folder):
    """Logits of rows in large batches, in small ones, and alone."""
    from keras_distill.teacher.checkpoint import load_fine_tuned
    from keras_distill.teacher.predict import Predictor
    from keras_distill.transfer_set.record import parse
    from keras_distill.transfer_set.shards import read_shard

    teacher = load_fine_tuned(str(folder / "second"), tiny.LABELS)
    rows = tiny.examples(24, seed=1)
    large, tokens = Predictor(teacher, 32, 8192).logits(rows)
    small, few = Predictor(teacher, 32, 20).logits(rows)
    alone = Predictor(teacher, 32, 20)
    single = np.concatenate([alone.logits([row])[0] for row in rows])
    shard = folder / "transfer_set" / "select.tfrecord"
    written = parse(list(read_shard(shard)), pair=False)["teacher_logits"]
    return {
        "batching": {
            "small": float(np.abs(large - small).max()),
            "alone": float(np.abs(large - single).max()),
            "written": float(np.abs(large - written.numpy()).max()),
            "spread": float(np.abs(large - large[::-1]).max()),
            "real_tokens": [tokens.real, few.real],
            "padded_tokens": [tokens.padded, few.padded],
            "none": list(alone.logits([])[0].shape),
        }
    }


def _label_refused(folder, place):
    from keras_distill.teacher.label import label_shards
    from keras_distill.teacher.predict import Tokens

    class Broken:
        def logits(self, examples, on_rows):
            return np.full((len(examples), 2), np.nan), Tokens(1, 1)

    before = _files(place)
    refused = {
        "no_shard": attempt(label_shards, None, place, "f", [99]),
        "not_finite": attempt(label_shards, Broken(), place, "f", [0]),
        "no_plan": attempt(label_shards, None, folder / "empty", "f"),
    }
    code = _label(folder, "--shards", "two")
    return {
        "label_refused": refused | {"code": code},
        "untouched": _files(place) == before,
        "leftovers": [p.name for p in place.rglob("*.tmp")],
    }


if __name__ == "__main__":
    scenario, place = sys.argv[1], Path(sys.argv[2])
    write_json(place / f"{scenario}.json", globals()[scenario](place))
