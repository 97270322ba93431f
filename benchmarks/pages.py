"""Write the measured tables of docs/ anew.

    python benchmarks/pages.py

What stands between `<!-- NAME -->` and `<!-- end -->` is made from the measured
JSON; the prose around it stays. A JSON file that is not there leaves its table
as it is.
"""

import argparse
import re
import sys
from pathlib import Path

import augmentation
import browser
import engines
import inference
import labelling
import lite_batches
import memory
import on_ray
import operations
import projection
import quickstart
import scaling
import startup
import training
from measuring import ROOT

from keras_distill.files import read_json

# Page: place: JSON file and what makes the table of it.
PAGES = {
    "ray.md": {"on_ray": ("../ray/on_ray", on_ray.as_page)},
    "litert.md": {"batches": ("lite_batches", lite_batches.as_page)},
    "mediapipe.md": {"browser": ("browser", browser.as_page)},
    "speed.md": {
        "inference": ("inference", inference.as_page),
        "operations": ("operations", operations.as_page),
        "training": ("training", training.as_page),
        "labelling": ("labelling", labelling.as_page),
        "engines": ("engines", engines.as_page),
        "augmentation": ("augmentation", augmentation.as_page),
        "quickstart": ("quickstart", quickstart.as_page),
        "startup": ("startup", startup.as_page),
    },
    "scaling.md": {
        "scaling": ("scaling", scaling.as_page),
        "memory": ("memory", memory.as_page),
        "projection": ("projection", projection.as_page),
        "projection on a GPU": ("projection", projection.as_gpu_page),
    },
}


def main() -> int:
    """Read, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--docs", type=Path, default=ROOT / "docs")
    options.add_argument("--results", type=Path, default=ROOT / "results/bench")
    options = options.parse_args()
    for name, places in PAGES.items():
        path = options.docs / name
        page = path.read_text("utf-8")
        for place, (file, as_page) in places.items():
            measured = options.results / f"{file}.json"
            if measured.is_file():
                page = replaced(page, place, as_page(read_json(measured)))
        path.write_text(page, "utf-8")
    return 0


def replaced(page: str, name: str, text: str) -> str:
    """Put a text between `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: The page has no such place.
    """
    pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
    result, found = re.subn(
        pattern, lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S
    )
    if not found:
        raise ValueError(f"no <!-- {name} --> ... <!-- end --> in the page")
    return result


if __name__ == "__main__":
    sys.exit(main())
