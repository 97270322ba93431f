"""The protocol: questions, answers, and processes that die."""

import subprocess
import sys
import textwrap

import pytest
from tiny_runs import ROOT

from keras_distill.benchmark.worker import (
    Worker,
    WorkerDied,
    peak_memory,
)
from keras_distill.errors import UserError
from keras_distill.process import cores

SERVED = """
    from keras_distill.benchmark.worker import serve, threads_here
    from keras_distill.errors import UserError

    class Served:
        hello = {"threads": threads_here()}

        def double(self, number):
            print("libraries chatter")
            return {"is": 2 * number}

        def refuse(self):
            raise UserError("a damaged file")

        def die(self):
            raise ValueError("gone")

    serve(Served)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "served.py"
    path.write_text(textwrap.dedent(SERVED))
    return path


def test_questions_are_answered_until_the_process_dies(script, tmp_path):
    with Worker([str(script)], tmp_path / "log", threads=3) as worker:
        assert worker.hello == {"threads": 3}
        assert worker.ask("double", number=4) == {"is": 8}
        assert worker.ask("memory")["peak_memory_mib"] > 0
        with pytest.raises(UserError, match="^a damaged file$"):
            worker.ask("refuse")
        assert worker.ask("double", number=5) == {"is": 10}
        with pytest.raises(WorkerDied) as caught:
            worker.ask("die")
        assert caught.value.reason == "ValueError: gone"
        with pytest.raises(WorkerDied):
            worker.ask("double", number=1)
    assert str(caught.value) == (
        "python served.py failed, exit code 1: ValueError: gone"
    )
    assert "libraries chatter" in (tmp_path / "log").read_text()


def test_a_process_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(WorkerDied, match=r"^python -m no_such_module failed"),
        Worker(["-m", "no_such_module"], tmp_path / "log"),
    ):
        pass


def test_it_ends_with_its_parent_and_needs_python_alone(script):
    code = (
        "import sys\n"
        f"exec(open({str(script)!r}).read().replace('serve(Served)', ''))\n"
        "assert not {'numpy', 'tensorflow', 'yaml'} & set(sys.modules)\n"
        "serve(Served)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input='["double", {"number": 1}]\n',
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f'{{"threads": {cores()}}}',
        '{"is": 2}',
    ]


def test_memory_is_that_of_a_process_or_unknown():
    assert peak_memory() > 10 * 2**20
    assert peak_memory("no such process") == 0
