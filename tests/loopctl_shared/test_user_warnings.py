"""A warning is attributed to the line of the user's that brought it about."""

from __future__ import annotations

import pytest

from loopctl_shared import warn_user


def test_it_points_past_our_own_modules() -> None:
    ours = {"__name__": "loopctl.somewhere", "warn_user": warn_user}
    with pytest.warns(UserWarning, match="here") as seen:
        exec("warn_user('here')", ours)
    assert seen[0].filename == __file__
