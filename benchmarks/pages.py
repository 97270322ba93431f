"""Write the tables of docs/speed.md and docs/scaling.md anew.

    python benchmarks/pages.py

What stands between `<!-- NAME -->` and `<!-- end -->` is made from the measured
JSON; the prose around it stays. A JSON file that is not there leaves its table
as it is.
"""

import argparse
import sys
from pathlib import Path

import growth_tables
import speed_tables
from markdown_tables import replaced
from measuring import ROOT

from keras_distill.files import read_json

# Page: place: JSON file and what makes the table of it.
PAGES = {
    "speed.md": {
        "inference": ("inference", speed_tables.inference),
        "training": ("training", speed_tables.training),
        "labelling": ("labelling", speed_tables.labelling),
        "augmentation": ("augmentation", speed_tables.augmentation),
        "quickstart": ("quickstart", speed_tables.quickstart),
        "startup": ("startup", speed_tables.startup),
    },
    "scaling.md": {
        "scaling": ("scaling", growth_tables.scaling),
        "memory": ("memory", growth_tables.memory),
        "projection": ("projection", growth_tables.projection),
        "projection on a GPU": ("projection", growth_tables.projection_gpu),
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
        for place, (file, make) in places.items():
            measured = options.results / f"{file}.json"
            if measured.is_file():
                page = replaced(page, place, make(read_json(measured)))
        path.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
