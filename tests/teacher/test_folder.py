"""What a checkpoint's folder tells before anything is loaded."""

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import teacher_tiny as tiny
import tiny_runs

from keras_distill.errors import UserError
from keras_distill.teacher.folder import (
    check_folder,
    class_names,
    lower_cases,
    weight_bytes,
)

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{'0' * 64}\nsize 437955512\n"
)


@pytest.fixture
def teacher(tmp_path):
    return tiny.hollow(tmp_path / "bert")


def refusal(place):
    with pytest.raises(UserError) as caught:
        check_folder(place)
    message = str(caught.value)
    assert str(place) in message and "\n" not in message
    return message


def test_a_whole_folder_gives_its_configuration(teacher):
    assert check_folder(teacher) == {"model_type": "bert"}


@pytest.mark.parametrize(
    "name, content, part",
    [
        ("config.json", "{", "config.json is not valid JSON"),
        ("config.json", "[]", "holds a list, expected a JSON object"),
        ("config.json", "{}", "names no model_type"),
        ("config.json", POINTER, "is a pointer of git-lfs"),
        ("model.safetensors", POINTER, "is a pointer of git-lfs"),
        ("model.safetensors", "<html>404</html>", "is no safetensors file"),
        ("model.safetensors", "", "is no safetensors file"),
        ("vocab.txt", POINTER, "run git lfs pull in the folder"),
        ("vocab.txt", "", "vocab.txt is empty"),
        ("tokenizer.json", '{"half": ', "tokenizer.json is not valid JSON"),
        ("tokenizer.json", POINTER, "is a pointer of git-lfs"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    teacher, name, content, part
):
    (teacher / name).write_text(content)
    message = refusal(teacher)
    assert part in message and str(teacher / name) in message


@pytest.mark.parametrize("keep", [0, 7, 30, -1, -150])
def test_weights_that_are_cut_short_are_told_by_their_size(teacher, keep):
    path = teacher / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    message = refusal(teacher)
    if keep not in (0, 7):
        assert f"is cut short: {len(whole[:keep]):,} bytes, " in message


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_h5_weights_that_are_cut_short_are_told_by_their_size(teacher, libver):
    (teacher / "model.safetensors").unlink()
    path = teacher / "tf_model.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["w"] = np.arange(5000.0)
    check_folder(teacher)
    assert weight_bytes(teacher) == path.stat().st_size
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"expected {len(whole):,}; fetch it again" in refusal(teacher)
    path.write_bytes(b"nothing of the kind" * 5)
    assert "is no HDF5 file" in refusal(teacher)


@pytest.fixture
def sharded(teacher):
    """A checkpoint in two files, with their index."""
    (teacher / "model.safetensors").unlink()
    parts = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name in parts:
        tiny.safetensors(teacher / name)
    index = {"weight_map": {"a": parts[0], "b": parts[1], "c": parts[1]}}
    path = teacher / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return teacher, parts


def test_a_sharded_checkpoint_is_whole_with_all_of_its_files(sharded):
    place, parts = sharded
    check_folder(place)
    (place / parts[1]).write_text(POINTER)
    assert "is a pointer of git-lfs" in refusal(place)
    (place / parts[1]).unlink()
    message = refusal(place)
    assert "lacks 1 of the 2 files of weights" in message
    assert parts[1] in message and parts[0] not in message


def test_an_index_that_names_no_files_is_refused(sharded):
    place, _ = sharded
    (place / "model.safetensors.index.json").write_text("{}")
    assert "has no weight_map" in refusal(place)


def test_a_folder_without_a_tokenizer_is_refused(teacher):
    (teacher / "vocab.txt").unlink()
    message = refusal(teacher)
    assert "has no tokenizer, expected tokenizer.json, vocab.txt" in message
    assert "found: config.json, model.safetensors" in message
    (teacher / "vocab.json").write_text("{}")
    assert "has no tokenizer" in refusal(teacher)
    (teacher / "merges.txt").write_text("#version: 0.2\n")
    check_folder(teacher)


@pytest.mark.parametrize("family", ["modernbert", "llama", "t5"])
def test_a_family_without_a_tensorflow_class_gets_another_way(
    teacher, tmp_path, family
):
    (teacher / "config.json").write_text(json.dumps({"model_type": family}))
    # Whatever else is wrong: its weights would not help.
    (teacher / "model.safetensors").unlink()
    message = refusal(teacher)
    assert f"is of the family {family}, for which transformers" in message
    assert "--teacher-logits FILE, see docs/teachers.md" in message


@pytest.mark.parametrize(
    "name, content, count",
    [
        ("vocab.txt", "a\nb\nc\n", 3),
        ("vocab.json", '{"a": 4, "b": 0}', 5),
        ("vocab.json", '{"model": 4, "added_tokens": 0}', 5),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0, "b": 6}}}', 7),
        ("tokenizer.json", '{"model": {"vocab": [["a", 0.1], ["b", 1]]}}', 2),
        (
            "tokenizer.json",
            '{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 8}]}',
            9,
        ),
    ],
)
def test_a_tokenizer_with_more_ids_than_embeddings_is_refused(
    teacher, name, content, count
):
    (teacher / "vocab.txt").unlink()
    (teacher / "merges.txt").write_text("#version: 0.2\n")
    (teacher / name).write_text(content)
    facts = {"model_type": "bert", "vocab_size": count}
    (teacher / "config.json").write_text(json.dumps(facts))
    check_folder(teacher)
    facts["vocab_size"] -= 1
    (teacher / "config.json").write_text(json.dumps(facts))
    message = refusal(teacher)
    assert f"{name} has token ids up to {count - 1}, its model" in message
    assert f"embeddings for {count - 1} (vocab_size in config.json)" in message


@pytest.mark.parametrize("family", ["bert", "albert", "roberta"])
def test_without_settings_the_family_tells_the_case(teacher, family):
    (teacher / "config.json").write_text(json.dumps({"model_type": family}))
    assert lower_cases(teacher)
    (teacher / "vocab.txt").unlink()
    assert lower_cases(teacher) == (family == "albert")
    settings = teacher / "tokenizer_config.json"
    settings.write_text('{"do_lower_case": false}')
    assert not lower_cases(teacher)


@pytest.mark.parametrize("model", ["[]", "7", '{"vocab": 7}', "null"])
@pytest.mark.parametrize("added", ["[7]", "7", "null"])
def test_what_tells_no_ids_is_left_to_the_library(teacher, model, added):
    facts = {"model_type": "bert", "vocab_size": 1}
    (teacher / "config.json").write_text(json.dumps(facts))
    content = f'{{"model": {model}, "added_tokens": {added}}}'
    (teacher / "tokenizer.json").write_text(content)
    check_folder(teacher)


def test_a_sentencepiece_model_alone_needs_a_package(teacher, monkeypatch):
    (teacher / "vocab.txt").unlink()
    (teacher / "spm.model").write_bytes(b"pieces")
    found = {"sentencepiece": None}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    message = refusal(teacher)
    assert "(spm.model)" in message
    assert "pip install 'sentencepiece" in message
    found["sentencepiece"] = object()
    check_folder(teacher)
    # With a fast tokenizer beside it nothing is needed.
    found.clear()
    (teacher / "tokenizer.json").write_text("{}")
    check_folder(teacher)


@pytest.fixture
def torch_only(teacher, tmp_path):
    place = tmp_path / "a teacher's folder"
    teacher.rename(place)
    (place / "model.safetensors").unlink()
    for part in (1, 2):
        (place / f"pytorch_model-0000{part}-of-00002.bin").write_text("")
    (place / "pytorch_model.bin.index.json").write_text("{}")
    return place


TORCH = """
class Tensor(str):
    clone = contiguous = lambda self: self

def load(name, device, weights_only):
    assert device == "cpu" and weights_only
    return {name[-17:-13]: Tensor(name)}
"""
SAFETENSORS = """
import json

def save_file(tensors, name, metadata):
    with open(name, "w") as stream:
        json.dump([tensors, metadata], stream)
"""


def test_weights_for_pytorch_alone_come_with_the_command_that_helps(
    torch_only, tmp_path
):
    """The command runs, with what stands in for the two libraries."""
    message = refusal(torch_only)
    assert "for PyTorch alone (pytorch_model.bin.index.json)" in message
    assert "pip install torch" in message
    command = message[message.index("cd ") :]
    libraries = tmp_path / "libraries"
    (libraries / "safetensors").mkdir(parents=True)
    (libraries / "torch.py").write_text(TORCH)
    (libraries / "safetensors" / "__init__.py").write_text("")
    (libraries / "safetensors" / "torch.py").write_text(SAFETENSORS)
    python = shlex.quote(sys.executable)
    subprocess.run(
        ["sh", "-c", command.replace("&& python ", f"&& {python} ")],
        env={"PYTHONPATH": str(libraries)},
        check=True,
    )
    tensors, metadata = json.loads(
        (torch_only / "model.safetensors").read_text()
    )
    assert metadata == {"format": "pt"}
    assert list(tensors) == ["0001", "0002"]


def test_a_pointer_to_pytorch_weights_is_none(torch_only):
    shutil.copy(torch_only / "vocab.txt", torch_only / "pytorch_model.bin")
    (torch_only / "pytorch_model.bin").write_text(POINTER)
    assert "is a pointer of git-lfs" in refusal(torch_only)


@pytest.mark.parametrize(
    "config, names",
    [
        ({}, ["LABEL_0", "LABEL_1"]),
        ({"num_labels": 3}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
        ({"id2label": {"10": "c", "2": "b", "1": "a"}}, ["a", "b", "c"]),
    ],
)
def test_the_configuration_names_the_classes(config, names):
    assert class_names(config) == names


def test_looking_at_a_folder_imports_no_library_that_is_slow(teacher):
    code = (
        "import sys; from keras_distill.teacher.source import find_checkpoint;"
        f"find_checkpoint({str(teacher)!r});"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    modules = set(tiny_runs.run("-c", code).stdout.split())
    assert "keras_distill" in modules
    assert not modules & {"tensorflow", "transformers", "numpy", "h5py"}
