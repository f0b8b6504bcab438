"""What a config means, before there is a model."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from loopctl import when
from loopctl.config import ControlPlan, parse
from loopctl.config.plan import Clipping


def plan(**actions: Any) -> ControlPlan:
    """Actions by name, each as branches True and False, or None."""
    return parse(
        {
            name: {
                "cond": when.every(2),
                **{b: s for b, s in ((True, on), (False, off)) if s is not None},
            }
            for name, (on, off) in actions.items()
        },
        {"halt": {"cond": lambda self: False, "callback": print}},
    )


def test_a_plan_can_not_be_changed() -> None:
    made = plan(gate=({"clipping": (-1, 1)}, {}))
    action = made.actions[0]
    for part in (made, action, action.on, action.on.clipping, made.async_actions[0]):  # type: ignore[union-attr]
        assert part is not None
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, dataclasses.fields(part)[0].name, None)


def test_a_branch_that_says_nothing_is_as_keras_has_it() -> None:
    substep = plan(gate=({}, None)).substeps[0]
    assert (substep.name, substep.action, substep.branch) == ("gate_on", "gate", True)
    assert substep.compiled
    assert substep.repeat == 1
    assert substep.regularize is False
    assert not substep.treats
    nothing = ("variables", "excluded_variables", "gradients", "clipping", "optimizer")
    assert all(getattr(substep, name) is None for name in (*nothing, "update_statistics"))


@pytest.mark.parametrize(
    ("given", "clipping", "text"),
    [
        ((-1, 2), Clipping("value", -1.0, 2.0), "[-1, 2]"),
        ((0, 0.5), Clipping("value", 0.0, 0.5), "[0, 0.5]"),
        ({"norm": 3}, Clipping("norm", 0.0, 3.0), "norm 3"),
        ({"global_norm": 0.5}, Clipping("global_norm", 0.0, 0.5), "global norm 0.5"),
    ],
)
def test_clippings(given: Any, clipping: Clipping, text: str) -> None:
    substep = plan(gate=(None, {"clipping": given})).substeps[0]
    assert substep.name == "gate_off"
    assert substep.clipping == clipping
    assert substep.treats
    assert str(clipping) == text


def test_what_treats_gradients() -> None:
    (substep,) = plan(gate=({"gradients": lambda g, v: g}, None)).substeps
    assert substep.treats


SHARED: list[tuple[Any, Any, bool]] = [
    ({}, {}, True),
    ({"clipping": (-1, 1)}, {"regularize": True}, True),
    ({}, None, False),
    (None, {}, False),
    ({"repeat": 2}, {}, False),
    ({}, {"repeat": 2}, False),
    ({"repeat": 1}, {}, True),
    ({"loss": "mae"}, {}, False),
    ({"loss": "mae"}, {"loss": "mae"}, True),
    ({"loss": "mae"}, {"loss": "mse"}, False),
    ({"loss": None}, {"loss": None}, True),
    ({"update_statistics": True}, {}, False),
    ({"update_statistics": True}, {"update_statistics": True}, True),
    ({"update_statistics": True}, {"update_statistics": False}, False),
]


@pytest.mark.parametrize(("on", "off", "shares"), SHARED)
def test_branches_that_could_share_a_forward_pass(on: Any, off: Any, shares: bool) -> None:
    assert plan(gate=(on, off)).actions[0].shares_forward is shares


def test_who_measures() -> None:
    """The first action that always runs a substep; if there is none, all."""
    made = plan(a=({}, None), b=({}, {}), c=({}, {}))
    measuring = [substep.name for substep in made.substeps if made.measures(substep)]
    assert measuring == ["b_on", "b_off"]
    made = plan(a=({}, None), b=(None, {}))
    assert all(made.measures(substep) for substep in made.substeps)


def test_who_moves_statistics() -> None:
    """The first substep that runs in a train step, unless a branch says otherwise."""
    made = plan(a=({}, None), b=({}, {"update_statistics": True}), c=({}, None))
    moves = {substep.name: made.moves_statistics(substep) for substep in made.substeps}
    assert moves == {"a_on": True, "b_on": None, "b_off": True, "c_on": False}


def test_who_decides() -> None:
    made = parse(
        {
            "host": {"cond": lambda self: True, True: {}},
            "graph": {"cond": when.batches < 3, True: {}},
        },
        None,
    )
    assert [action.name for action in made.host_actions] == ["host"]
    assert [repr(predicate) for predicate in made.predicates] == ["when.batches < 3"]
    assert made.names == {"host", "graph"}
