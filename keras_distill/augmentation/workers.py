"""Tasks over worker processes, results in order, memory bounded."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from keras_distill.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_ordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int | None,
) -> Iterator[Result]:
    """Yield `function(task)` for each task, in order.

    At most two tasks per worker are read ahead, so `tasks` may be endless.
    A single task, or a single worker, runs in this process.

    Args:
        function: A picklable function.
        tasks: Its picklable arguments.
        workers: Number of processes; None for one per core.

    Yields:
        The results.

    Raises:
        UserError: A worker was killed.
    """
    workers = workers or available_cores()
    tasks = iter(tasks)
    ahead = list(itertools.islice(tasks, 2))
    tasks = itertools.chain(ahead, tasks)
    if workers == 1 or len(ahead) < 2:
        yield from map(function, tasks)
        return
    # Spawn: fork is unsafe once TensorFlow or any thread has started.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        waiting = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps for want of memory: run "
            f"again with augmentation.workers below {workers}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_worker() -> None:
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process with its parent, even when that is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
