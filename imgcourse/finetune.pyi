# Written by tests/stubs.py from the finished classes; not to be edited.
import torch
from collections.abc import Sequence
from imgcourse.learner import Callback
from torch import nn

__all__ = [
    'split_layers', 'spread_rates', 'BnFreeze', 'binary_loss', 'Averages', 'dense_head',
]

def split_layers(model: nn.Module) -> list[dict[str, nn.Parameter]]:
    """Group the weights of a model by depth: by timm's own `group_matcher`, or by top-level layers."""

def spread_rates(lrs: float | Sequence[float] | slice, n: int) -> list[float]:
    """Learning rates for layer groups. Raises `ValueError` if their number or their values are wrong."""

class BnFreeze(Callback):
    """Keeps the running averages of a backbone's batch norms as they are, also in layers that learn."""
    in_range_test: bool
    def before_pass(self, learn): ...

def binary_loss(preds: torch.Tensor, targs: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy for a model with one output: the logit of class 1."""

class Averages(nn.Module):
    """The first half of `ConcatPool`'s features, `(n, 2*channels)` to `(n, channels)`: global average pooling."""
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

def dense_head(n_in: int, n_hidden: int = 1024) -> nn.Sequential:
    """Global average pooling, a dense layer with ReLU, one output."""
