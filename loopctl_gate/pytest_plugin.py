"""What pytest gets from this package: contracts as items, `graph_snapshot`, ``--graph-update``.

pytest imports this module in every run of an environment that has the package, so that nothing of
TensorFlow, Keras, pydantic or syrupy may be imported before it is used. Nor may `verify`: a project
that has a module of that name and no contracts is none of our business.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loopctl_gate.taken_name import in_the_way
from loopctl_shared import CONTRACT_SUFFIX, how_to_install

if TYPE_CHECKING:
    from verify.contracts import Contract, GraphSnapshot


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("loopctl").addoption(
        "--graph-update",
        action="store_true",
        dest="update_snapshots",  # syrupy's own, which keeps and reports the files
        help="write the snapshots of graph_snapshot (syrupy's --snapshot-update writes all)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        # Contracts carry xdist's marker with or without it; unknown, it would end a strict run.
        config.addinivalue_line("markers", "xdist_group(name): tests that share a worker of xdist")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.name.endswith(CONTRACT_SUFFIX):
        return ContractFile.from_parent(parent, path=file_path)
    return None


class ContractFile(pytest.File):
    """A contract file; each of its contracts is an item of the contract's name."""

    def collect(self) -> Iterator[pytest.Item]:
        if told := in_the_way():
            raise self.CollectError(told)
        from verify.contracts import read
        from verify.errors import ContractError

        try:
            contracts = read(self.path)
        except ContractError as error:
            raise self.CollectError(str(error)) from None
        for contract in contracts:
            item = ContractItem.from_parent(self, name=contract.label, contract=contract)
            for tag in contract.promise.tags:
                # Said by the file, so that --strict-markers has nothing to say.
                self.config.addinivalue_line("markers", f"{tag}: contracts tagged so")
                item.add_marker(tag)
            # With --dist loadgroup, all contracts on one factory share a worker and a model.
            promise = contract.promise
            item.add_marker(pytest.mark.xdist_group(promise.target or str(promise.file)))
            yield item


class ContractItem(pytest.Item):
    """One contract."""

    def __init__(self, *, contract: Contract, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.contract = contract

    def runtest(self) -> None:
        from verify.contracts import judge

        verdict = judge(self.contract)
        traced, checked = verdict.seconds
        self.user_properties += [("trace_seconds", traced), ("check_seconds", checked)]
        if not verdict.kept:
            raise BrokenContractError(verdict.in_one_line, verdict.message)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, BrokenContractError):
            # The summary of a run tells the first line.
            reason, message = excinfo.value.args
            return f"{reason}\n{self.contract.place}: {self.contract.label}\n{message}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.contract.line - 1, f"contract {self.name}"


class BrokenContractError(AssertionError):
    """A contract is not kept, or could not be checked."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Summaries tell what is wrong with a step, not the class of the error."""
    report = yield
    # Asked for by attribute: `verify` may not be imported, and need not be ours.
    told = getattr(call.excinfo.value, "in_one_line", None) if call.excinfo is not None else None
    crash = getattr(report.longrepr, "reprcrash", None)
    if told is not None and crash is not None:
        crash.message = told
    return report


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What syrupy says of files that no test asks for names an option that writes all snapshots."""
    # syrupy has no public way to what it found; tests/loopctl_gate notices if this one moves.
    session = getattr(config, "_syrupy", None)
    report = session.report if session is not None else None
    if report is None or config.getoption("update_snapshots"):
        return
    places = [Path(unused.location) for unused in report.unused]
    steps = sorted(place for place in places if place.suffix == ".graph")
    if steps and not report.disable_unused_snapshots:
        here = ", ".join(os.path.relpath(place, config.rootpath) for place in steps)
        terminalreporter.write_line(
            f"No test asserts the steps kept as {here}: if that is meant, pytest --graph-update "
            "deletes the files"
        )


@pytest.fixture
def graph_snapshot(request: pytest.FixtureRequest) -> GraphSnapshot:
    """Asserts that a step's facts are those that were kept: ``graph_snapshot(model, batch)``.

    Takes what `verify.facts` takes, and `name` where one test keeps several. What is kept lies
    in ``__snapshots__`` beside the test and is written by ``pytest --graph-update``. Layers and
    metrics that are made after this fixture are numbered from the beginning, so that their names
    do not depend on the tests before.
    """
    if not request.config.pluginmanager.hasplugin("syrupy"):
        raise pytest.UsageError(f"graph_snapshot needs syrupy: {how_to_install('pytest')}")
    if told := in_the_way():
        raise pytest.UsageError(told)
    from verify.contracts import GraphSnapshot, fresh_names

    fresh_names()
    return GraphSnapshot(request.getfixturevalue("snapshot"))
