"""Stops a run at an exact place: on PYTHONPATH, Python imports this first.

`STOP_AT` is `PATTERN COUNT before|after`: when a file whose path fits the
pattern gets its final name for the COUNT-th time in a process, the whole
process group is killed, just before or just after. Everything in a run
appears by such a renaming, so that is the moment which matters.
"""

import fnmatch
import os
import signal


def install(pattern, count, when):
    replace = os.replace
    seen = 0

    def stopping(source, target, **options):
        nonlocal seen
        seen += fnmatch.fnmatch(os.fspath(target), pattern)
        stop = seen == count
        if stop and when == "before":
            os.killpg(os.getpgrp(), signal.SIGKILL)
        replace(source, target, **options)
        if stop:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    os.replace = stopping


if "STOP_AT" in os.environ:
    pattern, count, when = os.environ["STOP_AT"].split()
    install(pattern, int(count), when)
