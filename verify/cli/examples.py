"""What each command is called with, for its ``--help``."""

from __future__ import annotations

_EXAMPLES = {
    "check": (
        ("every *.graph.toml below this folder", "check"),
        (
            "one file; contracts that allow more than is there are broken, too",
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
            "all steps of a file of contracts, but for one rule",
            "lint shop.graph.toml --ignore V203",
        ),
        ("what a rule is about", "lint --explain V101"),
    ),
    "show": (
        ("a compiled model's step", "show shop.training:plain"),
        (
            "a branch of a controlled one, for a program",
            "show shop.training:controlled#warmup_on --format json",
        ),
        ("a SavedModel's function", "show export/1#serving_default"),
    ),
    "draw": (
        ("to look at in a browser", "draw shop.training:plain -o step.html"),
        ("for other tools", "draw shop.training:plain -o step.graphml"),
    ),
    "diff": (
        ("two ways to train", "diff shop.training:old shop.training:new"),
        (
            "all that they do, with a picture",
            "diff shop.training:old shop.training:new --exact --html changes.html",
        ),
        ("what was recorded, under the versions that are installed now", "diff shop.json"),
    ),
    "record": (
        (
            "what two steps are under these versions",
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
        ("a few minutes", "selfcheck"),
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
