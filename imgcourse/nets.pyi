# Written by tests/stubs.py from the finished classes; not to be edited.
import torch
from collections.abc import Sequence
from imgcourse.learner import Callback, Progress
from torch import nn
from typing import Any, NamedTuple

__all__ = [
    'keras_kinds', 'KerasNet', 'classifier', 'SimpleNet', 'check_shape', 'LayerRow', 'layer_rows', 'summary',
    'TrainingAccuracy', 'KerasProgress', 'GlobalMaxPool2d', 'ConvNet', 'ConvLayer', 'ConvNet2', 'Add', 'ResLayer',
    'ResNet', 'NormLayer', 'NormRes', 'Scale', 'FastNet',
]

keras_kinds: dict

class KerasNet(nn.Sequential):
    """Layers, one after the other, with what Keras's `compile` adds: a loss and an optimizer. Raises `ValueError` if
    pictures of that shape are too small for the layers."""
    smoothing: int
    made_by: tuple
    in_shape: tuple[int, int, int]
    def __new__(cls, *args, **kwargs): ...
    def __init__(self, in_shape: tuple[int, int, int], *layers: nn.Module) -> None: ...
    def __getitem__(self, i): ...
    def loss(self, preds: torch.Tensor, targs: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, and the penalty on the kernels of layers that have an `l2`."""
    def summary(self) -> None:
        """Print the table of layers."""
    def learner_args(self) -> dict:
        """What the net brings along: arguments for a `Learner`."""

def classifier(n_in: int, n_classes: int) -> list[nn.Module]:
    """The last two layers: a score for each class, then the logarithm of softmax."""

class SimpleNet(KerasNet):
    """Dense layers with ReLU."""
    def __init__(self, in_shape: tuple[int, int, int], layers: Sequence[int], n_classes: int) -> None: ...

def check_shape(in_shape: tuple[int, int, int], layers: Sequence[int]) -> None:
    """Raises `ValueError` if they are not what they should be."""

class LayerRow(NamedTuple):
    """A line of the table."""
    name: str
    kind: str
    shape: tuple
    params: int
    inputs: list[str]

def layer_rows(model: nn.Module, in_shape: tuple[int, int, int]) -> list[LayerRow]:
    """A row for each layer that a picture passes through."""

def summary(model: nn.Module, in_shape: tuple[int, int, int]) -> None:
    """Print the table of layers as Keras does; where layers are not simply one after the other, with what they are
    connected to."""

class TrainingAccuracy(Callback):
    """Adds 'training accuracy' to each row of `learn.history`: of all batches of the epoch, each as it was before its
    step."""
    order: int
    keep: tuple
    right: Any
    n: int
    def before_pass(self, learn): ...
    def after_batch(self, learn): ...
    def after_epoch(self, learn): ...

class KerasProgress(Progress):
    """Two lines for each epoch, as Keras prints them."""
    def after_epoch(self, learn): ...

class GlobalMaxPool2d(nn.Module):
    """The largest value of each channel: `(n, channels, height, width)` to `(n, channels)`."""
    keras_kind: str
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

class ConvNet(KerasNet):
    """Convolutions of stride 2 without padding, then global max pooling."""
    def __init__(self, in_shape: tuple[int, int, int], layers: Sequence[int], n_classes: int) -> None: ...

class ConvLayer(nn.Module):
    """Convolution of 3×3 pixels with 'same' padding, ReLU, batch norm, in this order."""
    conv: Any
    relu: Any
    norm: Any
    l2: float
    def __init__(self, n_in: int, filters: int, stride: int = 1, l2: float = 0) -> None: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

class ConvNet2(KerasNet):
    """A convolution of 5×5 pixels, then `ConvLayer`s of stride 2, then global max pooling."""
    def __init__(self, in_shape: tuple[int, int, int], layers: Sequence[int], n_classes: int) -> None: ...

class Add(nn.Module):
    """The sum of its inputs, which have one shape: a skip connection that hooks and summaries can see."""
    def forward(self, *xs: torch.Tensor) -> torch.Tensor: ...

class ResLayer(ConvLayer):
    """A `ConvLayer` whose output is added to its input (He et al. 2015)."""
    add: Add
    def __init__(self, filters: int, l2: float = 0) -> None: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

class ResNet(KerasNet):
    """A convolution of 7×7 pixels, then a `ConvLayer` of stride 2 and two `ResLayer`s for each further size."""
    def __init__(
        self,
        in_shape: tuple[int, int, int],
        layers: Sequence[int],
        n_classes: int,
        l2: float = 1e-06,
        p: float = 0.1,
    ) -> None: ...

class NormLayer(nn.Sequential):
    """Convolution, max pooling over `pool` pixels, batch norm, GELU, in this order."""
    def __init__(self, n_in: int, filters: int, pool: int = 1) -> None: ...

class NormRes(nn.Module):
    """Two `NormLayer`s whose output is added to their input."""
    first: NormLayer
    second: NormLayer
    add: Add
    def __init__(self, filters: int) -> None: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

class Scale(nn.Module):
    """Multiplies by a constant."""
    by: float
    def __init__(self, by: float) -> None: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

class FastNet(KerasNet):
    """A small residual net for one-cycle training (after Page 2018 and Jordan 2024); its loss is cross-entropy with
    smoothed labels, its optimizer SGD with Nesterov momentum."""
    smoothing: float
    def __init__(self, in_shape: tuple[int, int, int], layers: Sequence[int], n_classes: int) -> None: ...
