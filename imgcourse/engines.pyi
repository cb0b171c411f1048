# Written by tests/stubs.py from the finished classes; not to be edited.
import torch
from torch import nn
from typing import Any

__all__ = [
    'fold_batchnorm', 'fast_dtype', 'engine_for', 'Frozen',
]

def fold_batchnorm(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """Fold batch norms into the convolutions before them; the answer stays the same (Jacob et al. 2017, section
    3.2)."""

def fast_dtype(device: str | torch.device) -> torch.dtype:
    """bfloat16 where the device computes with it natively, else float32."""

def engine_for(net: nn.Module, x: torch.Tensor, n: int, exact: bool = False) -> str:
    """The fastest engine for a net, by a race if it is worth while. In several processes the first decides."""

class Frozen(nn.Module):
    """A net on its fastest engine, as long as nothing about it changes; then as it is."""
    bs: Any
    engine: Any
    net: nn.Module
    name: str
    known: Any
    shape: Any
    def __init__(self, net: nn.Module, x: torch.Tensor, n: int, exact: bool = False) -> None: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...
