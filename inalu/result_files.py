"""Files of results: JSON, written whole or not at all, for runs of the same settings only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loopctl_shared import whole


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(values, indent=1))


def check_settings(path: Path, found: Any, wanted: Any) -> None:
    """Refuse a file of a run with other settings.

    Raises:
        ValueError: found is not what is wanted.
    """
    if found != wanted:
        raise ValueError(f"{path} is of a run with other settings: {found}, not {wanted}")
