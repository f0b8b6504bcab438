"""How the command line is called, and how it says what is wrong with a call."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

A_TARGET = "package.module:factory, with #name for an attribute, or a file (loopctl-verify --help)"


class Parser(argparse.ArgumentParser):
    """One whose errors are told as all others of the command are."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        complain(f"{self.prog}: error: {message}")
        sys.exit(2)


def complain(text: str) -> None:
    """Tells on stderr what is wrong; red on a terminal, unless NO_COLOR is set, else plain."""
    if not sys.stderr.isatty():
        print(text, file=sys.stderr)
        return
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
    console.print(text, style="bold red", markup=False)
