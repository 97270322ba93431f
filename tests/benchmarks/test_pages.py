"""The tables in docs/ are those of the measured JSON."""

import shutil
import sys

import pytest
from tiny_runs import ROOT


def test_the_committed_pages_show_the_committed_figures(tmp_path, monkeypatch):
    import pages

    for name in pages.PAGES:
        shutil.copy(ROOT / "docs" / name, tmp_path)
    monkeypatch.setattr(sys, "argv", ["pages.py", "--docs", str(tmp_path)])

    assert pages.main() == 0

    for name in pages.PAGES:
        committed = (ROOT / "docs" / name).read_text("utf-8")
        assert (tmp_path / name).read_text("utf-8") == committed


def test_a_table_goes_between_its_marks_and_prose_stays():
    from pages import replaced

    page = "before\n<!-- one -->\nold\n<!-- end -->\nafter\n"
    assert replaced(page, "one", "new") == (
        "before\n<!-- one -->\n\nnew\n\n<!-- end -->\nafter\n"
    )
    with pytest.raises(ValueError, match="two"):
        replaced(page, "two", "new")


def test_memory_shows_the_sets_by_size_and_their_growth():
    from memory import as_page

    def one(rows, peak):
        stages = {"label": {"peak_memory_mib": peak}}
        return {"rows": rows, "stages": stages}

    facts = {
        "command": "memory.py",
        "date": "2026-01-01",
        "cores": 2,
        "load_average": [0.1, 0, 0],
    }
    text = as_page(
        facts
        | {
            "sets": [one(2000, 1100), one(1000, 1000)],
            "growth": {"label": 1.1, "rows": 2.0},
        }
    )
    assert "| peak, MiB | 1,000 rows | 2,000 rows | growth (rows: 2.00) |" in (
        text
    )
    assert "| label | 1,000 | 1,100 | 1.1 |" in text


def test_hours_are_given_to_two_figures():
    from projection import as_gpu_page

    task = {
        "transfer_rows": 1000,
        "gpu_hours": {
            "BERT-large labels": [0.004, 0.123],
            "student, 2 passes": [1234.5, 2345.6],
        },
    }
    text = as_gpu_page(dict.fromkeys(("sst2", "qqp", "mnli"), task))
    assert "| BERT-large labels | < 0.01 to 0.12 |" in text
    assert "| student, 2 passes | 1,200 to 2,300 |" in text
