"""What an ablation leaves out of a transfer set, or makes otherwise."""

import numpy as np
import pytest
from report_runs import write_run

from keras_distill.files import write_array, write_text
from keras_distill.student.vocabulary import count_words
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import (
    SOURCE_NAMES,
    parse,
    read_shard,
    read_texts,
)


def sources(folder):
    found = []
    for shard in Manifest.load(folder).shards:
        records = list(read_shard(folder / shard.name))
        if records:
            found += parse(records, pair=False)["source"].numpy().tolist()
    return found


def test_rows_of_an_operator_are_left_out_and_no_others(
    module, tmp_path, monkeypatch
):
    ablation = module("ablation")
    write_run(tmp_path / "run")
    source = tmp_path / "run" / "transfer_set"
    before = sources(source)
    # The made-up run has augmented rows, which stand for an operator's here.
    monkeypatch.setitem(ablation._SOURCES, "joined", "augmented")
    ablation.filtered(source, tmp_path / "kept", "joined")
    augmented = {n: number for number, n in SOURCE_NAMES.items()}["augmented"]
    assert augmented in before
    assert sources(tmp_path / "kept") == [x for x in before if x != augmented]
    manifest = Manifest.load(tmp_path / "kept")
    manifest.verify(tmp_path / "kept")
    assert manifest.counts["augmented"] == 0
    # What changes no text takes the whole set.
    ablation.filtered(source, tmp_path / "whole", "vectors")
    assert sources(tmp_path / "whole") == before


@pytest.fixture
def vectors(tmp_path):
    """A run whose file has the vectors of half of its words."""
    write_run(tmp_path / "run")
    manifest = Manifest.load(tmp_path / "run" / "transfer_set")
    files = manifest.files(tmp_path / "run" / "transfer_set", "train")
    counts = count_words(read_texts(files, manifest.pair), True)
    words = [word for word, _ in counts.most_common()]
    draw = np.random.default_rng(0).normal
    found = np.arange(len(words)) % 2 == 0
    folder = tmp_path / "run" / "vectors"
    folder.mkdir()
    write_text(folder / "words.txt", "".join(f"{word}\n" for word in words))
    write_array(folder / "found.npy", found)
    for name in ("vectors", "trainable"):
        values = draw(size=(len(words), 4)).astype(np.float32)
        write_array(folder / f"{name}.npy", values)
    return tmp_path / "run", counts, words, found


def tables(folder):
    return [np.load(folder / f"{n}.npy") for n in ("vectors", "trainable")]


@pytest.mark.parametrize("part", ["unfilled", "concatenated", "weighted"])
def test_other_vectors(module, tmp_path, vectors, part):
    run, counts, words, found = vectors
    module("ablation").other_vectors(run, tmp_path / "made", part, True)
    (file, teacher), (mine, other) = (
        tables(run / "vectors"),
        tables(tmp_path / "made"),
    )
    assert mine.shape == file.shape and mine.dtype == np.float32
    if part != "weighted":
        assert np.array_equal(other, teacher)
    if part == "unfilled":
        assert np.array_equal(mine[found], file[found])
        assert np.abs(mine[~found]).max() <= 0.25
        assert len({tuple(row) for row in mine[~found]}) == (~found).sum()
    if part == "concatenated":
        # A word without a vector in the file is told by the teacher's alone.
        assert mine.std() == pytest.approx(file[found].std(), rel=1e-5)
        axes, *_ = np.linalg.lstsq(
            teacher[~found] - teacher[~found].mean(0),
            mine[~found] - mine[~found].mean(0),
        )
        told = (teacher[~found] - teacher[~found].mean(0)) @ axes
        assert told == pytest.approx(
            mine[~found] - mine[~found].mean(0), abs=1e-4
        )
    if part == "weighted":
        length = np.linalg.norm(mine, axis=1) / np.linalg.norm(file, axis=1)
        share = np.array([counts[word] for word in words]) / counts.total()
        assert length * (1e-3 + share) == pytest.approx(
            length[0] * (1e-3 + share[0]), rel=1e-4
        )
