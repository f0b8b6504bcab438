"""Pictures in a window, a page each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inalu.plots.figures import WIDTH
from inalu.plots.seeds import HEIGHT, Pictures

if TYPE_CHECKING:
    from matplotlib.backend_bases import Event
    from matplotlib.figure import Figure


class NoDisplayError(Exception):
    """No window can be opened here."""


def show(drawn: Pictures) -> None:
    """Open a window for all pictures, and wait until it is closed.

    Args:
        drawn: of `inalu.plots.seeds.pictures`.

    Raises:
        ImportError: matplotlib is missing.
        NoDisplayError: there is no display, or matplotlib is set to a backend without windows.
    """
    from matplotlib import pyplot

    try:
        figure = pyplot.figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    except ImportError as error:
        # Of a backend that MPLBACKEND names, such as a notebook's.
        raise NoDisplayError(f"matplotlib can't load its backend: {error}") from error
    if figure.canvas.required_interactive_framework is None:
        pyplot.close(figure)
        raise NoDisplayError(
            f"no display was found, and matplotlib's {pyplot.get_backend()} opens no window"
        )
    pages = Pages(figure, drawn)
    figure.canvas.mpl_connect("key_press_event", pages.turn)
    pyplot.show()


class Pages:
    """Pictures, of which a figure shows one: Page Down turns to the next, Page Up back."""

    def __init__(self, figure: Figure, drawn: Pictures) -> None:
        self.figure, self.drawn, self.page = figure, drawn, 0
        self._draw()

    def turn(self, event: Event) -> None:
        """React to a key."""
        step = {"pagedown": 1, "pageup": -1}.get(getattr(event, "key", ""), 0)
        if step:
            self.page = (self.page + step) % len(self.drawn)
            self._draw()

    def _draw(self) -> None:
        name = list(self.drawn)[self.page]
        self.figure.clear()
        self.drawn[name](self.figure)
        if manager := self.figure.canvas.manager:
            place = f"{self.page + 1} of {len(self.drawn)}"
            manager.set_window_title(f"{name}, {place}: Page Up, Page Down")
        self.figure.canvas.draw_idle()
