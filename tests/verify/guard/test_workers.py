"""A guard among two workers: each holds what it runs against the contract, before it runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests import forked
from tests.loopctl.test_distributed import free_ports
from tests.verify.guard import workers


def test_a_guard_among_two_workers(tmp_path: Path) -> None:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = []
    for index in range(2):
        task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        processes.append(forked.start(workers.run, task, tmp_path / f"{index}.json"))
    first, second = forked.told(processes, tmp_path)
    assert first["kept"] == second["kept"] == ""
    assert "loss: expected mae" in first["broken"]
    assert "MeanSquaredError of " in first["broken"]
    assert first["broken"] == second["broken"]
    assert first["before"] != first["weights"] == second["weights"]
    assert first["after"] == first["weights"]  # refused before anything was trained
