"""Names by which others find what is ours: the distribution, contract files, a controller."""

from __future__ import annotations

import importlib.metadata

# `loopctl` belongs to another project on the Python package index.
DISTRIBUTION = "keras-loopctl"
CONTRACT_SUFFIX = ".graph.toml"
CONTROLLER = "_loopctl_callback"
"""Attribute of a controlled model: the callback that controls it, which has a `main_step`."""

GENERATED = "<loopctl "
"""How the file name of source begins that loopctl has written."""

MONITOR = "_loopctl_monitor"
"""Attribute of a controlled model whose steps are watched: what knows the monitors of the model."""


def version() -> str:
    """The installed version."""
    return importlib.metadata.version(DISTRIBUTION)


def how_to_install(extra: str) -> str:
    """The command that installs an extra: ``pip install 'keras-loopctl[plot]>=0.1'``."""
    major, minor = version().split(".")[:2]
    return f"pip install '{DISTRIBUTION}[{extra}]>={major}.{minor}'"
