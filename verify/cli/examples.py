"""What each command is called with, for its ``--help``."""

from __future__ import annotations

_EXAMPLES = {
    "check": (
        ("every *.graph.toml below this folder", "check"),
        (
            "one file; also fail if a contract is looser than it need be",
            "check shop.graph.toml --ratchet",
        ),
        (
            "in CI: annotations, and a file for code scanning",
            "check --format github --also sarif=steps.sarif",
        ),
    ),
    "lint": (
        ("a step", "lint shop.training:controlled#warmup_on"),
        (
            "all steps of a contract file, without one rule",
            "lint shop.graph.toml --ignore V203",
        ),
        ("explain a rule", "lint --explain V101"),
    ),
    "show": (
        ("a compiled model's step", "show shop.training:plain"),
        (
            "one branch of a controlled step, as JSON",
            "show shop.training:controlled#warmup_on --format json",
        ),
        ("a SavedModel's function", "show export/1#serving_default"),
    ),
    "draw": (
        ("to explore in a browser", "draw shop.training:plain -o step.html"),
        ("for other tools", "draw shop.training:plain -o step.graphml"),
    ),
    "diff": (
        ("two versions of a step", "diff shop.training:old shop.training:new"),
        (
            "everything that they do, with a picture",
            "diff shop.training:old shop.training:new --exact --html changes.html",
        ),
        (
            "do the recorded steps mean the same under the versions that are installed now?",
            "diff shop.json",
        ),
    ),
    "record": (
        (
            "record two steps under the installed versions",
            "record shop.training:old shop.training:new -o shop.json",
        ),
    ),
    "init": (
        ("print a contract", "init shop.training:plain"),
        (
            "both branches into a file",
            "init shop.training:main#warmup_on shop.training:main#warmup_off -o a.graph.toml",
        ),
    ),
    "infer": (
        (
            "what two good steps have in common",
            "infer shop.training:small shop.training:large -o shop.graph.toml",
        ),
    ),
    "selfcheck": (
        ("all faults; takes a few minutes", "selfcheck"),
        (
            "one kind of fault, in every kind of model, with every optimizer",
            "selfcheck --fault clip --all",
        ),
    ),
}


def examples(command: str) -> str:
    """Examples of a command, each under what it is for."""
    lines = ["examples:"]
    for purpose, arguments in _EXAMPLES[command]:
        lines += [f"  # {purpose}", f"  loopctl-verify {arguments}"]
    return "\n".join(lines)
