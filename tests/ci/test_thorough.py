"""ci/thorough.py: which tests stay in the default profile."""

import numpy as np

from ci.thorough import by_worth, durations, kept

# Branches 0 to 4.
RAN = {
    "tests/loopctl/test_a.py::test_quick": [0],
    "tests/loopctl/test_a.py::test_two[x]": [0, 1, 2],
    "tests/loopctl/test_a.py::test_two[y]": [1, 2],
    "tests/loopctl/test_a.py::test_slow": [0, 1, 2, 3, 4],
}
SECONDS = {
    "tests/loopctl/test_a.py::test_quick": 0.1,
    "tests/loopctl/test_a.py::test_two[x]": 3.0,
    "tests/loopctl/test_a.py::test_two[y]": 2.0,
    "tests/loopctl/test_a.py::test_slow": 10.0,
    "tests/test_pages.py::test_a_page[1]": 5.0,
    "tests/test_pages.py::test_a_page[2]": 4.0,
}
QUICK, X, Y, SLOW, _, PAGE = SECONDS
ARCS = {name: np.array(arcs) for name, arcs in RAN.items()}


def test_first_is_what_runs_most_for_its_time():
    assert [*by_worth(SECONDS, ARCS, [QUICK])] == [Y, SLOW]
    assert [*by_worth(SECONDS, ARCS, [])] == [QUICK, Y, SLOW]


def test_what_runs_nothing_new_is_not_needed():
    assert [*by_worth(SECONDS, ARCS, [SLOW])] == []


def test_what_is_quick_stays_and_a_case_of_what_branches_do_not_tell_apart():
    assert kept(SECONDS, ARCS, quick=0.5, budget=0) == {QUICK, PAGE}


def test_the_others_stay_as_long_as_there_is_time():
    assert kept(SECONDS, ARCS, quick=0.5, budget=7) == {QUICK, PAGE, Y}
    assert kept(SECONDS, ARCS, quick=0.5, budget=20) == {QUICK, PAGE, Y, SLOW}


def test_durations_are_those_of_all_phases(tmp_path):
    report = tmp_path / "run.xml"
    case = '<testcase classname="tests.{}" name="test_c[d]" time="{}"/>'
    cases = case.format("test_grids", 1.5), case.format("test_grids", 0.5)
    report.write_text(f"<s>{''.join(cases)}{case.format('of_a_contract', 1)}</s>")
    ((name, seconds),) = durations(report).items()
    assert name == "tests/test_grids.py::test_c[d]"
    assert 2 <= seconds < 2.1
