"""Whether a tag is that of a release that is ready, and what its page says.

``python ci/release.py v0.2.0 --notes notes.md`` ends with 1 if it is not, and tells why.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def amiss(tag: str, root: Path) -> list[str]:
    """What does not say that this version is released."""
    version = tag.removeprefix("v")
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    cited = (root / "CITATION.cff").read_text("utf-8")
    recipe = (root / "conda" / "recipe.yaml").read_text("utf-8")
    told = []
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        told.append(f"{tag} is no version; a tag is written v1.2.3, or v1.2.3rc1")
    if project["version"] != version:
        told.append(f"pyproject.toml: version is {project['version']}, not {version}")
    if not re.search(rf"^version: {re.escape(version)}$", cited, re.MULTILINE):
        told.append(f"CITATION.cff: no line says `version: {version}`")
    if f'  version: "{version}"\n' not in recipe:
        told.append(f'conda/recipe.yaml: no line says `version: "{version}"`')
    if not notes(version, root):
        told.append(
            f"CHANGELOG.md: no section is headed `## {version} (2026-01-31)`, or it is empty"
        )
    return told


def notes(version: str, root: Path) -> str:
    """The changelog's section on a version; empty if there is none."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    heading = rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)\n(.*?)(?=^## |\Z)"
    found = re.search(heading, text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag", help="v and a version: v0.2.0")
    parser.add_argument("--notes", type=Path, metavar="FILE", help="write the changelog's section")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    told = amiss(options.tag, options.root)
    if told:
        print("\n".join(told), file=sys.stderr)
        return 1
    if options.notes is not None:
        text = notes(options.tag.removeprefix("v"), options.root)
        options.notes.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
