# Written by tests/stubs.py from the finished classes; not to be edited.
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    'frames', 'rate_figure', 'kernel_grid', 'nine_numbers', 'show_widget', 'pick_picture',
]

def frames(figures: Iterable[plt.Figure], titles: Sequence[str] = (), alt: str = ...) -> None:
    """Show figures of matplotlib as a film with a slider and buttons. Works without a kernel. Raises `ValueError` if
    there are none, one is no figure, or not each has a title."""

def rate_figure(lr: float = 0.1, steps: int = 8) -> None:
    """Show gradient descent on a parabola, with a slider for the learning rate. Works without a kernel. Raises
    `ValueError` for another rate, and for less than one step."""

def kernel_grid(
    picture: Image.Image,
    kernel: str | Sequence[Sequence[float]],
    kernels: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> None:
    """Show a picture in gray, three by three numbers that can be changed, and the sums that they make when they slide
    over the picture. Works without a kernel of Jupyter. Raises `ValueError` for a picture that is none or smaller than
    3 × 3 pixels, and for a kernel that is unknown or not three by three."""

def nine_numbers(kernel: str | Sequence[Sequence[float]], known: Mapping[str, Sequence[Sequence[float]]]) -> np.ndarray:
    """The numbers of a kernel. Raises `ValueError` if it is unknown or not three by three."""

def show_widget(widget: ipywidgets.DOMWidget, otherwise: str) -> None:
    """Show a widget, and where it does not live (any more), a note in its place."""

def pick_picture(then: Callable[[Image.Image], plt.Figure | None], by_name: str = "learn.ask('cat.jpg')") -> None:
    """A button to choose a picture file; what `then` draws about the picture is shown below it."""
