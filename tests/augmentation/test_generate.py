"""The stage: same bytes always, resumable, streamed to disk."""

import gzip
import multiprocessing
import operator
import os
import signal

import nltk
import pytest
from tiny_tagger import install

from keras_distill.augmentation import generate
from keras_distill.augmentation.generate import (
    augment_file,
    map_ordered,
    read_augmented,
)
from keras_distill.augmentation.tagged import load_tagger
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.errors import UserError
from keras_distill.files import read_json

PART = 16
ROWS = 5 * PART - 3


def settings(**changes):
    values = {"n_iter": 4, "pos_tagger": "none", "workers": 1, **changes}
    return AugmentationConfig(**values)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(generate, "EXAMPLES_PER_PART", PART)


@pytest.fixture
def inputs(tmp_path):
    path = tmp_path / "train.jsonl.gz"
    write_examples(
        path,
        (
            Example(
                f"film number {i} isn't, in short, good.", None, i % 2, f"s{i}"
            )
            for i in range(ROWS)
        ),
    )
    return path


def run(inputs, folder, seed=1, pair=False, **changes):
    return augment_file(inputs, folder, settings(**changes), seed, pair)


def contents(folder):
    """What is there but for what a killed process left half-written."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


def test_parts_and_manifest_are_left_and_nothing_else(inputs, tmp_path):
    manifest = run(inputs, tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == [
        "manifest.json",
        *(f"part-{n:05d}.tsv.gz" for n in range(5)),
    ]
    assert manifest == read_json(tmp_path / "out" / "manifest.json")
    assert manifest["examples"] == ROWS
    assert manifest["seed"] == 1
    assert manifest["settings"]["p_mask"] == 0.1
    assert manifest["rows"] == sum(part["rows"] for part in manifest["parts"])


def test_a_part_is_a_table_of_id_and_text_without_header(inputs, tmp_path):
    manifest = run(inputs, tmp_path / "out")
    name = manifest["parts"][0]["name"]
    lines = gzip.decompress((tmp_path / "out" / name).read_bytes()).decode()
    rows = [line.split("\t") for line in lines.splitlines()]
    assert len(rows) == manifest["parts"][0]["rows"]
    assert rows[0][0].startswith("s0-a")
    assert {len(row) for row in rows} == {2}


def test_generated_examples_are_read_back_in_order(inputs, tmp_path):
    manifest = run(inputs, tmp_path / "out")
    examples = list(read_augmented(tmp_path / "out"))
    assert len(examples) == manifest["rows"]
    sources = [int(example.id[1:].split("-")[0]) for example in examples]
    assert sources == sorted(sources)
    assert {e.label for e in examples} == {e.text_b for e in examples} == {None}


def test_pairs_are_read_back_as_pairs(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    write_examples(pairs, [Example("who is it?", "it is me.", 1, "p")])
    run(pairs, tmp_path / "out", pair=True, n_iter=30)
    examples = list(read_augmented(tmp_path / "out"))
    assert examples
    assert all(e.text_a and e.text_b for e in examples)


@pytest.mark.whole
def test_the_bytes_do_not_depend_on_the_number_of_workers(
    inputs, tmp_path, monkeypatch
):
    install(tmp_path / "nltk", {"film": "NN", "number": "NN", "good": "JJ"})
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "nltk"))
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
    load_tagger.cache_clear()
    run(inputs, tmp_path / "one", workers=1, pos_tagger="nltk")
    run(inputs, tmp_path / "two", workers=2, pos_tagger="nltk")
    load_tagger.cache_clear()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    # Words were replaced by others of their tag, in the workers too.
    assert any(
        "number number" in e.text_a for e in read_augmented(tmp_path / "two")
    )


def test_another_seed_gives_other_text(inputs, tmp_path):
    one = run(inputs, tmp_path / "one", seed=1)["parts"]
    two = run(inputs, tmp_path / "two", seed=2)["parts"]
    assert all(
        a["sha256"] != b["sha256"] for a, b in zip(one, two, strict=True)
    )


def test_parts_are_drawn_apart(tmp_path):
    same = tmp_path / "same.jsonl"
    write_examples(
        same, (Example("one long same film", id="x") for _ in range(2 * PART))
    )
    parts = run(same, tmp_path / "out")["parts"]
    assert parts[0]["sha256"] != parts[1]["sha256"]


def count_drawn(monkeypatch):
    drawn = []
    draw = generate._draw_part

    def counting(number, **values):
        drawn.append(number)
        return draw(number, **values)

    monkeypatch.setattr(generate, "_draw_part", counting)
    return drawn


def test_a_complete_folder_is_left_as_it_is(inputs, tmp_path, monkeypatch):
    manifest = run(inputs, tmp_path / "out")
    drawn = count_drawn(monkeypatch)
    assert run(inputs, tmp_path / "out", workers=2) == manifest
    assert drawn == []


@pytest.mark.parametrize("damage", ["deleted", "cut", "flipped"])
def test_only_a_damaged_part_is_made_again(
    inputs, tmp_path, monkeypatch, damage
):
    run(inputs, tmp_path / "out")
    whole = contents(tmp_path / "out")
    part = tmp_path / "out" / "part-00002.tsv.gz"
    data = part.read_bytes()
    part.unlink()
    if damage == "cut":
        part.write_bytes(data[:-20])
    elif damage == "flipped":
        part.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    drawn = count_drawn(monkeypatch)
    run(inputs, tmp_path / "out")
    assert drawn == [2]
    assert contents(tmp_path / "out") == whole


def test_a_run_that_fails_goes_on_where_it_stopped(
    inputs, tmp_path, monkeypatch
):
    run(inputs, tmp_path / "whole")
    write = generate.write_part

    def full_disk(path, rows):
        if path.name == "part-00003.tsv.gz":
            raise UserError("cannot write: No space left on device")
        return write(path, rows)

    with monkeypatch.context() as patched:
        patched.setattr(generate, "write_part", full_disk)
        with pytest.raises(UserError, match="No space"):
            run(inputs, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    drawn = count_drawn(monkeypatch)
    monkeypatch.setattr(generate, "_tag_part", lambda *_, **__: 1 / 0)
    run(inputs, tmp_path / "out")
    assert drawn == [3, 4]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("function", ["_tag_part", "_draw_part"])
def test_killed_in_either_pass_it_ends_with_the_same_bytes(
    inputs, tmp_path, function
):
    run(inputs, tmp_path / "whole")
    out = tmp_path / "out"
    step, calls = getattr(generate, function), []

    def killed(*args, **values):
        calls.append(1)
        if len(calls) == 3:
            (out / ".part-00002.tsv.gz.1.tmp").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args, **values)

    def work():
        setattr(generate, function, killed)
        run(inputs, out)

    # A fork has what is patched here, and imports nothing anew.
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()
    run(inputs, out)
    assert contents(out) == contents(tmp_path / "whole")


def test_an_input_without_rows_gives_a_complete_folder(tmp_path):
    write_examples(tmp_path / "none.jsonl", [])
    manifest = run(tmp_path / "none.jsonl", tmp_path / "out")
    assert (manifest["rows"], manifest["parts"]) == (0, [])
    assert list(read_augmented(tmp_path / "out")) == []


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.jsonl"):
        run(tmp_path / "nowhere.jsonl", tmp_path / "out")


def test_reading_an_unfinished_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json"):
        list(read_augmented(tmp_path))


def test_reading_a_part_cut_short_is_an_error_with_its_name(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    part = tmp_path / "out" / "part-00001.tsv.gz"
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"part-00001\.tsv\.gz.*damaged"):
        list(read_augmented(tmp_path / "out"))


def test_no_more_than_two_tasks_per_worker_are_read_ahead():
    read = []

    def tasks():
        for number in range(40):
            read.append(number)
            yield number

    results = map_ordered(operator.neg, tasks(), workers=2)
    assert next(results) == 0
    assert len(read) <= 6
    assert list(results) == [-number for number in range(1, 40)]


def test_a_worker_s_error_reaches_the_caller():
    with pytest.raises(TypeError):
        list(map_ordered(operator.neg, [1, None, 3], workers=2))
