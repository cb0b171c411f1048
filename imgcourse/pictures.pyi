# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import torch
from PIL import Image
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tqdm import tqdm
from typing import Any, BinaryIO, Literal, NamedTuple

__all__ = [
    'picture_suffixes', 'to_rgb', 'PictureError', 'read_picture', 'read_pixels', 'as_picture', 'as_bytes',
    'ProgressBar', 'in_threads', 'Looked', 'look_at', 'use_free_cores', 'steady_threads', 'warn_user', 'check_pictures',
    'list_pictures', 'pictures_by_class', 'show_images', 'sharp_figures', 'check_number',
]

picture_suffixes: tuple

def to_rgb(im: Image.Image) -> Image.Image:
    """Convert any picture to RGB: transparency is laid on white, 16-bit pixels are scaled to 0 to 255, and so are
    floats and 32-bit numbers, from 0 to the first of 1, 255, 65,535 that holds them. Raises `ValueError` for pixels
    that are no finite numbers."""

class PictureError(ValueError):
    """A file that cannot serve as a picture. The message names each file and what is wrong with it."""

def read_picture(path: str | Path | BinaryIO, min_side: int | None = None) -> Image.Image:
    """Read a picture of any kind. Raises `PictureError` if it is damaged, no picture, smaller than 4 pixels, a strip
    over 50 times as long as wide, or so large that reading it would take over 1.5 GB."""

def read_pixels(path: str | Path, min_side: int | None = None) -> torch.Tensor:
    """What `read_picture` reads, as a tensor. Raises `PictureError` as it does."""

def as_picture(picture: str | Path | Image.Image | np.ndarray, min_side: int | None = None) -> Image.Image:
    """One picture, whatever it comes as. Raises `PictureError` for a file that is no picture, and `ValueError` for
    anything else that is no picture."""

def as_bytes(x: np.ndarray, name: str) -> np.ndarray:
    """Pixels as bytes. Raises `ValueError` for other types and ranges."""

class ProgressBar(tqdm):
    """How far long work is: a line of text that shows after a second and goes away at the end (tqdm's, by Casper da
    Costa-Luis). In a pipe or a file it is a plain line each half a minute."""
    shown: Any
    ended: dict
    plain: Any
    def __init__(self, items: Iterable | None = None, desc: str | None = None, **kwargs) -> None: ...
    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Called by tqdm."""

def in_threads(f: Callable, items: Iterable) -> Iterator:
    """`map` in several threads, each with some items at a time; in one, where others work beside it already: in a
    process that loads data, and in such a thread. After an error no thread is at work any more."""

class Looked(NamedTuple):
    """What became of some files that were looked at."""
    bad: dict[Path, str]
    prints: np.ndarray

def look_at(files: Sequence[str | Path]) -> Looked:
    """Decode every file that is new or changed since it was last found good, and tell which fail."""

def use_free_cores() -> None:
    """Let torch compute with as many threads as there are cores that other programs leave free, one at least. To be
    called often; it looks once a second. Where the user has set a number of threads, no more are used, and where
    OMP_NUM_THREADS is set, nothing is changed."""

def steady_threads() -> int:
    """How many threads torch has; for ten seconds after `use_free_cores` has changed that, how many it had before."""

def warn_user(message: str) -> None:
    """A warning that points at the line of the program which called this package (our own command is such a
    program)."""

def check_pictures(files: Sequence[str | Path], on_error: Literal['raise', 'skip'] = 'raise') -> Looked:
    """Check that all files can be read as pictures; raises one `PictureError` that names all that cannot."""

def list_pictures(folder: str | Path) -> list[Path]:
    """All pictures below a folder; warns of other files. Raises `OSError` if it, or a folder in it, cannot be
    opened."""

def pictures_by_class(folder: str | Path, least: int = 2) -> dict[str, list[Path]]:
    """The pictures in a folder of class folders. Raises `FileNotFoundError` or `ValueError` if there is no such folder,
    fewer than `least` classes, or an empty class."""

def show_images(
    ims: Sequence,
    titles: Sequence[str] = (),
    cols: int = 4,
    side: float = 1.8,
    colors: Sequence[str] = (),
    size: float = 9,
    **how
) -> np.ndarray:
    """Pictures in rows, each with its title above."""

def sharp_figures(quality: int = 60) -> None:
    """In a notebook, matplotlib's figures come with two dots for each pixel of the page: those with pictures as JPEG,
    lines and bars as PNG, which keeps edges sharp. Elsewhere nothing changes."""

def check_number(
    value: Any,
    name: str,
    what: str,
    least: float = 0,
    most: float = ...,
    above: bool = False,
    below: bool = False,
    whole: bool = False,
) -> Any:
    """Raises `ValueError` that names the parameter and what it may be, unless it is a number within the range."""
