"""Names and texts from elsewhere, so that no terminal and no program acts on what is in them.

Names of variables, ops, steps and files come from graphs and files that anybody may have written,
and go into terminals, logs, XML, HTML and TOML. Each is made printable once, where it enters.
"""

from __future__ import annotations

import unicodedata

# Controls and surrogates; formats, which turn text around or hide in it; line separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_COMMANDS = {"::": "\\x3a:", "##[": "\\x23#["}  # what GitHub takes for a workflow command


def printable(name: str) -> str:
    """A name with escapes for all that is no letter, digit, mark or plain space; one line.

    Different names stay different: a backslash is doubled.
    """
    if name.isascii() and name.isprintable() and not any(c in name for c in "\\#:"):
        return name
    return _harmless("".join(r"\\" if c == "\\" else _seen(c) for c in name))


def printable_text(text: str) -> str:
    """A text of several lines, as of an error, with the same escapes; lines stay lines.

    What is printable already is left as it is.
    """
    lines = ("".join(map(_seen, line.expandtabs())) for line in text.split("\n"))
    return "\n".join(map(_harmless, lines))


def _seen(character: str) -> str:
    code = ord(character)
    # The last two characters of each plane are none, and no XML may hold them.
    if unicodedata.category(character) not in _UNSEEN and code & 0xFFFE != 0xFFFE:
        return character
    if character in "\n\r\t":
        return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _harmless(line: str) -> str:
    line = line.replace("##[", _COMMANDS["##["])
    begin = line.lstrip()
    if begin.startswith("::"):
        return line[: len(line) - len(begin)] + _COMMANDS["::"] + begin[2:]
    return line
