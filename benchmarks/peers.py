"""The peers' environment: benchmarks/.venv, made when it is first needed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"


def peers_python(given: Path | None = None) -> Path:
    """Return the Python that has the peers.

    Args:
        given: A Python that is ready; nothing is installed then.
    """
    if given is not None:
        return given
    folder = HERE / ".venv"
    bin_folder = "Scripts" if os.name == "nt" else "bin"
    python = folder / bin_folder / "python"
    done = folder / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if done.is_file() and done.read_text() == wanted:
        return python
    print(f"making {folder} (several GB with PyPI's torch on Linux)")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for line in REQUIREMENTS.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        install = ["-m", "pip", "install", "--quiet", line]
        if subprocess.run([str(python), *install]).returncode:
            print(f"{line} cannot be installed: its rows will be missing")
    done.write_text(wanted)
    return python
