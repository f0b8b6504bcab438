"""What results depend on besides settings: threads, versions, the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import tensorflow as tf

from loopctl_shared import version


def one_thread() -> None:
    """Let TensorFlow use one thread, in a process that shares its machine with others."""
    # Once TensorFlow has begun they can't be set any more: the second run of a process.
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def environment() -> dict[str, str]:
    """Versions and machine, as far as a result may depend on them."""
    return {
        "loopctl": version(),
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()),
    }
