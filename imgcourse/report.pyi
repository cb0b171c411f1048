# Written by tests/stubs.py from the finished classes; not to be edited.
from imgcourse.learner import Learner
from pathlib import Path

__all__ = [
    'report', 'train_folder',
]

def report(learn: Learner, file: str | Path, notes: dict[str, object] | None = None) -> Path:
    """Write a page on a trained net that needs no other file and no network: figures, curves, classes, confusion
    matrix, best and worst pictures."""

def train_folder(
    folder: str | Path,
    out: str | Path = 'imgcourse-net',
    arch: str = ...,
    weights: str | None = None,
    sz: int | None = None,
    epochs: int = 10,
    finetune: int = 0,
    bs: int | None = 32,
    seed: int = 42,
    on_error: str = 'raise',
    model_args: dict | None = None,
) -> tuple[Path, Path, float]:
    """Train a classifier for a folder of pictures. Raises `ValueError` or `OSError` before the training if something is
    wrong with the folder or the settings, and `MemoryTooSmall` where a smaller `bs` may do."""
