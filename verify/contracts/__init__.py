"""Contracts and snapshots: what steps have to be, in files that a gate holds them against.

In: files, and targets by name. Out: verdicts, baselines, snapshots.
May import: assertions, step_facts, and what these may.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.contracts.automatic_names import fresh_names
    from verify.contracts.baseline import contract_text
    from verify.contracts.files import Contract, read
    from verify.contracts.ratchet import tighten
    from verify.contracts.snapshots import GraphSnapshot
    from verify.contracts.subject import Subject, captured, forget, subject_from
    from verify.contracts.verdict import Verdict, judge

SUFFIX = ".graph.toml"  # of every contract file's name

__all__ = [
    "SUFFIX",
    "Contract",
    "GraphSnapshot",
    "Subject",
    "Verdict",
    "captured",
    "contract_text",
    "forget",
    "fresh_names",
    "judge",
    "read",
    "subject_from",
    "tighten",
]

# Where each is. Imported when first asked for: pytest and the command line import this package
# before they know whether there is anything to do for TensorFlow.
_HOMES = {
    "Contract": "files",
    "GraphSnapshot": "snapshots",
    "Subject": "subject",
    "Verdict": "verdict",
    "captured": "subject",
    "contract_text": "baseline",
    "forget": "subject",
    "fresh_names": "automatic_names",
    "judge": "verdict",
    "read": "files",
    "subject_from": "subject",
    "tighten": "ratchet",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
