"""Stops a run at an exact place: on PYTHONPATH, Python imports this first.

`STOP_AT` is `PATTERN COUNT before|after`: when a file whose path fits the
pattern gets its final name for the COUNT-th time in a process, the whole
process group is killed, just before or just after. Everything in a run
appears by such a renaming, so that is the moment which matters. `STOP_SIGNAL`
names another signal than SIGKILL. `STOP_ALONE` names a file: the process alone
is killed, and none after it once the file is there. A student's training is
saved after every look, though its looks follow fast.
"""

import fnmatch
import importlib.abc
import importlib.machinery
import os
import signal
import sys


def kill(number):
    alone = os.environ.get("STOP_ALONE")
    if alone is None:
        os.killpg(os.getpgrp(), number)
    elif not os.path.exists(alone):
        open(alone, "w").close()
        os.kill(os.getpid(), number)


def install(pattern, count, when, number):
    replace = os.replace
    seen = 0

    def stopping(source, target, **options):
        nonlocal seen
        fits = fnmatch.fnmatch(os.fspath(target), pattern)
        seen += fits
        stop = fits and seen == count
        if stop and when == "before":
            kill(number)
        replace(source, target, **options)
        if stop:
            kill(number)

    os.replace = stopping


class SavingEveryLook(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "keras_distill.student.checkpoint":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def changed(module):
            load(module)
            module._SECONDS_BETWEEN_LOOKS = -1

        spec.loader.exec_module = changed
        return spec


if "STOP_AT" in os.environ:
    sys.meta_path.insert(0, SavingEveryLook())
    pattern, count, when = os.environ["STOP_AT"].split()
    name = os.environ.get("STOP_SIGNAL", "SIGKILL")
    install(pattern, int(count), when, signal.Signals[name])
