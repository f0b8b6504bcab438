"""Whether there is a TensorFlow, and a Keras, that we know.

They are no dependencies of the distribution: `tensorflow`, `tensorflow-cpu` and the nightly builds
are different distributions of the same packages, of which people have one.
"""

from __future__ import annotations

import importlib

from loopctl_shared.names import how_to_install

OLDEST = {"tensorflow": "2.19", "keras": "3.8"}
"""The oldest versions that are supported; those of the extra `tensorflow`."""

_SPELLED = {"tensorflow": "TensorFlow", "keras": "Keras"}


def check_tensorflow() -> None:
    """Imports TensorFlow and Keras.

    Raises:
        ImportError: one of them is missing, or older than what is supported.
    """
    for package, oldest in OLDEST.items():
        told = f"loopctl needs {_SPELLED[package]} {oldest} or newer"
        try:
            version = str(importlib.import_module(package).__version__)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise ImportError(f"{told}, which is not installed: {_how()}") from None
        if _numbers(version) < _numbers(oldest):
            raise ImportError(f"{told}; {version} is installed: {_how()}")


def _how() -> str:
    return f"{how_to_install('tensorflow')} (or [tensorflow-cpu], or a nightly build of your own)"


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
