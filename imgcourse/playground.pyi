# Written by tests/stubs.py from the finished classes; not to be edited.
import matplotlib.pyplot as plt
import torch
from collections.abc import Sequence
from imgcourse.nets import KerasNet
from torch import nn
from typing import Any, Literal

__all__ = [
    'dots', 'Playground', 'PlainNet', 'MaxNormLinear', 'TrautNet',
]

def dots(kind: Literal['circles', 'moons', 'blobs'], n: int = 200, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Blue and orange dots in the plane, from scikit-learn. Raises `ValueError` for another kind."""

class Playground:
    """A net of a few neurons that learns to tell blue from orange dots (after Smilkov et al. 2017, the TensorFlow
    Playground)."""
    settings: dict
    x: Any
    y: Any
    layers: Any
    opt: Any
    epoch: int
    def __init__(
        self,
        kind: Literal['circles', 'moons', 'blobs'] = 'circles',
        hidden: Sequence[int] = (4, 2),
        lr: float = 0.03,
        seed: int = 0,
    ) -> None: ...
    def neurons(self, x: torch.Tensor) -> list[torch.Tensor]:
        """How strongly each neuron responds."""
    def loss(self) -> torch.Tensor:
        """Cross-entropy of all dots."""
    def step(self, epochs: int = 1) -> None:
        """Some steps of the optimizer."""
    def figure(self) -> plt.Figure:
        """Draw the net with its weights, and its decision surface."""
    def train(self, epochs: int = 100, n_frames: int = 8) -> None:
        """Train, and show how the network changes. Raises `ValueError` if a number is below 1."""

class PlainNet(KerasNet):
    """Two pairs of convolutions, each followed by pooling and dropout, then a dense layer (Keras's example for
    CIFAR-10, as in *Plain English*)."""
    def __init__(self, in_shape: tuple[int, int, int], layers: Sequence[int], n_classes: int) -> None: ...

class MaxNormLinear(nn.Linear):
    """A linear layer whose weights, as one vector for each output, are cut back to the length `max_norm` (Srivastava et
    al. 2014): in training the weights themselves, otherwise a copy."""
    max_norm: int
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

class TrautNet(KerasNet):
    """Traut's net: four convolutions with dropout and batch norm, two poolings, three dense layers, the first with a
    limit on its weights."""
    def __init__(self, in_shape: tuple[int, int, int], n_classes: int) -> None: ...
