"""Contracts and snapshots: what steps have to be, in files that a gate holds them against.

In: files, and targets by name. Out: verdicts, baselines, snapshots.
May import: assertions, rules, step_facts, and what these may.
"""

from typing import TYPE_CHECKING

from loopctl_shared import check_tensorflow, imported_on_demand

if TYPE_CHECKING:
    from verify.contracts.automatic_names import fresh_names
    from verify.contracts.baseline import contract_text
    from verify.contracts.expectation import expected_of
    from verify.contracts.files import Contract, read
    from verify.contracts.ignores import Ignore, ignores_of, unused
    from verify.contracts.inference import Good, Inference, good, goods_of, infer, inferred_text
    from verify.contracts.ratchet import tighten
    from verify.contracts.record_differences import Difference, difference, differences, now_of
    from verify.contracts.records import (
        Record,
        RecordedStep,
        read_record,
        record,
        record_text,
    )
    from verify.contracts.sketches import drawn_here
    from verify.contracts.snapshots import GraphSnapshot
    from verify.contracts.subject import (
        Subject,
        captured,
        detector_of,
        forget,
        subject_from,
        subject_of,
    )
    from verify.contracts.verdict import Verdict, judge

__all__ = [
    "Contract",
    "Difference",
    "Good",
    "GraphSnapshot",
    "Ignore",
    "Inference",
    "Record",
    "RecordedStep",
    "Subject",
    "Verdict",
    "captured",
    "contract_text",
    "detector_of",
    "difference",
    "differences",
    "drawn_here",
    "expected_of",
    "forget",
    "fresh_names",
    "good",
    "goods_of",
    "ignores_of",
    "infer",
    "inferred_text",
    "judge",
    "now_of",
    "read",
    "read_record",
    "record",
    "record_text",
    "subject_from",
    "subject_of",
    "tighten",
    "unused",
]

# Imported when first asked for: pytest and the command line import this package before they know
# whether there is anything to do for TensorFlow.
__getattr__ = imported_on_demand(
    __name__,
    homes={
        "Contract": "verify.contracts.files",
        "GraphSnapshot": "verify.contracts.snapshots",
        "Ignore": "verify.contracts.ignores",
        "Good": "verify.contracts.inference",
        "Inference": "verify.contracts.inference",
        "good": "verify.contracts.inference",
        "goods_of": "verify.contracts.inference",
        "Subject": "verify.contracts.subject",
        "Verdict": "verify.contracts.verdict",
        "Difference": "verify.contracts.record_differences",
        "RecordedStep": "verify.contracts.records",
        "Record": "verify.contracts.records",
        "difference": "verify.contracts.record_differences",
        "differences": "verify.contracts.record_differences",
        "drawn_here": "verify.contracts.sketches",
        "now_of": "verify.contracts.record_differences",
        "read_record": "verify.contracts.records",
        "record": "verify.contracts.records",
        "record_text": "verify.contracts.records",
        "captured": "verify.contracts.subject",
        "contract_text": "verify.contracts.baseline",
        "expected_of": "verify.contracts.expectation",
        "detector_of": "verify.contracts.subject",
        "forget": "verify.contracts.subject",
        "fresh_names": "verify.contracts.automatic_names",
        "ignores_of": "verify.contracts.ignores",
        "infer": "verify.contracts.inference",
        "inferred_text": "verify.contracts.inference",
        "judge": "verify.contracts.verdict",
        "read": "verify.contracts.files",
        "subject_from": "verify.contracts.subject",
        "subject_of": "verify.contracts.subject",
        "tighten": "verify.contracts.ratchet",
        "unused": "verify.contracts.ignores",
    },
    before=check_tensorflow,
)
