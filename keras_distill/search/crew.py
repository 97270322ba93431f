"""Workers of a search on this machine, each a process of its own."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_distill.errors import ReportedError, UserError
from keras_distill.process import run_child
from keras_distill.search.chief import ID, IP, PORT, Chief

logger = logging.getLogger(__name__)

_MODULE = "keras_distill.search"
_THREADS = ("TF_NUM_INTRAOP", "TF_NUM_INTEROP", "OMP_NUM")


def work_together(
    chief: Chief,
    workers: int,
    command: Sequence[str],
    folder: Path,
    look: Callable[[], object],
) -> None:
    """Start workers, and wait until the search is done.

    Args:
        chief: Listens already.
        workers: How many; the cores are shared among them.
        command: Arguments of `python -m keras_distill.search`.
        folder: Gets `worker-N.log`, what each of them writes.
        look: Called now and then.

    Raises:
        UserError: All workers ended, and there was work left.
    """
    cores = str(max(1, len(os.sched_getaffinity(0)) // workers))
    host, _, port = chief.address.rpartition(":")
    shared = {IP: host, PORT: port}
    shared |= {f"{library}_THREADS": cores for library in _THREADS}

    def work(name: str) -> None:
        log = folder / f"{name}.log"
        try:
            with open(log, "ab") as stream:
                run_child(_MODULE, command, {**shared, ID: name}, stream)
        except (UserError, ReportedError) as error:
            reason = f": {error}" if str(error) else ""
            logger.warning("%s ended%s; see %s", name, reason, log)
        # Ctrl-C goes to every process of the group.
        except KeyboardInterrupt:
            pass
        finally:
            chief.forget(name)

    threads = [
        # A daemon: with the parent the children end too.
        threading.Thread(target=work, args=(f"worker-{i}",), daemon=True)
        for i in range(workers)
    ]
    for thread in threads:
        thread.start()
    logger.info("%d workers; what they say is in %s", workers, folder)
    chief.wait(look, lambda: not any(thread.is_alive() for thread in threads))
    for thread in threads:
        thread.join()
    look()
    if not chief.is_done:
        raise UserError(
            f"all workers ended before the search; see {folder}/worker-0.log. "
            "The same command goes on from here"
        )
