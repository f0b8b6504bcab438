"""TensorFlow, imported without what it tells on stderr while it starts."""

from __future__ import annotations

import os
import sys
import tempfile

from loopctl_shared import check_tensorflow

_QUIET = "3"


def import_tensorflow() -> None:
    """Imports TensorFlow; unless the user has asked for its log, lines of information are left out.

    TensorFlow tells some of them before it reads the level that is to be told, whatever that is:
    while it is imported, stderr is a file, and the rest of it is told afterwards.

    Raises:
        ImportError: there is none, or an old one.
    """
    # Processes that this one starts inherit the level.
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _QUIET)
    if level != _QUIET or "tensorflow" in sys.modules:
        check_tensorflow()
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as told:
        os.dup2(told.fileno(), 2)
        try:
            check_tensorflow()
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            told.seek(0)
            for line in told:
                if not _is_information(line):
                    os.write(2, line)


def _is_information(line: bytes) -> bool:
    return line.startswith((b"I0000 ", b"WARNING: All log messages before absl::InitializeLog()"))
