"""The colour of each cluster of a step, in every kind of picture."""

from verify.kinds import KINDS

_BASE = {
    "input": "#e9ecef",
    "forward": "#cfe2ff",
    "backward": "#d8f0e3",
    "optimizer": "#fff3a3",
    "metrics and state": "#eeeeee",
}


def _in_order() -> dict[str, str]:
    """All clusters in the order in which a step runs through them."""
    found: dict[str, str] = {}
    for name, colour in _BASE.items():
        own = [kind.cluster for kind in KINDS if kind.cluster is not None]
        found |= {cluster.name: cluster.colour for cluster in own if cluster.before == name}
        found[name] = colour
    return found


CLUSTERS = tuple(_in_order())
COLOURS = {**_in_order(), "branch": "#fdf0fb"}
