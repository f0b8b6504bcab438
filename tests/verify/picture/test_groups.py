"""What is too much for a look is divided by names and by likeness, never by a count."""

from __future__ import annotations

from verify.picture.groups import Group, settle


def of_layers(*names: str) -> Group:
    group = Group("forward", "cluster")
    for name in names:
        group.at(name, "layer").ops.append({"op": "Relu", "id": f"{name}/Relu"})
    return group


def tree(group: Group) -> dict[str, object]:
    return {name: tree(inner) for name, inner in group.groups.items()}


def blocks(stages: int, parts: tuple[str, ...] = ("conv", "bn", "relu")) -> list[str]:
    return [
        f"stage{s}_block{b}_{part}"
        for s in range(1, stages + 1)
        for b in range(1, 6)
        for part in parts
    ]


def test_many_layers_are_divided_by_their_names() -> None:
    group = of_layers("stem", *blocks(3), "head")
    settle(group)
    assert list(group.groups) == ["stem", "stage1", "stage2", "stage3", "head"]
    stage = group.groups["stage2"]
    assert list(stage.groups) == [f"stage2_block{b}" for b in range(1, 6)]
    assert list(stage.groups["stage2_block4"].groups) == [
        f"stage2_block4_{part}" for part in ("conv", "bn", "relu")
    ]
    assert stage.kind == "names"


def test_few_layers_are_left_alone() -> None:
    names = blocks(1)
    group = of_layers(*names)
    settle(group)
    assert list(group.groups) == names


def test_layers_that_take_turns_are_not_put_together_by_their_first_word() -> None:
    names = [f"{kind}_{n}_{part}" for n in range(15) for kind in ("dw", "pw") for part in "ab"]
    group = of_layers(*names)
    settle(group)
    assert list(group.groups)[:3] == ["dw_0", "pw_0", "dw_1"]


def test_what_nothing_divides_is_told_to_be_alike() -> None:
    names = [f"{kind}_{n}" for n in range(60) for kind in ("dense", "activation")]
    group = of_layers("first", *names)
    settle(group)
    assert list(group.groups) == ["first", "60 × dense", "60 × activation"]
    assert "alike" in group.groups["60 × dense"].note

    flat = Group("forward", "cluster")
    flat.ops = [{"op": op, "id": f"{op}_{n}"} for n in range(60) for op in ("Mul", "Add")]
    flat.ops.append({"op": "MatMul", "id": "MatMul"})
    settle(flat)
    assert {name: g.count for name, g in flat.groups.items()} == {"60 × Mul": 60, "60 × Add": 60}
    assert [op["op"] for op in flat.ops] == ["MatMul"]


def test_a_group_in_a_group_alone_is_one() -> None:
    group = Group("forward", "cluster")
    group.at("model", "layer").at("inner", "layer").at("dense", "layer").ops.append({"op": "Relu"})
    group.ops.append({"op": "Identity"})
    settle(group)
    assert list(group.groups) == ["model"]
    assert group.groups["model"].name == "model/inner/dense"


def test_variables_are_divided_by_their_names_too() -> None:
    group = Group("state", "variables")
    group.ops = [
        {"op": "variable", "id": f"adam/{layer}_{slot}"}
        for layer in ("one", "two", "three")
        for slot in map(str, range(10))
    ]
    settle(group)
    assert list(group.groups) == ["one", "two", "three"]
    assert not group.ops
