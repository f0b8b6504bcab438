"""Draws what the presets' programs learn: ``python -m examples docs/presets`` (two minutes)."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples import annealed, corridor, distilled, flat, penalty, private, tuning, views

PROGRAMS = (annealed, corridor, distilled, flat, penalty, private, tuning, views)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        path = folder / f"{program.__name__.rpartition('.')[2]}.png"
        program.picture().savefig(path)
        print(path)


if __name__ == "__main__":
    main()
