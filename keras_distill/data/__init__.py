"""Readers: GLUE files, CSV, TSV, JSONL, the embedded corpus, plain text."""
