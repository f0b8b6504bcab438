"""Writing files so that nobody ever finds half of one."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to; the file written there then replaces `path` at once.

    If writing fails, or the process is killed, `path` is what it was. A file that is replaced keeps
    its permissions, a new one has those of any new file.

    Raises:
        OSError: it can't be replaced.
    """
    # With the same suffix: some writers go by it. No two writers get the same name, be they on
    # different machines, and nobody can put a link there beforehand.
    part = path.with_name(f".part-{secrets.token_hex(8)}-{path.name}")
    try:
        yield part
        if path.exists():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Replaces a file at once by one of this text, in UTF-8.

    Raises:
        OSError: it can't be written; the old one is still there.
    """
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
