"""The colour of each part of a step, in every kind of picture."""

COLOURS = {
    "input": "#e9ecef",
    "forward": "#cfe2ff",
    "loss": "#ffe5b4",
    "regularization": "#e7d8ff",
    "backward": "#d8f0e3",
    "clip": "#ffc6c6",
    "optimizer": "#fff3a3",
    "metrics and state": "#eeeeee",
    "branch": "#fdf0fb",
}
