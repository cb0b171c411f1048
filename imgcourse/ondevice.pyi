# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import torch
from PIL import Image
from collections.abc import Callable, Sequence
from imgcourse.batches import ArrayDataset
from imgcourse.transforms import PictureTransform
from typing import Any

__all__ = [
    'BatchTransform', 'TensorPictures', 'random_shift', 'random_flip', 'alternating_flip', 'random_crop', 'cutout',
]

class BatchTransform(PictureTransform):
    """Normalizes whole batches where they lie, and augments them there."""
    base: PictureTransform
    aug: list
    def __init__(self, base: PictureTransform, aug: Sequence[Callable] = ()) -> None: ...
    def __call__(self, im: Image.Image) -> torch.Tensor: ...
    def batch(self, x: torch.Tensor, idxs: torch.Tensor, epoch: int, g: torch.Generator) -> torch.Tensor:
        """Normalized pictures, augmented by one function after the other."""
    def __repr__(self) -> str: ...

class TensorPictures(ArrayDataset):
    """Pictures of one size in one tensor on any device; gives normalized and augmented batches there."""
    on_device: bool
    sampler: Any
    names: Any
    targets: Any
    def __init__(self, items: torch.Tensor, y: np.ndarray, tfm: BatchTransform, augmented: bool = False) -> None: ...
    def __getitems__(self, idxs: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch."""
    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]: ...
    def picture(self, i: int) -> Image.Image: ...
    def key(self, i: int) -> str: ...
    def name(self, i: int) -> str: ...

def random_shift(
    x: torch.Tensor,
    idxs: torch.Tensor,
    epoch: int,
    g: torch.Generator,
    part: float = 0.1,
) -> torch.Tensor:
    """Shift each picture of a batch by up to `part` of its sides, each way; its edge pixels fill what is left (as
    Keras's ImageDataGenerator does)."""

def random_flip(x: torch.Tensor, idxs: torch.Tensor, epoch: int, g: torch.Generator) -> torch.Tensor:
    """Mirror each picture of a batch with a chance of one half."""

def alternating_flip(x: torch.Tensor, idxs: torch.Tensor, epoch: int, g: torch.Generator) -> torch.Tensor:
    """Mirror each picture in every other epoch, half of them in the even ones (Jordan 2024): two epochs of a training
    show all pictures both ways."""

def random_crop(x: torch.Tensor, idxs: torch.Tensor, epoch: int, g: torch.Generator, pad: int = 2) -> torch.Tensor:
    """Shift each picture of a batch by up to `pad` whole pixels, each way; beyond its edges it is mirrored."""

def cutout(x: torch.Tensor, idxs: torch.Tensor, epoch: int, g: torch.Generator, size: int = 8) -> torch.Tensor:
    """Erase a square of `size` pixels somewhere in each picture of a batch (DeVries and Taylor 2017)."""
