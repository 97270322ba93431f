"""A finished run that is started again looks at its records, no more."""

import subprocess
import sys

from tiny_runs import ROOT

SKIP = """
import sys
from pathlib import Path
from keras_distill.config import Config
from keras_distill.files import write_json
from keras_distill.pipeline import Pipeline
from keras_distill.transfer_set.manifest import Manifest

place = Path(sys.argv[1])
pipeline = Pipeline(Config(), place)
for stage in pipeline.stages.values():
    (place / stage.folder).mkdir(parents=True)
    write_json(
        place / stage.folder / "stage.json",
        {
            "stage": stage.name,
            "fingerprint": pipeline.fingerprint(stage.name),
            "settings": pipeline.settings[stage.name],
            "seconds": 1.0,
        },
    )
Manifest("abc", ["no", "yes"], False, {}, []).save(place / "transfer_set")
for name in ("student", "baseline"):
    write_json(place / name / "training.json", {})
write_json(place / "results.json", {"student": {"seeds": [42]}})
(place / "README.md").write_text("")
pipeline.run()
assert "keras_distill.transfer_set.manifest" in sys.modules
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


def test_a_finished_run_is_skipped_without_importing_tensorflow(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SKIP, str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
