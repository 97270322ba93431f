"""The benchmarks of memory, stages, start-up and growth, at a tiny size.

No time and no memory is asserted: what they measure depends on the machine.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import ROOT, SMALL, write_stars

from keras_distill.files import write_json

COST = {"seconds": 2.0, "cpu_seconds": 1.5, "peak_memory_mib": 300}
MEMORY = (
    *("--sizes", 60, "--n-iter", 2, "--updates", 1),
    *("--vocabulary", 100, "--lstm-units", 4, "--pos-tagger", "none"),
)
SCALING = (
    *("--rows", "40,80", "--words", 4, "--vocabulary", 100, "--units", 4),
    *("--teacher-hidden", 32, "--n-iter", 2, "--pos-tagger", "none"),
)


@pytest.fixture
def commands(module, monkeypatch):
    """Note commands instead of running them; a run leaves its numbers."""
    found = []

    def sampled(arguments, log=None):
        found.append(arguments)
        if "--output-dir" in arguments:
            run = arguments[arguments.index("--output-dir") + 1]
            counts = {"original": 100, "augmented": 200}
            folder = type(ROOT)(run)
            write_json(
                folder / "transfer_set" / "manifest.json",
                {"counts": counts, "pair": True},
            )
            write_json(
                folder / "results.json",
                {
                    "seconds": {
                        "teacher": 0.5,
                        "student": 1.0,
                        "baseline": 0.7,
                    },
                    "beside": {"baseline": ["student"]},
                    "transfer_set": {"rows": counts},
                },
            )
        return dict(COST)

    for name in ("memory", "startup", "quickstart"):
        monkeypatch.setattr(module(name), "run_sampled", sampled)
    return found


def test_memory_tells_the_peak_of_every_stage(call, commands):
    result, table = call("memory", *MEMORY)
    (one,) = result["sets"]
    stages = ["data", "teacher", "augment", "label", "vocabulary"]
    assert list(one["stages"]) == [*stages, "training"]
    assert [c[-1] for c in commands[1:-1]] == stages
    assert one["rows"] == 300 and one["peak_memory_mib"] == 300
    assert "300 MiB at most, below 4,096" in table
    assert "growth" not in result, "one set does not tell growth"


@pytest.mark.slow
def test_memory_of_every_stage_is_measured(start):
    result, _ = start("memory", *MEMORY)
    (one,) = result["sets"]
    assert one["counts"]["augmented"] > one["counts"]["original"] > 0
    assert all(row["peak_memory_mib"] > 0 for row in one["stages"].values())


def test_memory_compares_the_larger_set_with_the_smaller(module):
    def one(rows, label):
        stages = {"data": 100, "label": label}
        return {
            "rows": rows,
            "stages": {n: {"peak_memory_mib": m} for n, m in stages.items()},
        }

    result = {"sets": [one(2000, 1500), one(1000, 1000)]}
    module("memory").summarise(result)
    assert result["growth"] == {"data": 1.0, "label": 1.5, "rows": 2.0}
    assert result["peak_memory_mib"] == 1500
    assert result["sets"][0]["peak_stage"] == "label"
    assert result["below_limit"]
    result = {"sets": [one(2000, 5000), one(1000, 1000)]}
    module("memory").summarise(result)
    assert not result["below_limit"]


def test_startup_times_help_and_a_finished_run(call, commands):
    result, table = call("startup", "--repeats", 1, "--rows", 60)
    assert result["commands"]["train.py --help"] == {
        **{"seconds": 2.0, "cpu_seconds": 1.5, "limit_seconds": 2}
    }
    *_, again, numpy, keras = commands
    assert again[:2] == ["train.py", "--config"]
    for one in (numpy, keras):
        assert one[-3:] == ["a gripping film", "--text-b", "a dull film"]
    assert "a finished run again" in table


@pytest.mark.slow
def test_a_finished_run_is_started_again(start):
    result, _ = start("startup", "--repeats", 1, "--rows", 60)
    assert result["commands"]["a finished run again"]["cpu_seconds"] > 0


def test_what_stages_do_not_take_is_everything_else(call, commands):
    result, table = call("quickstart", "--", "--n-iter", 2)
    assert result["seconds"] == {
        **{"teacher": 0.5, "student": 1.0, "baseline": 0.7},
        "everything else": 0.5,
    }
    assert "| baseline, beside student | 0.7 |" in table
    assert commands[0][:3] == ["train.py", "--n-iter", "2"]
    assert result["transfer_set_rows"] == 300
    assert "everything else" in table


@pytest.mark.slow
def test_the_quick_start_is_timed_stage_by_stage(start, tmp_path, tiny_bert):
    stars = write_stars(tmp_path / "stars")
    result, _ = start(
        *("quickstart", "--", "--task", "custom", "--no-baseline"),
        *("--teacher", tiny_bert, "--train-file", stars / "reviews.csv"),
        *("--embeddings", "none", *SMALL),
        *("--text-column", "review", "--label-column", "stars"),
    )
    assert {"teacher", "label", "student", "everything else"} <= set(
        result["seconds"]
    )
    assert sum(result["seconds"].values()) == pytest.approx(
        result["total"]["seconds"], abs=0.5
    )


@pytest.mark.whole
def test_scaling_fits_and_draws_every_axis(call, module, monkeypatch, tmp_path):
    class Here:
        """A worker without a process."""

        def __init__(self, arguments, log):
            _, stage, teacher, place = arguments
            self.served = module("stage_costs").Stage(
                stage, json.loads(teacher), Path(place)
            )

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, question, **arguments):
            return getattr(self.served, question)(**arguments)

    monkeypatch.setattr(module("scaling"), "Worker", Here)
    pictures = tmp_path / "pictures"
    result, table = call(
        *("scaling", *SCALING, "--pictures", pictures),
        *("--stages", "vocabulary,inference"),
    )
    assert list(result["stages"]) == ["vocabulary", "inference"]
    rows = result["stages"]["inference"]["rows"]
    assert len(rows["sizes"]) == len(rows["cpu_seconds"]) == 2
    assert min(rows["peak_memory_mib"]) > 0
    assert sorted(path.name for path in pictures.iterdir()) == [
        *("scaling-rows.png", "scaling-units.png"),
        *("scaling-vocabulary.png", "scaling-words.png"),
    ]
    assert "exponent" in table


@pytest.mark.slow
def test_scaling_measures_every_stage(start):
    result, _ = start("scaling", *SCALING)
    assert list(result["stages"]) == [
        *("augmentation", "labelling", "vocabulary"),
        *("training", "inference", "export"),
    ]


def test_the_fit_finds_a_known_exponent(module):
    exponent = module("scaling").exponent
    sizes = [10, 20, 40, 80]
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == 1.5
    assert exponent(sizes, [7.0] * 4) == 0


def test_costs_lost_in_noise_give_no_exponent(module):
    exponent = module("scaling").exponent
    assert exponent([10, 20], [0.0, 0.1]) is None
    assert exponent([10, 10], [0.1, 0.2]) is None


def test_every_point_moves_one_axis_alone(module):
    scaling = module("scaling")
    points = scaling.points_of("training", scaling.SIZES, {})
    middle = {axis: set() for axis in scaling.AXES}
    for point in points:
        for axis in scaling.AXES:
            if axis != point["axis"]:
                middle[axis].add(point[axis])
    assert all(len(values) == 1 for values in middle.values())


def test_sentences_have_the_length_that_was_asked_for(module):
    synthetic = module("synthetic")
    rows = synthetic.sentences(synthetic.word_list(500), 2000, 12)
    lengths = [len(row.split()) for row in rows]
    assert np.mean(lengths) == pytest.approx(12, abs=0.3)
    assert min(lengths) < 8 and max(lengths) > 16


def test_the_word_list_has_no_word_twice(module):
    words = module("synthetic").word_list(5000)
    assert len(set(words)) == len(words) == 5000


def test_memory_of_children_is_counted(module):
    processes = module("measuring")
    hold = "x = b'1' * 200_000_000; import time; time.sleep(1)"
    alone = processes.run_sampled(["-c", hold])["peak_memory_mib"]
    both = f"import subprocess as s; p = s.Popen([{sys.executable!r}, '-c'"
    both += f", {hold!r}]); {hold}; p.wait()"
    assert processes.run_sampled(["-c", both])["peak_memory_mib"] > alone + 150


def test_a_command_that_fails_ends_the_benchmark(module):
    with pytest.raises(SystemExit, match="failed"):
        module("measuring").run_sampled(["-c", "raise SystemExit(3)"])
