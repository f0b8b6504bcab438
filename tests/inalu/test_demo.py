"""The demo in small: few samples, few epochs."""

import pytest

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


@pytest.mark.parametrize(
    ("fault", "place", "said"),
    [
        ("clip", "config['gate'][False]", "[-0.1, 0.1]"),
        ("variables", "config['gate'][True]", "too many: sequential/layer_1/g"),
        ("loss", "config['gate'][True]", "loss: expected mse"),
        ("regularize", "config['delay'][True]", "regularization: expected 15 terms"),
    ],
)
def test_planted_faults_are_found(tmp_path, capsys, fault, place, said):
    assert small("--break", fault, "--output", str(tmp_path)) == 1
    captured = capsys.readouterr()
    assert place in captured.err
    assert said in captured.err
    assert "Epoch" not in captured.out
    assert not list(tmp_path.iterdir())


def test_every_fault_is_tested():
    assert set(FAULTS) == {"clip", "variables", "loss", "regularize"}


@pytest.mark.parametrize(
    "arguments", [["--break", "everything"], ["--epochs", "0"], ["--samples", "63"], ["x"]]
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: ci/demo" in capsys.readouterr().err
