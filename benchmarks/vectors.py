"""Measure what reading a 3-million-word vector file takes: memory and seconds.

    python benchmarks/vectors.py [--output results/bench/vectors.json]

Writes a synthetic word2vec binary as large as Google News (3.6 GB, in a
temporary folder that goes afterwards; TMPDIR names another place for it), and
reads 15,000 words of it in a process of its own. The target is at most 1 GB.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import machine, measure, parser, table, write

DIM = 300
BLOCK = 10_000

READ = """
import json, resource, sys, time
from keras_distill.cli import import_tensorflow
import_tensorflow()
from keras_distill.student.text import SPECIALS
from keras_distill.student.vectors import load_vectors
path, vocabulary, dim, report = sys.argv[1:]
unit = 1 if sys.platform == "darwin" else 1024
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
words = json.load(open(vocabulary))
imported = peak()
started = time.perf_counter(), time.process_time()
vectors, coverage = load_vectors(path, [*SPECIALS, *words], int(dim))
seconds = time.perf_counter() - started[0]
cpu_seconds = time.process_time() - started[1]
assert coverage.types == 1 and len(vectors) == len(words) + len(SPECIALS)
json.dump({
    "seconds": round(seconds, 1),
    "cpu_seconds": round(cpu_seconds, 1),
    "peak_memory_mib": round(peak() / 2**20),
    "of_it_imports_mib": round(imported / 2**20),
}, open(report, "w"))
"""


def main() -> int:
    """Write the file, read it, report."""
    options = parser(__doc__)
    options.add_argument("--words", type=int, default=3_000_000)
    options.add_argument("--vocabulary", type=int, default=15_000)
    options = options.parse_args()
    result = machine("numpy", "gensim", "tensorflow") | {
        "file_words": options.words,
        "dim": DIM,
        "vocabulary_words": min(options.vocabulary, options.words),
    }
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "vectors.bin"
        started = time.perf_counter()
        write_vectors(path, options.words)
        print(f"wrote the file in {time.perf_counter() - started:.0f} s")
        result["file_bytes"] = path.stat().st_size
        # Every n-th word, so that the whole file has to be read.
        chosen = np.linspace(
            0, options.words - 1, result["vocabulary_words"], dtype=int
        )
        vocabulary, report = Path(place) / "words", Path(place) / "report"
        vocabulary.write_text(json.dumps([f"w{i}" for i in chosen.tolist()]))
        measure(["-c", READ, *map(str, (path, vocabulary, DIM, report))])
        result |= json.loads(report.read_text())
    print(table(result))
    write(result, options.output)
    return 0


def write_vectors(path: Path, words: int) -> None:
    """Write `words` random vectors in word2vec's binary format."""
    rng = np.random.default_rng(0)
    numbers = rng.uniform(-1, 1, (BLOCK, DIM)).astype("<f4")
    rows = [b" " + row.tobytes() for row in numbers]
    with open(path, "wb") as stream:
        stream.write(f"{words} {DIM}\n".encode())
        for i in range(words):
            stream.write(b"w%d" % i + rows[i % BLOCK])


if __name__ == "__main__":
    sys.exit(main())
