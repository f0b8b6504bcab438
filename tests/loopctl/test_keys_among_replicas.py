"""Every key of a branch trains on two replicas as on one device, by the same global batches."""

from __future__ import annotations

import pytest

from loopctl.config.dicts_to_plan import BRANCH_KEYS
from tests.loopctl import all_keys
from tests.replicas import mirrored


@pytest.mark.parametrize("name", all_keys.BRANCHES)
def test_two_replicas_are_one_device(name: str) -> None:
    wanted = all_keys.alone(name)
    with mirrored().scope():
        found = all_keys.alone(name)
    all_keys.assert_same(found, wanted)


def test_no_key_is_left_out() -> None:
    """But for those that are tried by the random configs of test_distributed."""
    tried = {key for branch in all_keys.BRANCHES.values() for key in branch}
    older = {"variables", "regularize", "gradients", "repeat", "update_statistics"}
    assert tried | older == set(BRANCH_KEYS)
    assert not tried & older
