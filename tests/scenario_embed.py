"""Vectors of words and sentences by a tiny teacher; see teacher_process.py."""

import numpy as np
import teacher_tiny as tiny


def embedding(folder):
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.data.examples import Example, write_examples
    from keras_distill.teacher.__main__ import main
    from keras_distill.teacher.checkpoint import load_fine_tuned

    tiny.run_folder(folder)
    tiny.settings(folder)
    tiny.checkpoint(folder / "teacher")
    tiny.checkpoint(folder / "pretrained", seed=4)
    texts = ["a good film", "a bad film", "a good film", "the place"]
    write_examples(
        folder / "data" / "train.jsonl.gz",
        [Example(t, None, 0, id=str(i)) for i, t in enumerate(texts)],
    )
    words = ["good", "bad", "##s", "goodbad"]
    (folder / "words.txt").write_text("".join(f"{w}\n" for w in words))
    output = folder / "vectors"
    output.mkdir()
    flags = [
        *("--config", str(folder / "config.yaml")),
        *("--data", str(folder / "data")),
        *("--teacher", str(folder / "teacher")),
        *("--output", str(output)),
    ]
    codes = [
        main(["embed", *flags, "--words", str(folder / "words.txt")]),
        main(["embed", *flags, "--sentences"]),
    ]
    teacher = load_fine_tuned(str(folder / "teacher"), tiny.LABELS)
    encoded = teacher.tokenizer(["good"], return_tensors="tf")
    states = teacher.model(encoded, output_hidden_states=True).hidden_states[-1]
    found = np.load(output / "states.npy")
    sentences = np.load(output / "sentences.npy")
    # What is there is not made again.
    np.save(output / "states.npy", np.zeros((1, 1), np.float32))
    codes.append(main(["embed", *flags, "--words", str(folder / "words.txt")]))
    return {
        "codes": codes,
        "states": found.tolist(),
        "good": np.asarray(states)[0].mean(axis=0).tolist(),
        "sentences": list(sentences.shape),
        "dtype": str(sentences.dtype),
        "kept": list(np.load(output / "states.npy").shape),
    }
