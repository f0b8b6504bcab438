"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import forked

pytest_plugins = ["pytester"]

CONTRACTS = """
[contracts.kept]
target = "tests.verify.contracts.shop:plain"
tags = ["fast"]
loss = "mse"

[contracts.broken]
target = "tests.verify.contracts.shop:plain"
loss = "mae"
"""
SNAPSHOTS = """
import keras
import tensorflow as tf

def model(**options):
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, **options)])
    made.compile("sgd", LOSS)
    return made

BATCH = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 2))

def test_one(graph_snapshot):
    graph_snapshot(model(), BATCH)

def test_two(graph_snapshot):
    graph_snapshot(model(), BATCH, name="bias")
    graph_snapshot(model(use_bias=False), BATCH, name="none")
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty project; what it says is found in a process of its own, as a user's is."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)  # it is no worker of the run around it
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider\n")
    return pytester


def test_a_failure_has_printable_names(project: pytest.Pytester) -> None:
    """The name of a contract is a key, which may hold anything."""
    name = r'"a\n::error::forged\u001b[2J"'
    project.makefile(
        ".graph.toml", shop=f'[contracts.{name}]\ntarget = "gone:factory"\nloss = "mse"\n'
    )
    _, lines = forked.run_pytest(project.path)
    told = "\n".join(lines)
    assert "1 failed" in lines[-1]
    assert r"shop.graph.toml:1: a\n::error::forged\x1b[2J" in told
    assert "\x1b[2J" not in told
    assert "\n::error" not in told


def test_contracts_are_items(project: pytest.Pytester) -> None:
    project.makefile(".graph.toml", shop=CONTRACTS)
    _, lines = forked.run_pytest(project.path, "-n", "2", "--dist", "loadgroup")
    told = pytest.LineMatcher(lines)
    told.fnmatch_lines(["*shop.graph.toml:6: broken", "1. loss: expected mae"])
    told.fnmatch_lines(
        ["FAILED shop.graph.toml::broken - loss: expected mae, found*", "*1 failed, 1 passed*"]
    )
    _, lines = forked.run_pytest(project.path, "-m", "fast", "-v")
    told = pytest.LineMatcher(lines)
    told.fnmatch_lines(["shop.graph.toml::kept PASSED*", "*1 passed, 1 deselected*"])


@pytest.mark.parametrize("xdist", [[], ["-p", "no:xdist"]], ids=["xdist", "no xdist"])
@pytest.mark.parametrize(
    "strict", [["--strict-markers"], ["-W", "error"], []], ids=["strict", "warnings", "lenient"]
)
def test_markers_are_known(pytester: pytest.Pytester, xdist: list[str], strict: list[str]) -> None:
    """Also xdist's, which contracts carry where it is not installed or turned off."""
    pytester.makefile(".graph.toml", shop=CONTRACTS)
    # Plain: that `verify` has been imported in the process this one is forked from is a warning.
    plain = ["--assert=plain", *xdist, *strict]
    status, lines = forked.run_pytest(pytester.path, "--collect-only", "-q", *plain)
    told = pytest.LineMatcher(lines)
    told.fnmatch_lines(["shop.graph.toml::kept", "shop.graph.toml::broken", "*2 tests collected*"])
    told.no_fnmatch_line("*warning*")
    assert status == pytest.ExitCode.OK


@pytest.mark.parametrize("theirs", ["verify.py", "verify/__init__.py"])
def test_a_module_of_the_projects_own_takes_our_name(project: pytest.Pytester, theirs: str) -> None:
    """Where nothing asks for ours it is left alone; what does ask does not pass."""
    path = project.path / theirs
    path.parent.mkdir(exist_ok=True)
    path.write_text("MINE = True\n")
    project.makepyfile(
        test_it="import verify\n"
        "def test_mine(): assert verify.MINE\n"
        "def test_kept(graph_snapshot): pass\n"
    )
    told = f"*nothing is verified: `import verify` finds '{path}', not loopctl's package*"
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([told])
    project.makefile(".graph.toml", shop=CONTRACTS)
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*ERROR collecting shop.graph.toml*", told])


def test_an_unreadable_contract_file_is_an_error(project: pytest.Pytester) -> None:
    project.makefile(".graph.toml", shop="[contracts.a]\ntarget = 'm:f'\nlos = 'mse'\n")
    status, lines = forked.run_pytest(project.path)
    assert status == pytest.ExitCode.INTERRUPTED
    told = pytest.LineMatcher(lines)
    told.fnmatch_lines(["*contracts.a.los: unknown key; did you mean loss?"])
    told.no_fnmatch_line("*Traceback*")


def test_snapshots_are_kept_and_compared(project: pytest.Pytester) -> None:
    path = project.makepyfile(test_it=SNAPSHOTS.replace("LOSS", "'mse'"))
    _, lines = forked.run_pytest(project.path)
    missing = pytest.LineMatcher(lines)
    missing.fnmatch_lines(["*nothing is kept as test_one: run pytest --graph-update"])
    missing.fnmatch_lines(["*2 failed*"])
    _, lines = forked.run_pytest(project.path, "--graph-update")
    pytest.LineMatcher(lines).fnmatch_lines(["*2 passed*"])
    # In another order, process and hash seed, names of layers and facts are the same.
    project.runpytest_subprocess("-k", "two").assert_outcomes(passed=1, deselected=1)

    path.write_text(SNAPSHOTS.replace("LOSS", "'mae'"))
    _, lines = forked.run_pytest(project.path, "-k", "one")
    changed = pytest.LineMatcher(lines)
    changed.fnmatch_lines(
        ["*the step has changed*", "E*- loss: MeanSquaredError", "E*+ loss: MeanAbsoluteError"]
    )
    changed.fnmatch_lines(["FAILED test_it.py::test_one - the step has changed: - loss: Mean*"])
    changed.fnmatch_lines(["*1 failed, 1 deselected*"])
    changed.no_fnmatch_line("*watched*")  # what is as before is not in the way

    path.write_text(SNAPSHOTS.replace("LOSS", "'mse'").replace("test_one", "test_three"))
    status, lines = forked.run_pytest(project.path, "-n", "2")
    assert status == pytest.ExitCode.TESTS_FAILED
    pytest.LineMatcher(lines).fnmatch_lines(
        [
            "*1 snapshot unused*",
            "No test asserts the steps kept as *test_one.graph:*--graph-update*",
        ]
    )
    forked.run_pytest(project.path, "--graph-update")
    assert not list(project.path.rglob("test_one.graph"))


def test_off_unless_used(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    assert not {'tensorflow', 'keras', 'pydantic', 'verify'} & sys.modules.keys()\n"
    )
    project.runpytest_subprocess().assert_outcomes(passed=1)
