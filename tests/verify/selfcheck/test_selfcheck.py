"""The catalogue of faults: each is caught and named, each correct twin passes.

Here each fault is planted once; kinds of model and optimizers take turns.
``loopctl-verify selfcheck --all`` plants every fault everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.grids import THOROUGH
from verify.cli import main
from verify.cli.selfcheck import _cases, _parts
from verify.selfcheck import FAULTS, KINDS, OPTIMIZERS, Fault, check
from verify.selfcheck.score import SAME, Verdict, message_of, named_rightly
from verify.selfcheck.training import Training

Case = tuple[Fault, str, str]


# The default profile plants each fault once as well: one in each place, and all others in the one
# that is read most quickly, where those of one correct step share its verdict. `thorough` takes
# each model and each optimizer in turn.
QUICK = ("dense", "SGD")
# Of these faults, or of what is told of them, a part is there only elsewhere.
ELSEWHERE = {
    "One of the variables moved by the sign of its gradient": ("convolutional", "AdamW"),
    "An orthogonal regulariser of another factor": ("convolutional", "Adam"),
    "Predictions are squashed before they are compared with targets": ("convolutional", "RMSprop"),
}


def in_turn() -> list[Case]:
    cases = []
    for i, fault in enumerate(FAULTS):
        kinds = [kind for kind in KINDS if kind not in fault.but]
        optimizers = fault.optimizers or tuple(OPTIMIZERS)
        cases.append((fault, kinds[i % len(kinds)], optimizers[i // 5 % len(optimizers)]))
    return cases


def together() -> list[Case]:
    left = list(FAULTS)
    cases = []
    others = [place for place in itertools.product(KINDS, OPTIMIZERS) if place != QUICK]
    named = {place: name for name, place in ELSEWHERE.items()}
    for turn, place in enumerate(others):
        # From all over the catalogue.
        start = turn * len(FAULTS) // len(others)
        if place in named:
            start = next(i for i, fault in enumerate(FAULTS) if fault.name == named[place])
        fault = next(
            fault
            for fault in [*FAULTS[start:], *FAULTS[:start]]
            if fault in left and fits(fault, *place) and ELSEWHERE.get(fault.name, place) == place
        )
        left.remove(fault)
        cases.append((fault, *place))
    of_step: dict[type[Training], list[Fault]] = {}
    for fault in left:
        of_step.setdefault(fault.correct, []).append(fault)
    for faults in of_step.values():
        for fault in faults:
            place = next(place for place in (QUICK, *others) if fits(fault, *place))
            cases.append((fault, *place))
    return cases


def fits(fault: Fault, kind: str, optimizer: str) -> bool:
    return kind not in fault.but and optimizer in (fault.optimizers or OPTIMIZERS)


@pytest.fixture(scope="module")
def checked() -> Callable[[Case], tuple[Verdict, Verdict]]:
    """One run of `check`, asked case by case: a step is the correct twin of several faults."""
    asked: list[Case] = []
    correct: dict[Any, Verdict] = {}

    def cases() -> Iterator[Case]:
        while asked:
            yield asked.pop()

    running = [check(cases())]

    def verdicts(case: Case) -> tuple[Verdict, Verdict]:
        fault, *place = case
        twin = (fault.correct, *place)
        asked.append(case)
        try:
            if twin not in correct:
                correct[twin] = next(running[0])
            return correct[twin], next(running[0])
        except BaseException:  # the run is over, but not for the next case
            asked.clear()
            correct.clear()
            running[0] = check(cases())
            raise

    return verdicts


EVERY = hypothesis.settings.default.max_examples >= THOROUGH
CASES = in_turn() if EVERY else together()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].name}, {case[1]}")
def test_a_fault_is_caught_and_its_correct_twin_passes(
    case: Case, checked: Callable[[Case], tuple[Verdict, Verdict]]
) -> None:
    correct, faulty = checked(case)
    assert correct.right, correct.message
    assert faulty.caught
    assert faulty.right, faulty.message


def test_the_catalogue_is_as_large_as_promised() -> None:
    assert len(FAULTS) >= 60
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len(KINDS) >= 5
    assert len(OPTIMIZERS) >= 4
    for cases in (in_turn(), together()):
        assert len(cases) == len(FAULTS)
        assert {(kind, optimizer) for _, kind, optimizer in cases} == set(
            itertools.product(KINDS, OPTIMIZERS)
        )


def test_a_correct_step_is_verified_in_few_processes() -> None:
    def correct(cases: list[Case]) -> set[Any]:
        return {(fault.correct, *place) for fault, *place in cases}

    cases = _cases(True)
    parts = _parts(cases)
    assert sorted(map(repr, itertools.chain(*parts))) == sorted(map(repr, cases))
    assert sum(len(correct(part)) for part in parts) < len(correct(cases)) + len(parts)


def composed(first: Fault, second: Fault) -> Fault:
    """Both faults in one step: they replace different pieces of it."""

    class Both(first.training, second.training):  # type: ignore[misc, name-defined]
        pass

    return Fault(Both, first.keyword, first.told)


def pieces(fault: Fault) -> set[str]:
    return {name for name in vars(fault.training) if not name.startswith("__")}


# Faults that change nothing else: a gradient that is lost, say, can't be left unclipped as well.
SIMPLE = [
    fault
    for fault in FAULTS
    if fault.correct is Training and fault.keyword != SAME and not fault.also
]


@hypothesis.given(
    st.sampled_from(SIMPLE),
    st.sampled_from(SIMPLE),
    st.sampled_from(list(KINDS) if EVERY else QUICK[:1]),
    st.sampled_from(list(OPTIMIZERS)),
)
@hypothesis.settings(max_examples=hypothesis.settings.default.max_examples // 3)
def test_two_faults_at_once_are_both_told(
    first: Fault, second: Fault, kind: str, optimizer: str
) -> None:
    hypothesis.assume(first.keyword != second.keyword and pieces(first).isdisjoint(pieces(second)))
    for fault in (first, second):
        hypothesis.assume(optimizer in (fault.optimizers or OPTIMIZERS) and kind not in fault.but)
    message = message_of(composed(first, second).training(KINDS[kind](), optimizer))
    told = {
        line.split(". ")[1].split(":")[0] for line in message.splitlines() if line[:1].isdigit()
    }
    assert {first.keyword, second.keyword} <= told, message


def test_a_fault_that_is_named_wrongly_is_no_success() -> None:
    fault = next(fault for fault in FAULTS if fault.name == "Another loss")
    assert named_rightly(fault, "step: 1 violation\n1. loss: mean_absolute_error of x reaches")
    assert not named_rightly(fault, "step: 1 violation\n1. watched: mean_absolute_error of x")
    assert not named_rightly(fault, "step: 1 violation\n1. loss: mean_squared_error of x reaches")


@pytest.fixture
def two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick ones: for what a command makes of verdicts, not for the verdicts."""
    few = {name: KINDS[name] for name in ("dense", "convolutional")}
    monkeypatch.setattr("verify.selfcheck.KINDS", few)


@pytest.mark.usefixtures("two_kinds")
def test_the_command_prints_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    score = "1 faults: caught 2 of 2 planted, 2 named rightly; 0 false alarms on 2 correct steps"
    for jobs in ([], ["--jobs", "2"]):
        assert main(["selfcheck", "--fault", "Another lower bound", *jobs]) == 0
        assert score in capsys.readouterr().out
    assert main(["selfcheck", "--fault", "no such thing"]) == 2


@pytest.mark.usefixtures("two_kinds")
def test_what_is_not_caught_fails_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correct step, planted as a fault, is not caught."""

    class Nothing(Training):
        """Nothing at all."""

    monkeypatch.setattr("verify.selfcheck.FAULTS", [Fault(Nothing, "loss", "anything")])
    assert main(["selfcheck"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG: Nothing at all (dense, SGD)\n  nothing was found" in printed
    assert "caught 0 of 2 planted" in printed
