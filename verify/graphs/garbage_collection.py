"""Reading a graph makes many small objects and no cyclic garbage."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Keeps Python from looking for cyclic garbage meanwhile.

    TensorFlow holds so many objects that each look costs more than reading a graph.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
