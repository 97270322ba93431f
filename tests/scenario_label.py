"""Labelling whole, in parts and again; see teacher_process.py."""

import contextlib
import io

import numpy as np
import teacher_tiny as tiny
from teacher_process import attempt

from keras_distill.files import read_json, sha256_file


def labelling(folder):
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.teacher.label import shard_name
    from keras_distill.transfer_set.manifest import Manifest
    from keras_distill.transfer_set.plan import load_plan, plan_shards

    tiny.run_folder(folder)
    tiny.settings(folder)
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
        **_nowhere(folder),
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
    from keras_distill.transfer_set.record import parse, read_shard

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
    from keras_distill.transfer_set.record import parse, read_shard

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
    from keras_distill.teacher.label import Labeller
    from keras_distill.teacher.predict import Tokens

    class Broken:
        def logits(self, examples, on_rows):
            return np.full((len(examples), 2), np.nan), Tokens(1, 1)

    before = _files(place)
    refused = {
        "no_shard": attempt(Labeller(None, place, "f").shards, [99]),
        "not_finite": attempt(Labeller(Broken(), place, "f").shards, [0]),
        "no_plan": attempt(Labeller(None, folder / "empty", "f").shards),
    }
    code = _label(folder, "--shards", "two")
    return {
        "label_refused": refused | {"code": code},
        "untouched": _files(place) == before,
        "leftovers": [p.name for p in place.rglob("*.tmp")],
    }


def _nowhere(folder):
    """Name a teacher that is no folder, no package and not on the hub."""
    from keras_distill.teacher.__main__ import main

    tiny.settings(folder, name="bert-of-nowhere")
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = main(tiny.finetune_arguments(folder, "nothing"))
    return {"nowhere": [code, errors.getvalue().splitlines()]}
