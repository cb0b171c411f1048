# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import torch
from PIL import Image
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from torch.utils.data import Dataset, Sampler
from typing import Any, Literal

__all__ = [
    'Part', 'Seeded', 'Shuffle', 'InOrder', 'keep_random_state', 'as_target', 'PictureDataset', 'as_is',
    'loader_processes', 'FileDataset', 'ArrayDataset', 'check_split', 'warn_of_doubts', 'two_folders', 'split_folder',
    'folders_of_parts', 'get_cv_idxs', 'read_labels', 'class_numbers', 'check_options', 'read_table', 'read_several',
    'check_arrays',
]

Part = tuple[Sequence, np.ndarray]

class Seeded(int):
    """The number of a picture, with a `seed` for its augmentation."""
    seed: int
    def __new__(cls, i: int, seed: int): ...
    def __getnewargs__(self): ...

class Shuffle(Sampler):
    """All numbers from 0 to `n - 1` in random order, each with a seed of its own. Order and seeds follow from `seed`
    and the epoch; with `seed=None` a new seed is drawn each time."""
    n: int
    seed: Any
    epoch: int
    def __init__(self, n: int) -> None: ...
    def set_epoch(self, epoch: int) -> None: ...
    def __len__(self) -> int: ...
    def order(self, g: torch.Generator) -> torch.Tensor: ...
    def __iter__(self) -> Iterator[Seeded]: ...

class InOrder(Shuffle):
    """The numbers from 0 to `n - 1` in their order, each with a seed of its own: for augmented pictures whose
    predictions are wanted."""
    def order(self, g: torch.Generator) -> torch.Tensor: ...

@contextmanager
def keep_random_state(gpus: Sequence[int] | None = None) -> Iterator[None]:
    """Whatever random numbers are drawn within, those drawn after it are the same: Python's, numpy's, torch's."""

def as_target(y: np.ndarray) -> int | torch.Tensor:
    """What a picture is to be recognized as, as PyTorch has it."""

class PictureDataset(Dataset):
    """Pictures with their classes; an item is `(tensor (3, sz, sz), class number)`. `items` are files or arrays, as the
    subclass says."""
    on_device: bool
    items: Sequence
    y: np.ndarray
    tfm: Callable
    augmented: bool
    def __init__(self, items: Sequence, y: np.ndarray, tfm: Callable, augmented: bool = False) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]: ...
    def __getitems__(self, idxs: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch."""
    def source(self, i): ...

def as_is(batch: tuple) -> tuple:
    """A `collate_fn` for data sets that give whole batches."""

def loader_processes(n: int, ds: Dataset, bs: int) -> int:
    """How many processes can make batches. A warning says so if they cannot."""

class FileDataset(PictureDataset):
    """A `PictureDataset` of files: `picture(i)` decodes one, `key(i)` is its `file_key`, `name(i)` its path."""
    def picture(self, i: int) -> Image.Image: ...
    def source(self, i): ...
    def key(self, i: int) -> str: ...
    def name(self, i: int) -> str: ...

class ArrayDataset(PictureDataset):
    """A `PictureDataset` of arrays `(height, width, 1 or 3)`, uint8; `key(i)` is a hash of the pixels."""
    def picture(self, i: int) -> Image.Image: ...
    def key(self, i: int) -> str: ...
    def name(self, i: int) -> str: ...

def check_split(trn_y: np.ndarray, val_y: np.ndarray, classes: Sequence[str]) -> None:
    """Raises `ValueError` if there are too few pictures or classes, or some that cannot be learnt."""

def warn_of_doubts(
    files: Sequence[str],
    y: np.ndarray,
    is_val: np.ndarray,
    classes: Sequence[str],
    prints: np.ndarray,
) -> None:
    """Warn of what may be a mistake: the same picture twice, names that look alike, classes of very different sizes."""

def two_folders(
    path: str | Path,
    trn_name: str,
    val_name: str,
    test_name: str | None,
    on_error: Literal['raise', 'skip'],
) -> tuple[Part, Part, list[str], list[Path] | None]:
    """Read a training and a validation folder. Raises `ValueError` if they hold different classes."""

def split_folder(
    path: str | Path,
    valid_pct: float = 0.2,
    seed: int = 42,
    on_error: Literal['raise', 'skip'] = 'raise',
    least: int = 2,
) -> tuple[Part, Part, list[str]]:
    """Split one folder of class folders at random. Raises `ValueError` if a class has a single picture."""

def folders_of_parts(names: Iterable[str]) -> tuple[str | None, str | None]:
    """Which folders are called train and valid, or nearly so?"""

def get_cv_idxs(n: int, cv_idx: int = 0, val_pct: float = 0.2, seed: int = 42) -> np.ndarray:
    """Random row numbers for validation; the folds 0, 1, … of one seed do not overlap. Raises `ValueError` if there is
    no such fold."""

def read_labels(
    csv_fname: str | Path,
    folder: str | Path,
    suffix: str = '',
    may_be_empty: bool = False,
) -> tuple[list[str], list[str]]:
    """The files and labels of a CSV. Raises `ValueError` that names the row and column of an empty field, a duplicate
    id or a missing file."""

def class_numbers(labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Which classes there are, and which of them each label is."""

def check_options(tfms: tuple[Callable, Callable] | None, bs: int) -> None:
    """Raises `ValueError` if there are no transforms, or no such batches."""

def read_table(
    path: str | Path,
    folder: str,
    csv_fname: str | Path,
    val_idxs: Sequence[int] | None,
    suffix: str,
    test_name: str | None,
    on_error: Literal['raise', 'skip'],
) -> tuple[Part, Part, list[str], list[Path] | None]:
    """Read a table of labels and split its rows. Raises `ValueError` on an incomplete table, and on classes that
    validation has and training has not."""

def read_several(
    path: str | Path,
    folder: str,
    csv_fname: str | Path,
    val_idxs: Sequence[int] | None,
    suffix: str,
    test_name: str | None,
    on_error: Literal['raise', 'skip'],
    label_delim: str,
) -> tuple[Part, Part, list[str], list[Path] | None]:
    """`read_table` for several labels in a field: in place of class numbers float32 `(n, classes)`, 1 for each
    label."""

def check_arrays(
    trn: Part,
    val: Part,
    classes: Sequence[str] | None,
    test: np.ndarray | None,
) -> tuple[Part, Part, list[str], np.ndarray | None]:
    """Arrays of pictures and class numbers, as they should be. Raises `ValueError` on shapes, types or ranges that do
    not fit."""
