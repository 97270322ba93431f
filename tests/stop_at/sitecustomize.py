"""Stops a run at an exact place: on PYTHONPATH, Python imports this first.

`STOP_AT` is `PATTERN COUNT before|after`: when a file whose path fits the
pattern gets its final name for the COUNT-th time in a process, the whole
process group is killed, just before or just after. Everything in a run
appears by such a renaming, so that is the moment which matters. `STOP_SIGNAL`
names another signal than SIGKILL.
"""

import fnmatch
import os
import signal


def install(pattern, count, when, number):
    replace = os.replace
    seen = 0

    def stopping(source, target, **options):
        nonlocal seen
        fits = fnmatch.fnmatch(os.fspath(target), pattern)
        seen += fits
        stop = fits and seen == count
        if stop and when == "before":
            os.killpg(os.getpgrp(), number)
        replace(source, target, **options)
        if stop:
            os.killpg(os.getpgrp(), number)

    os.replace = stopping


if "STOP_AT" in os.environ:
    pattern, count, when = os.environ["STOP_AT"].split()
    name = os.environ.get("STOP_SIGNAL", "SIGKILL")
    install(pattern, int(count), when, signal.Signals[name])
