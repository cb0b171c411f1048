# Written by tests/stubs.py from the finished classes; not to be edited.
from PIL import Image
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    'painters', 'shapes', 'breeds', 'drawings', 'sketchsets', 'contact_sheet', 'draw_sketch', 'draw_breed', 'SketchSet',
    'write_tables', 'make_sketches', 'drawn_by',
]

painters: dict
shapes: dict
breeds: dict
drawings: Any
sketchsets: dict

def contact_sheet(imgs: list, cols: int = 8) -> Image.Image:
    """`imgs` side by side in rows of `cols`."""

def draw_sketch(kind: str, seed: int | str, sz: int = 128) -> Image.Image:
    """Draw one picture. Raises `ValueError` for a `kind` without a painter."""

def draw_breed(shape: str, fur: str, marking: str, seed: int | str, sz: int = 128) -> Image.Image:
    """Draw a dog of a breed. Raises `ValueError` for a shape, fur or marking that does not exist."""

@dataclass
class SketchSet:
    """A labelled collection."""
    classes: dict
    sz: int = ...
    n_train: int = ...
    n_valid: int = ...
    table: bool = ...
    valid_name: str = ...

def write_tables(folder: Path, jobs: list) -> None:
    """Write the labels of the pictures in `folder/train` and `folder/test`, sorted by their names, into two CSV
    files."""

def make_sketches(
    name: str,
    dest: str | Path,
    seed: int = 42,
    n_train: int | None = None,
    n_valid: int | None = None,
) -> Path:
    """Draw a set into `dest/train/cats/cat.0.jpg` and so on; a table into `dest/train`, `dest/test`, `dest/labels.csv`,
    and (what a competition keeps secret) `dest/test_labels.csv`. Raises `ValueError` for an unknown `name`,
    `FileExistsError` if `dest` exists."""

def drawn_by() -> str:
    """A digest of what the sketches are drawn by: the text of this module and the drawings."""
