# Written by tests/stubs.py from the finished classes; not to be edited.
import torch
from imgcourse.data import ImageClassifierData
from imgcourse.learner import Callback
from pathlib import Path
from typing import Any, Literal

__all__ = [
    'balanced_accuracy', 'WeightedLoss', 'Mix', 'Average', 'Track',
]

def balanced_accuracy(preds: torch.Tensor, targs: torch.Tensor) -> torch.Tensor:
    """The mean of the accuracies of the classes, of those that occur."""

class WeightedLoss:
    """Cross-entropy in which rare classes weigh more."""
    weights: Any
    smoothing: Any
    def __init__(self, data: ImageClassifierData, label_smoothing: float = 0.0) -> None: ...
    def __call__(self, preds: torch.Tensor, targs: torch.Tensor) -> torch.Tensor:
        """The mean over the pictures, each with the weight of its class."""
    def __repr__(self) -> str: ...

class Mix(Callback):
    """Trains on mixtures of pictures and of their labels: MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019). Stored
    features can be mixed, too, but not cut."""
    in_range_test: bool
    order: int
    plan: str
    kind: Literal['mixup', 'cutmix']
    alpha: Any
    mixer: Any
    def __init__(self, kind: Literal['mixup', 'cutmix'] = 'mixup', alpha: float = 0.2) -> None: ...
    def before_fit(self, learn): ...
    def before_batch(self, learn): ...

class Average(Callback):
    """Validates, and ends, with a running average of the weights (EMA; Polyak and Juditsky 1992), which timm's
    `ModelEmaV3` keeps. Not together with `resume`: a checkpoint holds the weights alone."""
    order: int
    decay: Any
    plan: str
    own: dict | None
    steps: int
    ema: Any
    def __init__(self, decay: float = 0.99) -> None: ...
    def before_fit(self, learn): ...
    def after_batch(self, learn): ...
    def before_pass(self, learn): ...
    def after_epoch(self, learn): ...
    def after_fit(self, learn): ...

class Track(Callback):
    """Sends losses and metrics of each epoch to a tracker, by accelerate. Raises `ValueError` for an unknown one, and
    where its package is missing."""
    order: int
    options: Any
    make: Any
    settings: Any
    project: str
    tracker: Any
    def __init__(
        self,
        tracker: str,
        project: str = 'imgcourse',
        settings: dict[str, Any] | None = None,
        folder: str | Path = 'runs',
        **options
    ) -> None: ...
    def before_fit(self, learn): ...
    def after_epoch(self, learn): ...
    def after_fit(self, learn): ...
