"""What a checkpoint's folder holds, told without loading it.

A teacher is loaded when the data is read and TensorFlow is there; a download
that stopped, or one that this program cannot read, is told before that.
"""

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.files import read_json, read_lines
from keras_distill.teacher.families import check_family, check_ids

# In the order in which transformers looks for them.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "tf_model.h5",
    "tf_model.h5.index.json",
)
_TORCH = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_SENTENCEPIECE = (
    "spm.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "tokenizer.model",
)
_TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
)
_LFS = b"version https://git-lfs"
_HDF5 = b"\x89HDF\r\n\x1a\n"
# A larger head than that is none, but the beginning of another format.
_MAX_HEAD = 100 * 2**20


def check_folder(folder: Path) -> dict[str, Any]:
    """Look whether a checkpoint is whole and of a form that can be read.

    Args:
        folder: The checkpoint's folder.

    Returns:
        Its `config.json`.

    Raises:
        UserError: Configuration, weights or tokenizer are missing, damaged
            or of another form; the message says how to go on.
    """
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        raise UserError(
            f"teacher folder {folder} has no config.json; "
            f"found: {', '.join(sorted(names)) or 'nothing'}"
        )
    config = _read_object(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise UserError(
            f"{folder / 'config.json'} names no model_type, expected the "
            "configuration that save_pretrained writes, with one such as bert"
        )
    check_family(f"folder {folder}", config["model_type"])
    _check_weights(folder, names)
    _check_tokenizer(folder, names, config)
    return config


def class_names(config: dict[str, Any]) -> list[str]:
    """Return a checkpoint's class names, in the order of its logits.

    Args:
        config: Its `config.json`.
    """
    names = config.get("id2label")
    if isinstance(names, dict) and all(map(str.isdigit, names)):
        return [str(names[key]) for key in sorted(names, key=int)]
    # What transformers takes for granted.
    count = config.get("num_labels")
    return [f"LABEL_{i}" for i in range(count if type(count) is int else 2)]


def lower_cases(folder: Path) -> bool:
    """Say whether a checkpoint's tokenizer lower-cases its text."""
    said: dict[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        said = _read_object(folder / "tokenizer_config.json")
    if (folder / "tokenizer.json").is_file():
        normalizer = _read_object(folder / "tokenizer.json").get("normalizer")
        plain = said.get("tokenizer_class") == "PreTrainedTokenizerFast"
        if plain or (normalizer or {}).get("type") != "BertNormalizer":
            return normalizer_lower_cases(normalizer)
        # What BERT's class takes for granted, whatever the normalizer says.
        return bool(said.get("do_lower_case", True))
    if "do_lower_case" in said:
        return bool(said["do_lower_case"])
    # What transformers takes for granted of BERT's and of ALBERT's.
    family = _read_object(folder / "config.json").get("model_type")
    return (folder / "vocab.txt").is_file() or family == "albert"


def normalizer_lower_cases(normalizer: dict[str, Any] | None) -> bool:
    """Say whether a fast tokenizer's normalizer lower-cases."""
    if not normalizer:
        return False
    if normalizer["type"] == "Sequence":
        return any(map(normalizer_lower_cases, normalizer["normalizers"]))
    if normalizer["type"] == "BertNormalizer":
        return bool(normalizer["lowercase"])
    return normalizer["type"] == "Lowercase"


def word_pieces(folder: Path) -> list[str] | None:
    """Return a checkpoint's WordPiece vocabulary; None without one."""
    if (folder / "tokenizer.json").is_file():
        model = _read_object(folder / "tokenizer.json").get("model") or {}
        if model.get("type", "WordPiece") != "WordPiece":
            return None
        return list(model.get("vocab") or ()) or None
    if (folder / "vocab.txt").is_file():
        return read_lines(folder / "vocab.txt")
    return None


def weight_bytes(folder: Path) -> int:
    """Return the size of a checkpoint's weights."""
    return sum(
        path.stat().st_size
        for suffix in (".safetensors", ".h5")
        for path in folder.glob(f"*{suffix}")
    )


def _check_weights(folder: Path, names: set[str]) -> None:
    found = next((name for name in WEIGHTS if name in names), None)
    torch = sorted(names & {*_TORCH})
    if found is None and torch:
        _check_pointer(folder / torch[0])
        raise UserError(
            f"teacher folder {folder} has its weights for PyTorch alone "
            f"({', '.join(torch)}), expected one of: "
            f"{', '.join(WEIGHTS)}. This writes model.safetensors there "
            f"(after pip install torch): {_conversion(folder)}"
        )
    if found is None:
        raise UserError(
            f"teacher folder {folder} has no weights, expected one of: "
            f"{', '.join(WEIGHTS)}; found: {', '.join(sorted(names))}"
        )
    files = [found]
    if found.endswith(".index.json"):
        index = _read_object(folder / found)
        parts = index.get("weight_map")
        if not isinstance(parts, dict) or not parts:
            raise UserError(
                f"{folder / found} has no weight_map, expected the files that "
                "hold the weights by their names; fetch it again"
            )
        files = sorted({str(part) for part in parts.values()})
        missing = [name for name in files if name not in names]
        if missing:
            raise UserError(
                f"teacher folder {folder} lacks {len(missing)} of the "
                f"{len(files)} files of weights that {found} names: "
                f"{', '.join(missing[:3])}{', ...' * (len(missing) > 3)}; "
                "fetch them too"
            )
    for name in files:
        _check_pointer(folder / name)
        check = _check_hdf5 if name.endswith(".h5") else _check_safetensors
        check(folder / name)


def _conversion(folder: Path) -> str:
    """Return the command that writes PyTorch's weights as safetensors.

    It takes the weights as they are: a model class would add a random head
    to a checkpoint that has none.
    """
    return (
        f'cd {shlex.quote(str(folder))} && python -c "import glob, torch; '
        "from safetensors.torch import save_file; "
        "save_file({k: v.clone().contiguous() "
        "for f in sorted(glob.glob('pytorch_model*.bin')) "
        "for k, v in torch.load(f, 'cpu', weights_only=True).items()}, "
        "'model.safetensors', {'format': 'pt'})\""
    )


def _check_tokenizer(
    folder: Path, names: set[str], config: dict[str, Any]
) -> None:
    models = [name for name in _SENTENCEPIECE if name in names]
    whole = [files for files in _TOKENIZERS if names.issuperset(files)]
    if not whole and not models:
        raise UserError(
            f"teacher folder {folder} has no tokenizer, expected "
            "tokenizer.json, vocab.txt (BERT's), vocab.json and merges.txt "
            f"(RoBERTa's) or a SentencePiece model; found: "
            f"{', '.join(sorted(names))}. Copy it from where the model is from"
        )
    files = whole[0] if whole else models[:1]
    for name in files:
        _check_pointer(folder / name)
        highest = -1
        if name.endswith(".json"):
            highest = _highest_id(name, _read_object(folder / name))
        elif not (folder / name).stat().st_size:
            raise UserError(f"{folder / name} is empty; fetch it again")
        elif name == "vocab.txt":
            highest = len(read_lines(folder / name)) - 1
        rows = config.get("vocab_size")
        check_ids(
            f"teacher {folder / name}",
            highest,
            rows if type(rows) is int else None,
        )
    if not whole and importlib.util.find_spec("sentencepiece") is None:
        raise UserError(
            f"teacher folder {folder} has its tokenizer as a SentencePiece "
            f"model alone ({models[0]}), which needs a package: pip install "
            "'sentencepiece>=0.2,<0.3'"
        )


def _highest_id(name: str, content: dict[str, Any]) -> int:
    """Return the highest id of a tokenizer.json or vocab.json; -1 for none."""
    words: Any = content
    added: Any = None
    if name == "tokenizer.json":
        model, added = content.get("model"), content.get("added_tokens")
        words = model.get("vocab") if isinstance(model, dict) else None
    # Unigram has a list of pieces; their places are the ids.
    ids = [*range(len(words))] if isinstance(words, list) else []
    if isinstance(words, dict):
        ids += words.values()
    if isinstance(added, list):
        ids += [t.get("id") for t in added if isinstance(t, dict)]
    return max((i for i in ids if type(i) is int), default=-1)


def _read_object(path: Path) -> dict[str, Any]:
    _check_pointer(path)
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(
            f"{path} holds a {type(value).__name__}, expected a JSON object"
        )
    return value


def _check_pointer(path: Path) -> None:
    try:
        with open(path, "rb") as stream:
            head = stream.read(len(_LFS))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if head == _LFS:
        raise UserError(
            f"{path} is a pointer of git-lfs, not the file itself: run git "
            "lfs pull in the folder that was cloned, or download the file"
        )


def _check_safetensors(path: Path) -> None:
    """Compare the size with what the head says: where each tensor ends."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= _MAX_HEAD:
            raise UserError(
                f"{path} is no safetensors file: its head would have "
                f"{length:,} bytes; fetch it again"
            )
        head = stream.read(length)
    if len(head) < length:
        raise _cut_short(path, size, 8 + length)
    try:
        tensors = json.loads(head)
        ends = [
            values["data_offsets"][1]
            for name, values in tensors.items()
            if name != "__metadata__"
        ]
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UserError(
            f"{path} is damaged: its head does not list tensors; fetch it again"
        ) from error
    end = 8 + length + max(ends, default=0)
    if size < end:
        raise _cut_short(path, size, end)


def _check_hdf5(path: Path) -> None:
    """Compare the size with the end of the file that its head gives."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(48)
    if len(head) < 48 or not head.startswith(_HDF5):
        raise UserError(f"{path} is no HDF5 file; fetch it again")
    # By the version of the superblock: behind its fields and the width of an
    # address, which is 8 wherever a file has more than 4 GB or h5py wrote it.
    place, wide = (28, head[9]) if head[8] >= 2 else (40, head[13])
    if wide == 8:
        end = int.from_bytes(head[place : place + 8], "little")
        if size < end:
            raise _cut_short(path, size, end)


def _cut_short(path: Path, size: int, expected: int) -> UserError:
    return UserError(
        f"{path} is cut short: {size:,} bytes, expected {expected:,}; fetch "
        "it again"
    )
