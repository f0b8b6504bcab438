"""The colour of each cluster of a step, in every kind of picture.

People who see no red, no green or no blue can tell them apart too (tests/verify/picture/
test_colours.py), and no picture says anything by colour alone.
"""

import colorsys

from verify.kinds import KINDS

_BASE = {
    "input": "#dfdfe0",
    "forward": "#d5e9ff",
    "backward": "#b7f1ca",
    "optimizer": "#f1f074",
    "metrics and state": "#c0c0c0",
    "unused": "#ffffff",
}


def _in_order() -> dict[str, str]:
    """All clusters in the order in which a step runs through them."""
    found: dict[str, str] = {}
    for name, colour in _BASE.items():
        own = [kind.cluster for kind in KINDS if kind.cluster is not None]
        found |= {cluster.name: cluster.colour for cluster in own if cluster.before == name}
        found[name] = colour
    return found


def by_night(colour: str) -> str:
    """A fill of the same hue, dark enough for light text; what is stronger by day is lighter."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    mixed = colorsys.hls_to_rgb(hue, 0.1 + 0.4 * (1 - light), min(saturation, 0.8))
    return "#" + "".join(f"{round(255 * part):02x}" for part in mixed)


CLUSTERS = tuple(_in_order())
COLOURS = {**_in_order(), "branch": "#fdf0fb"}
MARKS = {"added": "#a9d3f0", "touched": "#e8f3fb", "gone": "#ffd9b8"}
"""The colours of what differs between two steps."""
