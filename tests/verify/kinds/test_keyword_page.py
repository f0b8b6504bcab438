"""docs/keywords.md has an example of every keyword, and of nothing else."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import verify
from verify.contracts.schema import Expected
from verify.kinds import KEYWORDS

PAGE = (Path(__file__).parents[3] / "docs" / "keywords.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


def test_every_keyword_has_its_section_in_the_order_of_the_signature() -> None:
    _, _, *keywords = inspect.signature(verify.assert_graph).parameters
    assert [*SECTIONS] == keywords
    assert set(KEYWORDS) < {*keywords}


def test_each_section_has_an_assertion_that_holds_and_one_that_fails() -> None:
    for name, section in SECTIONS.items():
        assert re.search(rf"^>>> verify.assert_graph\(.*\b{name}=", section, re.MULTILINE), name
        assert re.search(r"^>>> fails\(.*\n\w.*: expected ", section, re.MULTILINE), name


def test_each_toml_is_what_a_contract_may_say() -> None:
    toml = re.compile(r"```toml\n(.*?)```", re.DOTALL)
    told = {name: toml.findall(section) for name, section in SECTIONS.items()}
    for name, blocks in told.items():
        for block in blocks:
            assert Expected.model_validate(tomllib.loads(block)).model_fields_set == {name}
    assert sum(map(len, told.values())) > 6
