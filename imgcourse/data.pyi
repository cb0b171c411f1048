# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
from collections.abc import Callable, Sequence
from imgcourse.batches import Part, PictureDataset
from pathlib import Path
from typing import Any, Literal

__all__ = [
    'ImageClassifierData',
]

class ImageClassifierData:
    """Training, validation and perhaps test pictures, their classes, and the loaders that make batches of them. Made by
    `from_paths`, `from_folder`, `from_csv` or `from_arrays`."""
    several: bool
    num_workers: Any
    path: Path
    classes: list[str]
    c: int
    tfms: tuple[Callable, Callable]
    bs: Any
    trn_y: Any
    val_y: Any
    trn_ds: Any
    fix_ds: Any
    aug_ds: Any
    val_ds: Any
    test_aug_ds: Any
    test_ds: Any
    trn_dl: Any
    fix_dl: Any
    val_dl: Any
    test_dl: Any
    aug_dl: Any
    test_aug_dl: Any
    def __init__(
        self,
        path: str | Path,
        trn: Part,
        val: Part,
        classes: list[str],
        tfms: tuple[Callable, Callable],
        bs: int = 64,
        test: Sequence | None = None,
        kind: type[PictureDataset] = ...,
        num_workers: int | None = None,
    ) -> None: ...
    def __repr__(self) -> str: ...
    def set_bs(self, bs: int) -> None:
        """From now on the batches are of this size. Raises `ValueError` if it cannot be."""
    @classmethod
    def from_paths(
        cls,
        path: str | Path,
        bs: int = 64,
        tfms: tuple[Callable, Callable] | None = None,
        trn_name: str = 'train',
        val_name: str = 'valid',
        test_name: str | None = None,
        on_error: Literal['raise', 'skip'] = 'raise',
        num_workers: int | None = None,
    ) -> ImageClassifierData:
        """Data from a folder with training and validation folders. Raises `ValueError` if they hold different
        classes."""
    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        valid_pct: float = 0.2,
        seed: int = 42,
        bs: int = 64,
        tfms: tuple[Callable, Callable] | None = None,
        on_error: Literal['raise', 'skip'] = 'raise',
        num_workers: int | None = None,
    ) -> ImageClassifierData:
        """Data from one folder of class folders, split by a hash of the file names. Raises `ValueError` if a class has
        a single picture."""
    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        folder: str,
        csv_fname: str | Path,
        bs: int = 64,
        tfms: tuple[Callable, Callable] | None = None,
        val_idxs: Sequence[int] | None = None,
        suffix: str = '',
        test_name: str | None = None,
        on_error: Literal['raise', 'skip'] = 'raise',
        num_workers: int | None = None,
        label_delim: str | None = None,
    ) -> ImageClassifierData:
        """Data from a table of ids and labels. Raises `ValueError` on an incomplete table, and on classes that
        validation has and training has not."""
    @classmethod
    def from_arrays(
        cls,
        path: str | Path,
        trn: Part,
        val: Part,
        bs: int = 64,
        tfms: tuple[Callable, Callable] | None = None,
        classes: Sequence[str] | None = None,
        test: np.ndarray | None = None,
        num_workers: int | None = None,
    ) -> ImageClassifierData:
        """Data from arrays of pictures and class numbers. Raises `ValueError` on shapes, types or ranges that do not
        fit."""
    def class_counts(self) -> pd.DataFrame:
        """How many pictures each class has."""
    def names_of(self, y: np.ndarray) -> str:
        """What a picture shows, in words."""
    def check_class(self, y: int) -> int:
        """Raises `ValueError` that names the classes if there is no class of that number."""
    def show_batch(self, n: int = 8, cols: int = 4) -> None:
        """Show random training pictures with their classes. Random numbers drawn later are not changed by it."""
    def add_classes(
        self,
        folder: str | Path,
        valid_pct: float = 0.2,
        seed: int = 42,
        on_error: str = 'raise',
    ) -> ImageClassifierData:
        """Data with further classes from a folder of class folders. Raises `ValueError` if a class is there already,
        and for data that are no files."""
    def on_device(self, aug: Sequence[Callable] = ()) -> ImageClassifierData:
        """Read every picture once, with the transform for validation, into one tensor on the device (GPU, or the
        processor's memory). Raises `ValueError` if they are not of one size, or if `aug` is not for batches."""
    @classmethod
    def from_datasets(
        cls,
        source: Any,
        valid: Any = None,
        image: str | None = None,
        label: str | None = None,
        bs: int = 64,
        tfms: tuple[Callable, Callable] | None = None,
        valid_pct: float = 0.2,
        seed: int = 42,
    ) -> ImageClassifierData:
        """Data from Hugging Face's datasets. Raises `ValueError` for columns and labels that are not there,
        `PictureError` that names the rows that cannot be read."""
