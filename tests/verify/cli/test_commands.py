"""`loopctl-verify show`, `diff` and `init`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from verify.cli import main

SHOP = "tests.verify.contracts.shop"


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{SHOP}:controlled#warmup_on"]) == 0
    assert "[-0.1, 0.1] on shop/head/kernel" in capsys.readouterr().out
    assert main(["show", "--format", "json", f"{SHOP}:plain"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["losses"][0]["name"] == "MeanSquaredError"
    assert len(told["fingerprint"]) == 12


def test_diff(capsys: pytest.CaptureFixture[str]) -> None:
    on, off = (f"{SHOP}:controlled#warmup_{branch}" for branch in ("on", "off"))
    assert main(["diff", on, off]) == 1
    told = capsys.readouterr().out.splitlines()
    assert "- loss: Huber" in told
    assert "+ loss: MeanSquaredError" in told
    assert "+ watched: shop/hidden/kernel" in told
    assert main(["diff", on, on]) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert main(["diff", "--exact", on, off]) == 1
    assert "same step: expected" in capsys.readouterr().out


def test_init_writes_contracts_that_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "base.graph.toml"
    targets = [f"{SHOP}:plain", f"{SHOP}:controlled#warmup_on", f"{SHOP}:main", f"{SHOP}:main"]
    assert main(["init", *targets, "--output", str(path)]) == 0
    assert "4 contracts" in capsys.readouterr().out
    assert main(["check", "--ratchet", str(path)]) == 0
    assert main(["init", targets[0], "--output", str(path)]) == 2
    assert "not overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "told"), [("--help", "exit status: 0"), ("--version", "0.")])
def test_what_is_told_at_once_needs_no_tensorflow(option: str, told: str) -> None:
    code = (
        "import sys; from verify.cli import main\n"
        f"try: main(['{option}'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout


def test_draw_says_where_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "step.dot"
    assert main(["draw", f"{SHOP}:plain", "-o", str(path)]) == 0
    assert path.read_text().startswith("digraph")
    with pytest.raises(SystemExit):
        main(["draw", f"{SHOP}:plain"])
    assert "-o/--output" in capsys.readouterr().err
