"""``loopctl-verify``: what can be asked of training steps on the command line.

In: arguments. Out: `main`, which prints and gives an exit status.
May import: all other rooms, when a command needs them.
"""

from __future__ import annotations

import argparse
import os
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
exit status: 0 all is as it should be, 1 it is not, 2 a wrong call or an unreadable contract

a TARGET is package.module:factory, where the factory returns what verify.assert_graph takes (a
compiled model, a tf.function, ...), alone or in a tuple with its arguments; #name after it means an
attribute of that: shop.training:controlled#warmup_on. Or it is the path of a SavedModel
(#signature) or of a GraphDef.

loopctl-verify COMMAND --help has examples of each. Your shell completes commands and options after
eval "$(register-python-argcomplete loopctl-verify)", if argcomplete is installed.
"""


__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    parser = Parser(
        prog="loopctl-verify",
        description="Says what TensorFlow training steps do, and gates changes to them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=versions())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_to(commands)
    for name, command in commands.choices.items():
        command.epilog = examples(name)
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
