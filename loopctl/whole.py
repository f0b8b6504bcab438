"""Writing files so that nobody ever finds half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, of which the file then replaces `path` at once.

    If writing fails, or the process is killed, `path` is what it was.
    """
    # With the same suffix: some writers go by it.
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
