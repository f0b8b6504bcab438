"""TensorFlow starts without a word, unless it was asked for some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHOW = ["-m", "verify", "show", "tests.verify.contracts.shop:plain"]


@pytest.mark.parametrize("level", [None, "0"])
def test_start_up_lines_are_told_if_asked_for(level: str | None) -> None:
    names = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    asked = {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    told = subprocess.run(
        [sys.executable, *SHOW],
        cwd=ROOT,
        env={**names, **asked},
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.startswith("shop.train_step: ")
    if level is None:
        assert told.stderr == ""
    else:
        assert "This TensorFlow binary is optimized" in told.stderr


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_stdout_is_for_the_report_alone(form: str, tmp_path: Path) -> None:
    """Whatever TensorFlow was asked to tell, and whatever a project prints."""
    (tmp_path / "talks.py").write_text(
        "import os\nfrom tests.verify.contracts.shop import prints\nprint('imported')\n"
    )
    (tmp_path / "a.graph.toml").write_text('[contracts.a]\ntarget = "talks:prints"\nloss = "mse"\n')
    told = subprocess.run(
        [sys.executable, "-m", "verify", "check", "--format", form],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert {*json.loads(told.stdout)} & {"contracts", "runs"}
    assert "training data: 3 rows" in told.stderr
    assert "imported" in told.stderr
    assert "This TensorFlow binary is optimized" in told.stderr


def test_what_is_no_information_is_told(tmp_path: Path) -> None:
    lines = "I0000 00:00 x.cc:1] one\nE0000 00:00 x.cc:1] two\n"
    code = f"import os\nos.write(2, {lines.encode()!r})\n__version__ = '3.0.0'\n"
    (tmp_path / "tensorflow.py").write_text(code)
    (tmp_path / "keras.py").write_text("__version__ = '4.0.0'\n")
    names = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    code = "from verify.cli.quiet_start import import_tensorflow; import_tensorflow()"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**names, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stderr == "E0000 00:00 x.cc:1] two\n"
