"""``draw``: a picture of a step."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from verify.cli.parsers import A_TARGET


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "draw",
        help="draw a step: HTML to explore, SVG, PNG, GraphML, DOT or a TensorBoard graph",
        description="Draws a step. The name of the file decides the format: .html (a single file "
        "to explore in a browser), .svg, .png, .graphml, .dot, or a folder for TensorBoard.",
    )
    parser.add_argument("target", metavar="TARGET", help=A_TARGET)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="*.html, *.svg, *.png, *.graphml, *.dot, or a folder",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from verify.contracts import captured, subject_from
    from verify.picture import write

    write(captured(subject_from(options.target)), options.output)
    print(options.output)
    return 0
