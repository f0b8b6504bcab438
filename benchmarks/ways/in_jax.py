"""JAX beside TensorFlow, in an environment of its own: neither has to fit the other's versions."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import keras
import numpy as np

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = ROOT / ".venv-jax"


def python() -> Path:
    """The Python of the environment, which is made the first time."""
    found = _ENVIRONMENT / "bin" / "python"
    stamp = _ENVIRONMENT / ".installed"
    if not stamp.exists():
        print("Installing JAX into .venv-jax (once)", file=sys.stderr)
        venv.create(_ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", "jax"], check=True)
        stamp.touch()
    return found


class Scan:
    """A recipe as a `lax.scan`, in a process of its own, an epoch at a time.

    Args:
        recipe: its name in `jax_scan`.
        model: whose weights it begins with.
        x, y: (steps, batch, ...), float32.
        shuffled: whether each epoch has another order.
    """

    def __init__(
        self, recipe: str, model: keras.Model, x: Any, y: Any, shuffled: bool = False
    ) -> None:
        weights = {
            f"weight/{i}/{variable.name}": np.asarray(variable)
            for i, layer in enumerate(layer for layer in model.layers if layer.weights)
            for variable in layer.trainable_variables
        }
        folder = tempfile.mkdtemp()
        np.savez(f"{folder}/data.npz", recipe=recipe, x=x, y=y, shuffled=shuffled, **weights)
        command = [python(), Path(__file__).with_name("jax_scan.py"), f"{folder}/data.npz"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def losses(self) -> list[float]:
        """Of the steps of an epoch in order, from the first weights on."""
        found: list[float] = json.loads(self._ask("check"))
        return found

    def epoch(self) -> float:
        """Trains for one more epoch, in so many seconds."""
        return float(self._ask("epoch"))

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, what: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("JAX ended with an error, see above")
        return answer
