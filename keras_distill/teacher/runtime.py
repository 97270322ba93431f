"""Settings that must stand before TensorFlow is imported, and devices."""

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

# oneDNN's rewrite to bfloat16 speeds up matrix products several times, but
# TensorFlow's element-wise kernels are slower in bfloat16 than in float32:
# GELU's erfc eats up the whole gain. These ops stay in float32.
_TRAINING = {
    "INFERLIST_REMOVE": "Erf,Erfc,Exp,Mul,Neg",
    "DENYLIST_ADD": "Erf,Erfc,Exp",
}
# An answer's GELU is one with its product (`fused`), if what it is made of is
# as the product is; what is left of Mul goes by what is before it.
_ANSWERS = {
    "INFERLIST_REMOVE": "Erfc,Exp,Mul,Neg",
    "DENYLIST_ADD": "Erfc,Exp",
    "CLEARLIST_ADD": "Mul",
}
# Has oneDNN pack a product's weights once and not for every batch. What was
# packed is never looked at again, so these must not change any more.
_PACK_ONCE = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"


def prepare_environment(precision: str, *, training: bool = False) -> str:
    """Set what TensorFlow and transformers read when they are imported.

    Args:
        precision: `auto`, `float32`, `bfloat16` or `float16`.
        training: Whether a teacher is fine-tuned.

    Returns:
        `precision`, where `auto` on a CPU became `bfloat16` if its
        instruction set has bfloat16 matrix products, else `float32`.
        On a machine with a GPU `auto` is settled by `set_precision`.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Each try again would be lines of a library's exceptions; what cannot be
    # had in the end is one line.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    prefix = "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_"
    for name, operations in (_TRAINING if training else _ANSWERS).items():
        os.environ.setdefault(f"{prefix}{name}", operations)
    if precision == "auto" and not _has_gpu():
        precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    # In float32 packing takes no time that could be measured.
    frozen = precision == "bfloat16" and not training
    os.environ[_PACK_ONCE] = str(int(frozen))
    return precision


def weights_are_packed_once() -> bool:
    """Say whether this process' teachers only answer, and in bfloat16."""
    return os.environ.get(_PACK_ONCE) == "1"


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether the CPU multiplies bfloat16 matrices in hardware.

    Only Linux on x86 tells; elsewhere the answer is False.
    """
    try:
        flags = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def set_precision(precision: str) -> str:
    """Apply the precision after TensorFlow was imported, before any model.

    Args:
        precision: As `prepare_environment` returned it. `auto` means a GPU:
            bfloat16 where the hardware has it (compute capability 8 and
            later), else float16.

    Returns:
        The precision in use: `float32` where `float16` was asked for and
        there is no GPU.
    """
    import tensorflow as tf
    import tf_keras

    gpus = tf.config.list_physical_devices("GPU")
    if precision == "auto":
        details = [tf.config.experimental.get_device_details(g) for g in gpus]
        capable = all(
            d.get("compute_capability", (0, 0)) >= (8, 0) for d in details
        )
        precision = "bfloat16" if gpus and capable else "float16"
        if not gpus:
            precision = "float32"
    if precision == "float16" and not gpus:
        logger.warning("float16 needs a GPU; the teacher runs in float32")
        precision = "float32"
    if gpus and precision != "float32":
        tf_keras.mixed_precision.set_global_policy(f"mixed_{precision}")
    elif precision == "bfloat16":
        tf.config.optimizer.set_experimental_options(
            {"auto_mixed_precision_onednn_bfloat16": True}
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.list_logical_devices()
    return precision


def build_strategy():
    """Return MirroredStrategy on several GPUs, else the default strategy."""
    import tensorflow as tf

    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def forget_models() -> None:
    """Let go of the memory of models that are out of use."""
    import gc

    import tf_keras

    tf_keras.backend.clear_session()
    gc.collect()


def _has_gpu() -> bool:
    # TensorFlow must not be imported yet, so ask the driver's files.
    return Path("/proc/driver/nvidia/version").exists() or any(
        Path("/dev").glob("nvidia[0-9]*")
    )
