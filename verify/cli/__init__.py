"""``loopctl-verify``: what can be asked of training steps on the command line.

In: arguments. Out: `main`, which prints and gives an exit status.
May import: all other rooms, when a command needs them.
"""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Sequence

from loopctl_shared import versions
from verify.cli import check, diff, draw, infer, init, lint, record, selfcheck, show
from verify.cli.examples import examples
from verify.cli.parsers import Parser, complain
from verify.cli.quiet_start import import_tensorflow
from verify.errors import ContractError
from verify.printable import printable_text

_COMMANDS = (check, lint, show, draw, diff, record, init, infer, selfcheck)
_EPILOG = """\
exit status: 0 if everything is as it should be, 1 if not, 2 for a wrong call or an unreadable
contract

A TARGET is package.module:factory. The factory is a function without arguments that returns what
verify.assert_graph takes (a compiled model, a tf.function, ...), alone or in a tuple with its
arguments. To use an attribute of what it returns, add #name: shop.training:controlled#warmup_on.
A TARGET can also be the path of a SavedModel (with #signature) or of a GraphDef.

loopctl-verify COMMAND --help shows examples of each command. For tab completion, install
argcomplete and run: eval "$(register-python-argcomplete loopctl-verify)"
"""


__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    parser = Parser(
        prog="loopctl-verify",
        description="Shows what TensorFlow training steps do, and checks that they keep doing it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=versions())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_to(commands)
    for name, command in commands.choices.items():
        command.epilog = examples(name)
        command.description = textwrap.fill(command.description or "", 100)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    try:
        import_tensorflow()
    except ImportError as error:
        complain(str(error))
        return 2
    try:
        status: int = options.run(options)
    except ContractError as error:
        complain(printable_text(str(error)))
        return 2
    except OSError as error:
        told = f"{error.filename or 'output'}: {error.strerror or error}"
        complain(printable_text(told))
        return 2
    return status
