# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
import torch
from collections.abc import Sequence
from imgcourse.data import ImageClassifierData
from imgcourse.features import Backbone
from pathlib import Path

__all__ = [
    'nearest', 'small_copies', 'likeness', 'same_pictures', 'doubtful_labels', 'whole_features', 'in_doubt',
    'check_folder', 'to_clean',
]

def nearest(feats: torch.Tensor, k: int = 5, least: float = 0.7) -> np.ndarray:
    """The pairs of pictures that look most alike to a net."""

def small_copies(files: Sequence[str | Path]) -> torch.Tensor:
    """Small gray copies of pictures, all of one shape."""

def likeness(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest correlation of one picture with a window of the other, whichever is the larger part."""

def same_pictures(data: ImageClassifierData, feats: torch.Tensor, least: float = 0.88) -> pd.DataFrame:
    """Pairs of pictures that are the same, exactly or nearly. Raises `ValueError` for data that are no files."""

def doubtful_labels(data: ImageClassifierData, backbone: Backbone, epochs: int = 4) -> pd.DataFrame:
    """The labels that are in doubt. Raises `ValueError` for data that are no files."""

def whole_features(data: ImageClassifierData, backbone: Backbone) -> torch.Tensor:
    """The stored features of the training pictures and then of those for validation; what is missing is computed."""

def in_doubt(data: ImageClassifierData, backbone: Backbone, seed: int = 42) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Copies, and labels in doubt. Raises `ValueError` for data that are no files."""

def check_folder(folder: str | Path, seed: int = 42, on_error: str = 'skip') -> tuple[pd.DataFrame, pd.DataFrame]:
    """Copies, and labels in doubt, among the pictures of a folder. Raises what `read_folder` does."""

def to_clean(copies: pd.DataFrame, doubts: pd.DataFrame) -> pd.DataFrame:
    """One row for each picture that is a copy or has a label in doubt."""
