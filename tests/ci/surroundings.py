"""What a user's programs see of the environment that the tests run in."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """Ours, without what leads to this checkout or tells of the run around."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("PYTEST_")
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}
