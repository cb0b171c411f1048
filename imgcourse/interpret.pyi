# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
from collections.abc import Callable, Sequence
from imgcourse.data import ImageClassifierData
from typing import Any

__all__ = [
    'Interpretation', 'Comparison', 'over_seeds',
]

class Interpretation:
    """What a classifier says about the validation pictures, and where it is right, wrong or unsure."""
    preds: Any
    correct: bool
    losses: Any
    data: ImageClassifierData
    y: Any
    log_preds: np.ndarray
    probs: Any
    def __init__(self, data: ImageClassifierData, log_preds: np.ndarray) -> None: ...
    def rand_by_correct(self, is_correct: bool, n: int = 4) -> np.ndarray:
        """Pictures at random among the right or the wrong ones."""
    def rand_by_class(self, y: int, n: int = 4) -> np.ndarray:
        """Pictures at random of a class."""
    def most_by_correct(self, y: int, is_correct: bool, n: int = 4) -> np.ndarray:
        """The pictures of a class about which the net is surest, and right or wrong."""
    def most_uncertain(self, n: int = 4) -> np.ndarray:
        """The pictures whose two most probable classes are nearest to one another."""
    def plot_val_with_title(self, idxs: Sequence[int], title: str = '', cols: int = 4) -> None:
        """Show validation pictures with the probability of the second class, or, for more than two classes, the
        predicted class and its probability."""
    def confusion_matrix(self, plot: bool = False) -> np.ndarray:
        """How many pictures of each class were taken for which."""
    def most_confused(self, n: int = 9) -> pd.DataFrame:
        """The pairs of classes that are mixed up most often."""
    def top_losses(self, n: int = 9) -> pd.DataFrame:
        """The pictures with the largest losses, the largest first."""
    def plot_calibration(self, n_bins: int = 10) -> float:
        """A reliability plot: how probable the predicted classes were, and how often they were right (Guo et al.
        2017)."""

class Comparison:
    """What several nets say of the same validation pictures."""
    data: ImageClassifierData
    nets: dict
    def __init__(self, data: ImageClassifierData, log_preds: dict[str, np.ndarray]) -> None: ...
    def table(self) -> pd.DataFrame:
        """How good the nets are, and how sure of themselves."""
    def pick(self, right: Sequence[str] = (), wrong: Sequence[str] = (), n: int = 3) -> np.ndarray:
        """Pictures that all nets of `right` got right and all of `wrong` got wrong; first those whose answers are
        surest. Raises `ValueError` for an unknown name."""
    def plot_scores(self, idxs: Sequence[int], k: int = 4) -> None:
        """Each picture with its class, and beside it, for each net, the probabilities of the classes that it holds for
        most probable."""

def over_seeds(runs: dict[str, Callable[[], float]], seeds: Sequence[int] = (1, 2, 3)) -> pd.DataFrame:
    """Is a gain more than luck? Trains each variant once with each seed, and compares seed by seed."""
