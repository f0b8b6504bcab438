"""Warnings that point at the line of the user which brought them about."""

from __future__ import annotations

import inspect
import warnings

_PACKAGES = frozenset(("loopctl", "loopctl_shared", "verify", "keras", "tensorflow"))


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the nearest line outside of this project, Keras and TensorFlow."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and _package(frame.f_globals) in _PACKAGES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package(names: dict[str, object]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]
