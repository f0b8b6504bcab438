"""The demo in small: few samples, few epochs."""

import re

import pytest

from inalu import recipe
from inalu.demo import FAULTS, main


def small(*arguments):
    return main(["--samples", "640", *arguments])


def test_verifies_trains_and_plots(tmp_path, capsys):
    assert small("--epochs", "2", "--output", str(tmp_path)) == 0
    out = capsys.readouterr().out
    for name in ("gate_on", "gate_off", "delay_on"):
        assert out.count(name) == 1
    assert out.index("Verified before training") < out.index("Epoch 1/2")
    assert out.index("Verified after training") > out.index("Epoch 2/2")
    assert "Epoch 2/2" in out
    assert "mean squared error inside (10, 15)" in out
    # After so few steps:
    assert "not discrete: rounded by up to" in out
    assert "not, or not yet, (x1 - x2) * (x3 - x4) + x5 * x6" in out
    for name in ("loss.png", "errors.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# Where each fault is planted, and what is said of it.
PLANTED = {
    "clip": ("gate", False, "[-0.1, 0.1]"),
    "variables": ("gate", True, "too many: sequential/layer_1/g"),
    "loss": ("gate", True, "loss: expected mse"),
    "regularize": ("delay", True, "regularization: expected 15 terms"),
}


def test_planted_faults_are_found(tmp_path, capsys, monkeypatch):
    """All at once: for each, what is said of it at its own place."""

    def plant_all(config):
        for plant in list(FAULTS.values())[:-1]:
            config = plant(config)
        return config

    monkeypatch.setitem(FAULTS, "all", plant_all)
    assert small("--break", "all", "--output", str(tmp_path)) == 1
    captured = capsys.readouterr()
    violations = re.split(r"\n(?=\d+\. )", captured.err)
    for action, branch, said in PLANTED.values():
        there = [v for v in violations if f"config[{action!r}][{branch}]" in v]
        assert said in "\n".join(there)
    assert "Epoch" not in captured.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_planted_in_one_place(fault):
    faulty = FAULTS[fault](recipe.config)
    changed = [
        (action, branch)
        for action, settings in recipe.config.items()
        for branch in settings
        if faulty[action][branch] != settings[branch]
    ]
    assert changed == [PLANTED[fault][:2]]


@pytest.mark.parametrize(
    "arguments", [["--break", "everything"], ["--epochs", "0"], ["--samples", "63"], ["x"]]
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: ci/demo" in capsys.readouterr().err
