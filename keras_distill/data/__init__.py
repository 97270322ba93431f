"""Texts from files: GLUE's, a user's, the corpus that ships with the package.

`splits.write_data` reads a run's files, decides what is learned from, chosen
on and reported, and writes it as examples (`examples`) with one spelling
(`normalize`). A format of tables is one entry in `tables`.
"""
