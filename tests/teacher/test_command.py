"""The teacher's command line, as far as it needs no teacher."""

import os
import socket
import socketserver
import threading

import pytest
import teacher_tiny as tiny
import tiny_runs

from keras_distill.errors import UserError
from keras_distill.teacher.__main__ import parse_shards
from keras_distill.teacher.runtime import (
    cpu_has_bfloat16,
    prepare_environment,
    weights_are_packed_once,
)
from keras_distill.teacher.source import check_path


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


def test_gelu_may_be_bfloat16_in_answers_alone(monkeypatch):
    name = "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD"
    kept = {}
    for training in (True, False):
        monkeypatch.setattr(os, "environ", {})
        prepare_environment("float32", training=training)
        kept[training] = os.environ[name].split(",")
    assert {*kept[True]} - {*kept[False]} == {"Erf"}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_are_packed_once_where_none_may_change(
    monkeypatch, training, precision
):
    """Whatever the user has set: a stale weight makes wrong logits."""
    monkeypatch.setattr(os, "environ", {"TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1"})
    prepare_environment(precision, training=training)
    once = precision == "bfloat16" and not training
    assert weights_are_packed_once() is once


def asking(address, cache, *arguments):
    """Run Python with another hub and an empty cache."""
    return tiny_runs.run(
        *arguments,
        HF_HOME=str(cache),
        HF_HUB_OFFLINE="0",
        HF_ENDPOINT=address,
        NO_PROXY="127.0.0.1",
    )


class HangUp(socketserver.BaseRequestHandler):
    """Ends every connection at once, and counts them."""

    def handle(self):
        self.server.count += 1


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path):
    tiny.settings(tmp_path, names=["bert-of-nowhere"])
    with socketserver.TCPServer(("127.0.0.1", 0), HangUp) as server:
        server.count = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        command = ["keras_distill.teacher", *tiny.finetune_arguments(tmp_path)]
        result = asking(address, tmp_path, "-m", *command)
        server.shutdown()
    assert result.returncode == 2
    assert server.count == 1
    (line,) = result.stderr.splitlines()
    tiny.assert_two_ways_to_a_teacher(line)
    assert f"({address} does not answer)" in line


def prepared(folder, code):
    """Run Python after `prepare_hub` where the hub's port is closed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    return asking(
        *(address, folder, "-c"),
        "import os; from keras_distill.teacher.source import prepare_hub; "
        f"prepare_hub('acme/tiny-bert'); {code}",
    )


def test_what_the_cache_has_needs_no_hub(tmp_path):
    repository = tmp_path / "hub" / "models--acme--tiny-bert"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "snapshots" / "abc" / "config.json").write_text("{}")
    result = prepared(tmp_path, "print(os.environ['HF_HUB_OFFLINE'])")
    assert result.stdout == "1\n", result.stderr


def test_what_the_cache_has_not_is_told_at_once(tmp_path):
    result = prepared(tmp_path, "print('not here')")
    assert result.stdout == ""
    assert "UserError: teacher acme/tiny-bert cannot be" in result.stderr
    assert "does not answer). Two ways to a teacher" in result.stderr


@pytest.mark.parametrize(
    "name", ["/none", "./none", "../none", "~/none", "none/of/these"]
)
def test_a_name_that_can_only_be_a_folders_is_one(name):
    with pytest.raises(UserError, match=f"--teacher {name}: no such folder"):
        check_path("--teacher", name)


def test_a_folder_or_a_name_on_the_hub_may_be_a_teacher(tmp_path):
    for name in (str(tmp_path), "bert-large-uncased", "acme/tiny.bert"):
        check_path("--teacher", name)
