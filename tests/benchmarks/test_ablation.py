"""What an ablation leaves out of a transfer set."""

from report_runs import write_run

from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import SOURCE_NAMES, parse, read_shard


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
