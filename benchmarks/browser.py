"""Measure MediaPipe bundles in headless Chromium, as the web demo asks them.

    python -m keras_distill.export RUN --window 128 --output /tmp/wide \
        --forms student_mediapipe student_mediapipe_int8
    python benchmarks/browser.py RUN --wide /tmp/wide \
        --output results/bench/browser.json

The bundles of RUN/export beside the same student's with another window. All are
started in one page and take turns, text by text; a time is that of the demo,
tokenizer included. Texts are those of the run's selection split.
"""

import itertools
import json
import shutil
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, machine, page, parser, table, write

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chromium import Chromium  # noqa: E402

from demo import build, serve  # noqa: E402
from keras_distill.data.examples import read_examples  # noqa: E402

NAMES = ("student_mediapipe.tflite", "student_mediapipe_int8.tflite")
MEASURE = """
(async () => {
  const { Classifier, download } = await import("./classifier.mjs");
  const bundles = [];
  for (const name of %s) {
    bundles.push(await Classifier.start(await download(name)));
  }
  const times = bundles.map(() => []);
  for (const text of %s) {
    bundles.forEach((bundle, place) => {
      times[place].push(bundle.classify(text).milliseconds);
    });
  }
  return { agent: navigator.userAgent, times };
})()
"""


def main() -> int:
    """Serve, ask, print the table, write the JSON."""
    options = parser(__doc__)
    options.add_argument("run", type=Path, help="a run of single texts")
    options.add_argument("--wide", type=Path, required=True)
    options.add_argument("--rows", type=int, default=100)
    options = options.parse_args()
    folders = {"wide": options.wide, "ours": options.run / "export"}
    data = options.run / "data" / "select.jsonl.gz"
    texts = [
        row.text_a
        for row in itertools.islice(read_examples(data), options.rows)
    ]
    result = machine("tensorflow")
    with tempfile.TemporaryDirectory() as place:
        site = Path(place) / "site"
        build.build(options.run, site)
        facts = {}
        for (kind, folder), name in itertools.product(folders.items(), NAMES):
            path = f"models/{kind}_{name}"
            shutil.copyfile(folder / name, site / path)
            with zipfile.ZipFile(folder / name) as packed:
                how = json.loads(packed.read("text.json"))
            facts[path] = {"file": name, "window": how["max_length"]}
        said = ask(site, Path(place) / "profile", list(facts), texts)
    for fact, times in zip(facts.values(), said["times"], strict=True):
        for name, percentile in (("ms_p50", 50), ("ms_p99", 99)):
            fact[name] = round(float(np.percentile(times, percentile)), 2)
    result |= {
        "browser": said["agent"],
        "rows": len(texts),
        "bundles": list(facts.values()),
    }
    print(as_page(result))
    write(result, options.output)
    return 0


def ask(
    site: Path, profile: Path, models: list[str], texts: list[str]
) -> dict[str, Any]:
    """Return the milliseconds of each text, for each model."""
    server = serve.make_server(site, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Chromium(profile) as chromium:
            chromium.open(f"http://127.0.0.1:{server.server_address[1]}/")
            chromium.wait("document.body.dataset.state !== 'loading'")
            script = MEASURE % (json.dumps(models), json.dumps(texts))
            return chromium.evaluate(script)
    finally:
        server.shutdown()
        server.server_close()


def as_page(result: dict[str, Any]) -> str:
    """Return the table of the bundles' times."""
    head = ["bundle", "words read", "ms a text, p50", "p99"]
    rows = [
        [b["file"], b["window"], b["ms_p50"], b["ms_p99"]]
        for b in result["bundles"]
    ]
    return page(result, table(head, rows))


if __name__ == "__main__":
    sys.exit(main())
