"""A few answers of a run's teacher, as the file of another model."""

import csv
import json

import numpy as np
from report_runs import LABELS, write_run

from keras_distill.metrics import softmax
from keras_distill.transfer_set.record import read_rows


def test_what_chose_is_answered_and_what_is_reported_kept(
    module, tmp_path, monkeypatch
):
    said, run, folder = module("said"), tmp_path / "run", tmp_path / "said"
    write_run(run)
    command = ["said.py", str(run), "--output", str(folder)]
    monkeypatch.setattr("sys.argv", command)

    assert said.main() == 0

    for split, name in (("select", "gold.tsv"), ("dev", "test.tsv")):
        rows = read_rows(
            [run / "transfer_set" / f"{split}.tfrecord"], False, len(LABELS)
        )
        with (folder / name).open(encoding="utf-8", newline="") as stream:
            found = list(csv.DictReader(stream, delimiter="\t"))
        assert [row["text"] for row in found] == rows.columns[0]
        assert [LABELS.index(row["label"]) for row in found] == list(
            rows.labels
        )
        if split == "select":
            asked = rows
    lines = (folder / "said.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line)["probabilities"] for line in lines]
    np.testing.assert_allclose(
        [[answer[name] for name in LABELS] for answer in answers],
        softmax(asked.teacher_logits),
        atol=1e-4,
    )
