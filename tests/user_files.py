"""Files as people's programs write them."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq

PACKERS = {
    None: bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda raw: pa.compress(raw, codec="zstd", asbytes=True),
}

ROWS = [("so, so; it | was", "pos"), ('a "b"\tc', "neg")]


def written(rows=ROWS, header=("text", "label"), **options):
    stream = io.StringIO(newline="")
    options = {"lineterminator": "\n"} | options
    csv.writer(stream, **options).writerows([header, *rows])
    return stream.getvalue()


ITEMS = [{"text": "a, b", "label": 1}, {"text": "c\nd", "label": 0}]
LAYOUTS = {
    "lines": ("json lines", "\n".join(map(json.dumps, ITEMS))),
    "blank lines": ("json lines", "\n\n".join(map(json.dumps, ITEMS)) + "\n\n"),
    "array": ("json array", json.dumps(ITEMS)),
    "indented array": ("json array", json.dumps(ITEMS, indent=1)),
    "object": ("json array", json.dumps({"v": 1, "n": [1], "data": ITEMS})),
    "indented object": (
        "json array",
        json.dumps({"data": ITEMS, "m": {"k": []}, "e": []}, indent=2),
    ),
    "indented values": (
        "json lines",
        "\n".join(json.dumps(item, indent=2) for item in ITEMS),
    ),
}


def parquet(columns, **options):
    stream = io.BytesIO()
    if not isinstance(columns, pa.Table):
        columns = pa.table(columns)
    pq.write_table(columns, stream, **options)
    return stream.getvalue()
