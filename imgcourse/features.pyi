# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import torch
from collections.abc import Callable, Sequence
from imgcourse.batches import PictureDataset
from pathlib import Path
from torch import nn
from typing import Any

__all__ = [
    'OPTIMIZER', 'Backbone', 'WeightsError', 'write_whole', 'read_whole', 'set_weights', 'load_weights',
    'on_board_weights', 'create_net', 'create_backbone', 'ConcatPool', 'FeatureStore', 'Features', 'features',
    'features_of',
]

OPTIMIZER: str

class Backbone(nn.Module):
    """A timm model without its classifier."""
    model: nn.Module
    arch: str
    model_args: Any
    def __init__(self, model: nn.Module, arch: str = '', model_args: dict | None = None) -> None: ...
    @property
    def made_by(self) -> str:
        """Name and arguments of the model: not all of them can be seen in its layers and weights."""
    def extra_repr(self) -> str: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...
    @property
    def device(self) -> torch.device: ...

class WeightsError(ValueError):
    """Weights that cannot be had or do not fit. The message says what to do."""

def write_whole(tensors: dict[str, torch.Tensor], file: str | Path, about: dict) -> None:
    """Write a safetensors file that is, whatever happens, either the new one or the one that was there; `about` and a
    checksum go with it."""

def read_whole(file: str | Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read a safetensors file. Raises `WeightsError` if it is not there, damaged, or of another kind; a pickle is never
    opened, since it can hold programs."""

def set_weights(
    model: nn.Module,
    tensors: dict[str, torch.Tensor],
    file: str | Path,
    ignore: Sequence[str] = (),
) -> None:
    """Put weights into a model. Raises `WeightsError` that names what is missing, too much, of another shape, or no
    finite number; then nothing is changed."""

def load_weights(model: nn.Module, file: str | Path, ignore: Sequence[str] = ()) -> None:
    """Read all weights of a model from a file. Raises `WeightsError` if the file cannot be read or does not fit."""

def on_board_weights() -> dict[str, torch.Tensor]:
    """ImageNet weights of `lite0` (EfficientNet: Tan and Le 2019; its Lite version: Google 2020; Apache 2.0), from an
    installed package. Raises `WeightsError` if it is missing, or if its file is not the one that it should be; then the
    file is not opened."""

def create_net(arch: str | Callable, weights: str | Path | bool | None = None, **model_args) -> nn.Module:
    """A timm model. Raises `ValueError` for an unknown architecture or argument, and `WeightsError` if the weights
    cannot be had."""

def create_backbone(arch: str | Callable, weights: str | Path | bool | None = None, **model_args) -> Backbone:
    """A timm model without its classifier. Raises `ValueError` for an unknown architecture and `WeightsError` if the
    weights cannot be had."""

class ConcatPool(nn.Module):
    """Average and maximum over all places, side by side: `(n, channels, h, w)` becomes `(n, 2*channels)`, float32."""
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...

class FeatureStore:
    """Rows of float32 on disk, each under a key."""
    folder: Path
    width: int
    row: dict
    n_rows: Any
    index_end: Any
    last_line: Any
    rows: Any
    def __init__(self, folder: str | Path, width: int) -> None: ...
    def read(self) -> FeatureStore:
        """Read what is new in the index, as far as it agrees with the rows."""
    def append(self, keys: list[str], rows: np.ndarray) -> None:
        """Add rows whose keys are new; they are safe on disk when this returns."""

class Features:
    """The pooled features of a data set: indexed like an array `(n, width)` of float32, read from disk as needed."""
    rows: np.ndarray
    order: np.ndarray
    width: Any
    def __init__(self, rows: np.ndarray, order: np.ndarray) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, i) -> np.ndarray: ...

def features(backbone: Backbone, ds: PictureDataset) -> Features:
    """Pooled features of each picture, in the order of the data set; only those are computed that are not on disk yet.
    Raises `ValueError` if the data set is augmented."""

def features_of(backbone: Backbone, sets: Sequence[PictureDataset]) -> list[Features]:
    """`features` of several sets, for which the engine is made once. Raises `ValueError` if one is augmented."""
