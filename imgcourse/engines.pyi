# Written by tests/stubs.py from the finished classes; not to be edited.
import torch
from collections.abc import Callable
from torch import nn
from typing import Any

__all__ = [
    'fold_batchnorm', 'fast_dtype', 'at_once', 'checked_engine', 'Frozen', 'engine_for', 'version_of',
]

def fold_batchnorm(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """Fold batch norms into the convolutions before them; the answer stays the same (Jacob et al. 2017, section
    3.2)."""

def fast_dtype(device: str | torch.device) -> torch.dtype:
    """bfloat16 where the device computes with it natively, else float32."""

def at_once(x: torch.Tensor) -> int:
    """How many such pictures an engine computes at once. With more, a processor needs more memory, and is no faster."""

def checked_engine(net: nn.Module, x: torch.Tensor, name: str) -> Callable | None:
    """An engine for a net. Why there is none stands in the log."""

class Frozen(nn.Module):
    """A net on its fastest engine, as long as nothing about it changes; then as it is. (Not seen is a change through
    `.data` of a weight, or of a layer's plain attribute, such as `eps`.)"""
    net: nn.Module
    name: str
    engine: Any
    known: Any
    threads: Any
    def __init__(self, net: nn.Module, name: str) -> None: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

def engine_for(net: nn.Module, x: torch.Tensor, n: int, exact: bool = False) -> str:
    """The fastest engine for a net, by a race if it is worth while."""

def version_of(package: str) -> str | None:
    """The version of a package."""
