# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
import torch
from collections.abc import Sequence
from imgcourse.data import ImageClassifierData
from pathlib import Path

__all__ = [
    'draw_several', 'SeveralLoss', 'f1', 'best_thresholds', 'label_table',
]

def draw_several(dest: str | Path, n: int = 400, seed: int = 42) -> Path:
    """Draw pictures with one to three of five things, or none, into `dest/train`, and `dest/labels.csv`. Raises
    `FileExistsError` if `dest` exists."""

class SeveralLoss:
    """Binary cross-entropy of logits, each label for itself."""
    def __call__(self, logits: torch.Tensor, targs: torch.Tensor) -> torch.Tensor: ...
    @staticmethod
    def logprobs(logits) -> torch.Tensor:
        """The logprob of each label."""

def f1(preds: torch.Tensor, targs: torch.Tensor) -> torch.Tensor:
    """The mean of the labels' F1, where a label is given if its probability is above 0.5; torchmetrics computes it."""

def best_thresholds(log_preds: np.ndarray, y: np.ndarray) -> np.ndarray:
    """From which probability on each label is best given: where its F1 is the highest. Raises `ValueError` if there are
    not as many logprobs as answers."""

def label_table(
    data: ImageClassifierData,
    log_preds: np.ndarray,
    thresholds: float | Sequence[float] = 0.5,
) -> pd.DataFrame:
    """How well each label is told. Raises `ValueError` for data with one class a picture, and another number of
    rows."""
