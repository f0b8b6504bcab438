"""Whether there is a TensorFlow, and a Keras, that we know.

They are no dependencies of the distribution: `tensorflow`, `tensorflow-cpu` and the nightly builds
are different distributions of the same packages, of which people have one.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform

from loopctl_shared.names import how_to_install, version

OLDEST = {"tensorflow": "2.19", "keras": "3.8"}
"""The oldest versions that are supported; those of the extra `tensorflow`."""

_DISTRIBUTIONS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu"),
    "keras": ("keras", "keras-nightly"),
}
_SPELLED = {"tensorflow": "TensorFlow", "keras": "Keras"}


def check_tensorflow() -> None:
    """Imports TensorFlow and Keras.

    Raises:
        ImportError: one of them is missing, or older than what is supported.
    """
    for package, oldest in OLDEST.items():
        told = f"loopctl needs {_SPELLED[package]} {oldest} or newer"
        try:
            found = str(importlib.import_module(package).__version__)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise ImportError(f"{told}, which is not installed: {_how()}") from None
        if _numbers(found) < _numbers(oldest):
            raise ImportError(f"{told}; {found} is installed: {_how()}")


def versions() -> str:
    """What is installed, in one line, found without importing any of it."""
    told = {"loopctl": version(), **{_SPELLED[name]: _installed(name) for name in OLDEST}}
    told["Python"] = platform.python_version()
    return ", ".join(f"{name} {found}" for name, found in told.items())


def _installed(package: str) -> str:
    for name in _DISTRIBUTIONS[package]:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not found"


def _how() -> str:
    return f"{how_to_install('tensorflow')} (or [tensorflow-cpu], or a nightly build of your own)"


def _numbers(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
