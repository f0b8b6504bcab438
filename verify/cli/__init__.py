"""``loopctl-verify``: what can be asked of training steps on the command line.

In: arguments. Out: `main`, which prints and gives an exit status.
May import: all other rooms, when a command needs them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from verify import __version__
from verify.cli import check, diff, draw, infer, init, lint, record, selfcheck, show
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

examples:
  loopctl-verify lint shop.training:controlled
  loopctl-verify show shop.training:controlled#warmup_on
  loopctl-verify init shop.training:plain -o shop.graph.toml
  loopctl-verify infer shop.training:small shop.training:large
  loopctl-verify record shop.training:controlled -o shop.json
  loopctl-verify diff shop.json
  loopctl-verify check --format github
"""


__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="loopctl-verify",
        description="Says what TensorFlow training steps do, and gates changes to them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"loopctl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_to(commands)
    options = parser.parse_args(arguments)
    import_tensorflow()
    try:
        status: int = options.run(options)
    except ContractError as error:
        print(printable_text(str(error)), file=sys.stderr)
        return 2
    except OSError as error:
        told = f"{error.filename or 'output'}: {error.strerror or error}"
        print(printable_text(told), file=sys.stderr)
        return 2
    return status
