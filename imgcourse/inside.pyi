# Written by tests/stubs.py from the finished classes; not to be edited.
import matplotlib.pyplot as plt
import torch
from collections.abc import Sequence
from imgcourse.learner import Learner
from torch import nn
from typing import Any

__all__ = [
    'kernels', 'slide', 'conv_layers', 'show_filters', 'activations', 'show_activations', 'Peaks', 'log_odds',
    'last_maps', 'heat_map', 'show_heat', 'show_heat_maps', 'hide_pixels',
]

kernels: dict

def slide(picture: torch.Tensor, kernel: str | Sequence[Sequence[float]] | torch.Tensor) -> torch.Tensor:
    """Slide a kernel over a picture: at each place the sum of nine products. Raises `ValueError` for an unknown kernel,
    one that is not three by three, and a picture that is no gray one."""

def conv_layers(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions of a net, by their names."""

def show_filters(model: nn.Module, x: torch.Tensor, n: int = 4) -> None:
    """Draw kernels of the first convolution, each stretched to the full range of colors, and below each what it makes
    of the picture. Raises `ValueError` if the net does not take colored pictures."""

def activations(model: nn.Module, x: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """What the layers of a net say of some pictures. Raises `ValueError` for an unknown name, and if these are no net
    and no pictures."""

def show_activations(model: nn.Module, x: torch.Tensor, names: Sequence[str], n: int = 4) -> None:
    """Draw the strongest maps of some layers, bright where they respond. Raises `ValueError` for a layer whose outputs
    are no maps."""

class Peaks:
    """Where, in each validation picture, each filter of a layer is strongest."""
    value: Any
    place: Any
    learn: Learner
    layer: str
    def __init__(self, learn: Learner, layer: str) -> None: ...
    def maps(self, x): ...
    def piece(self, i: int, k: int, least: float = 0.05) -> torch.Tensor:
        """The piece of picture `i` that activates filter `k` most. Raises `ValueError` if `least` is no such part."""
    def show(self, filters: Sequence[int], n: int = 4) -> None:
        """For each filter the pieces that activate it most, each from another picture."""

def log_odds(preds: torch.Tensor) -> torch.Tensor:
    """How much speaks for each class against all others."""

def last_maps(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """The last layer whose outputs are maps with more than one place (for the `Backbone` of a transformer: tokens).
    Raises `ValueError` if there is none."""

def heat_map(model: nn.Module, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
    """Where the reasons for a class lie: Grad-CAM (Selvaraju et al. 2017) on the last maps of a net. (The tokens of a
    transformer are laid out as a square.) Raises `ValueError` for a net without maps, and for classes that it does not
    have."""

def show_heat(ax: plt.Axes, heat: torch.Tensor) -> None:
    """Lay a heat map over a picture, the hotter the less transparent."""

def show_heat_maps(learn: Learner, idxs: Sequence[int], cols: int = 3) -> None:
    """Pictures with heat maps of the net's own answers; titles say the class, and where it was wrong what it was taken
    for."""

def hide_pixels(x: torch.Tensor, scores: torch.Tensor, part: float = 0.25) -> torch.Tensor:
    """Hide the pixels with the highest scores. Raises `ValueError` if part or scores do not fit."""
