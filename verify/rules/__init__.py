"""What holds for every sound training step, rule by rule, without a contract.

In: a step. Out: `lint`, `Finding`; `RULES` by id, `findings` of a detector.
May import: graphs, match, references, flow, step, find, kinds.
"""

from verify.rules.linting import Finding, Findings, findings, lint
from verify.rules.registry import RULES, chosen, rule_of
from verify.rules.rule import PAGE, Rule

__all__ = [
    "PAGE",
    "RULES",
    "Finding",
    "Findings",
    "Rule",
    "chosen",
    "findings",
    "lint",
    "rule_of",
]
