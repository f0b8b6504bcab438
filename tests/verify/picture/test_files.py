"""Pictures and exports as files."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import networkx as nx
import pytest
import tensorflow as tf

from tests.verify.contracts import shop
from tests.verify.picture.large import outline_of_size
from verify.errors import ContractError
from verify.picture import write, write_difference
from verify.picture.files import step_page
from verify.picture.groups import Group
from verify.picture.html import fact_rows, page
from verify.picture.outline import outline
from verify.picture.places import Places
from verify.step import Step, capture


@pytest.fixture(scope="module")
def main_step() -> Step:
    return capture(*shop.main())


def numbers(group: Group) -> list[int]:
    return [op["i"] for op in group.ops] + [n for g in group.groups.values() for n in numbers(g)]


def test_every_op_and_variable_is_in_the_outline_once(main_step: Step) -> None:
    made = outline(Places(main_step))
    listed = numbers(made.root)
    handles = len(main_step.flat.variables)
    assert len(listed) == len(set(listed))
    assert len(listed) == len(main_step.flat.nodes) - handles + len(main_step.variables)
    assert made.root.count == len(listed)
    assert made.by_layer is not None
    assert sorted(numbers(made.by_layer)) == sorted(listed)
    assert {end for wire in made.wires for end in wire[:2]} <= set(listed)
    assert {"if warmup: True", "if warmup: False", "variables"} <= made.root.groups.keys()


def data_of(page: str) -> Any:
    (data,) = re.findall(r'<script id="step" type="text/plain">(.*?)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(data)))


def test_a_page_holds_everything(main_step: Step, tmp_path: Path) -> None:
    path = tmp_path / "step.html"
    write(main_step, path)
    page = path.read_text("utf-8")
    assert data_of(page)["root"]["name"] == "main_step"
    assert "<dt>clipping</dt><dd><div>[-0.1, 0.1] on shop/head/kernel</div>" in page
    assert not re.search(r'(src|href)="|@import|url\(h', page)  # nothing from anywhere else


def test_a_page_of_the_same_step_is_the_same(main_step: Step) -> None:
    assert step_page(main_step) == step_page(main_step)


def test_a_page_of_15000_nodes_can_be_sent_around() -> None:
    made = outline_of_size(15_000)
    assert made.root.count == 15_000
    assert len(page(made, "")) <= 2_000_000


def test_many_entries_of_a_fact_are_folded() -> None:
    made = fact_rows(
        "big", [("watched", [f"layer{i}/kernel" for i in range(30)]), ("loss", ["<a>"])]
    )
    shown, folded = made.partition("<details>")[::2]
    assert shown.count("/kernel") == 10
    assert "<summary>20 more</summary>" in folded
    assert folded.count("/kernel") == 20
    assert "<dt>loss</dt><dd><div>&lt;a&gt;</div></dd>" in folded


def test_names_do_not_escape_into_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    weight = tf.Variable(1.0, name="weight")
    step = capture(tf.function(lambda x: weight.assign_sub(x)), tf.TensorSpec(()))
    step.flat.nodes[0].name = evil
    object.__setattr__(step, "name", evil)
    write(step, tmp_path / "step.html")
    page = (tmp_path / "step.html").read_text("utf-8")
    assert evil not in page
    assert data_of(page)["root"]["name"] == evil


def test_what_changed_is_marked(tmp_path: Path) -> None:
    model, batch = shop.controlled()
    on, off = capture(model.warmup_on, batch), capture(model.warmup_off, batch)
    write_difference(off, on, tmp_path / "d.html")
    page = (tmp_path / "d.html").read_text("utf-8")
    assert '<li class="new">+ clipping: [-0.1, 0.1] on shop/head/kernel</li>' in page
    assert data_of(page)["sides"] == {"old": "warmup_off", "new": "warmup_on"}

    def marked(group: Any) -> set[str]:
        own = {op["op"] for op in group.get("ops", ()) if op.get("mark") == "added"}
        return own.union(*(marked(inner) for inner in group.get("groups", ())))

    assert marked(data_of(page)["root"])
    write_difference(on, on, tmp_path / "same.html")
    page = (tmp_path / "same.html").read_text("utf-8")
    assert "no fact differs" in page
    assert not marked(data_of(page)["root"])


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_still_pictures(suffix: str, main_step: Step, tmp_path: Path) -> None:
    path = tmp_path / f"step{suffix}"
    write(main_step, path)
    content = path.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
    else:
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_graphs_for_other_tools(main_step: Step, tmp_path: Path) -> None:
    write(main_step, tmp_path / "step.graphml")
    graph = nx.read_graphml(tmp_path / "step.graphml")
    assert len(graph) == len(main_step.flat.nodes)
    assert "clip" in {cluster for _, cluster in graph.nodes(data="cluster")}

    write(main_step, tmp_path / "step.dot")
    dot = (tmp_path / "step.dot").read_text()
    assert dot.count("subgraph cluster_") == len({c for _, c in graph.nodes(data="cluster")})
    assert dot.count("{") == dot.count("}")

    write(main_step, tmp_path / "events")
    (events,) = (tmp_path / "events").iterdir()
    (record,) = [
        event.graph_def
        for event in tf.compat.v1.train.summary_iterator(str(events))
        if event.graph_def
    ]
    definition = tf.compat.v1.GraphDef.FromString(record)
    assert len(definition.node) == len(main_step.flat.nodes)


def test_an_unknown_kind_of_picture(main_step: Step, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"a picture is \.html, \.svg"):
        write(main_step, tmp_path / "step.gif")
