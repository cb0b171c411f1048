# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
from collections.abc import Callable
from imgcourse.data import ImageClassifierData
from imgcourse.learner import Callback, Learner
from imgcourse.nets import KerasNet
from pathlib import Path
from typing import Any

__all__ = [
    'ShortNet', 'StopAfter', 'read_folder', 'collect_pictures', 'cross_predict', 'label_suspects', 'Cleaner',
]

class ShortNet(KerasNet):
    """`TrautNet` with layers deleted: two convolutions with poolings and one dense layer are left."""
    def __init__(self, in_shape: tuple[int, int, int], n_classes: int) -> None: ...

class StopAfter(Callback):
    """Ends a training after the epoch in which its time is over."""
    order: int
    seconds: Any
    start: Any
    def __init__(self, seconds: float) -> None: ...
    def before_fit(self, learn): ...
    def after_epoch(self, learn): ...

def read_folder(
    folder: str | Path,
    bs: int,
    tfms: tuple,
    seed: int = 42,
    on_error: str = 'raise',
    valid: str | Path | None = None,
    valid_pct: float = 0.2,
) -> ImageClassifierData:
    """Data from a folder, however it is split. Raises `ValueError` or `FileNotFoundError` that says what is missing."""

def collect_pictures(folder: str | Path) -> None:
    """In JupyterLab: a field for the name of a class and a button that adds files to it (on a phone it offers the
    camera, too). Elsewhere it says how to do that by hand."""

def cross_predict(
    data: ImageClassifierData,
    train: Callable[[ImageClassifierData], Learner],
    folds: int = 5,
) -> np.ndarray:
    """What is said of each training picture by a net that has not learned from it: as many nets as there are parts,
    each trained on the other parts. Raises `ValueError` for data that are no files."""

def label_suspects(
    data: ImageClassifierData,
    train: Callable[[ImageClassifierData], Learner],
    folds: int = 5,
) -> np.ndarray:
    """Which labels are likely to be wrong: those with the largest losses, each judged by a net that has not learned
    from it (Northcutt, Jiang and Chuang 2021). Raises `ValueError` for data that are no files."""

class Cleaner:
    """Suspicious pictures, and what is to become of each: 'keep', 'delete', or the name of another class. It is a list;
    files are touched by `apply` alone. Raises `ValueError` for data that are no files."""
    choice: Any
    classes: Any
    rows: pd.DataFrame
    def __init__(self, data: ImageClassifierData, rows: pd.DataFrame) -> None: ...
    def changes(self) -> pd.DataFrame:
        """What is not to be kept as it is. Raises `ValueError` for a choice that cannot be."""
    def show(self) -> None:
        """The pictures, and in JupyterLab a list of choices for each."""
    def apply(self, removed: str | Path) -> list[tuple[Path, Path]]:
        """Move the files as chosen, to `removed/class/name` or to the folder of the other class. Raises `ValueError` or
        `FileExistsError`, before anything is moved, if the pictures do not lie in class folders, or one would be
        written over."""
