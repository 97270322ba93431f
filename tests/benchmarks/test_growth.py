"""The benchmarks of memory, stages, start-up and growth, at a tiny size.

No time and no memory is asserted: what they measure depends on the machine.
"""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_runs import ROOT, SMALL, environment, write_stars

BENCHMARKS = ROOT / "benchmarks"


def benchmark(name, output, *arguments):
    """Run a benchmark and return its JSON."""
    result = subprocess.run(
        [
            *(sys.executable, BENCHMARKS / f"{name}.py"),
            *("--output", output, *map(str, arguments)),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(output.read_text()), result.stdout


@pytest.fixture
def module(monkeypatch):
    """Import a benchmark's module by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_memory_tells_the_peak_of_every_stage(tmp_path):
    result, table = benchmark(
        "memory",
        tmp_path / "memory.json",
        *("--sizes", 60, "--n-iter", 2, "--updates", 1),
        *("--vocabulary", 100, "--lstm-units", 4, "--pos-tagger", "none"),
    )
    (one,) = result["sets"]
    assert list(one["stages"]) == [
        *("data", "teacher", "augment", "label", "vocabulary", "training")
    ]
    assert one["counts"]["augmented"] > one["counts"]["original"] > 0
    assert all(row["peak_memory_mib"] > 0 for row in one["stages"].values())
    assert "MiB at most" in table
    assert "growth" not in result, "one set does not tell growth"


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


def test_startup_times_help_and_a_finished_run(tmp_path):
    result, table = benchmark(
        "startup", tmp_path / "startup.json", "--repeats", 1, "--rows", 60
    )
    assert result["commands"]["train.py --help"]["limit_seconds"] == 2
    assert result["commands"]["a finished run again"]["cpu_seconds"] > 0
    assert "a finished run again" in table


def test_the_quick_start_is_timed_stage_by_stage(tmp_path, tiny_bert):
    stars = write_stars(tmp_path / "stars")
    result, table = benchmark(
        "quickstart",
        tmp_path / "quickstart.json",
        *("--", "--task", "custom", "--no-baseline", "--teacher", tiny_bert),
        *("--train-file", stars / "reviews.csv", "--embeddings", "none"),
        *("--text-column", "review", "--label-column", "stars", *SMALL),
    )
    assert {"teacher", "label", "student", "everything else"} <= set(
        result["seconds"]
    )
    assert sum(result["seconds"].values()) == pytest.approx(
        result["total"]["seconds"], abs=0.5
    )
    assert "everything else" in table


def test_scaling_measures_every_stage_and_draws_every_axis(tmp_path):
    result, table = benchmark(
        "scaling",
        tmp_path / "scaling.json",
        *("--rows", "40,80", "--words", 4, "--vocabulary", 100),
        *("--units", 4, "--teacher-hidden", 32, "--n-iter", 2),
        *("--pos-tagger", "none", "--pictures", tmp_path / "pictures"),
    )
    assert list(result["stages"]) == [
        *("augmentation", "labelling", "vocabulary"),
        *("training", "inference", "export"),
    ]
    rows = result["stages"]["training"]["rows"]
    assert len(rows["sizes"]) == len(rows["cpu_seconds"]) == 2
    assert min(rows["peak_memory_mib"]) > 0
    drawn = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert drawn == [
        *("scaling-rows.png", "scaling-units.png"),
        *("scaling-vocabulary.png", "scaling-words.png"),
    ]
    assert "exponent" in table


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
    processes = module("processes")
    hold = "x = b'1' * 200_000_000; import time; time.sleep(1)"
    alone = processes.run_sampled(["-c", hold])["peak_memory_mib"]
    both = f"import subprocess as s; p = s.Popen([{sys.executable!r}, '-c'"
    both += f", {hold!r}]); {hold}; p.wait()"
    assert processes.run_sampled(["-c", both])["peak_memory_mib"] > alone + 150


def test_a_command_that_fails_ends_the_benchmark(module):
    with pytest.raises(SystemExit, match="failed"):
        module("processes").run_sampled(["-c", "raise SystemExit(3)"])
