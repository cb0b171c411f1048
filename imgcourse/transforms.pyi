# Written by tests/stubs.py from the finished classes; not to be edited.
import timm
import torch
from PIL import Image
from collections.abc import Callable, Sequence
from torchvision.transforms import v2
from typing import Any, Literal

__all__ = [
    'resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152', 'resnext50', 'resnext101', 'resnext101_64', 'vgg16',
    'vgg19', 'dn121', 'dn169', 'lite0', 'transforms_basic', 'transforms_side_on', 'transforms_top_down',
    'transforms_shear_zoom', 'arch_name', 'model_cfg', 'MirroredRotation', 'as_tensor', 'PictureTransform', 'pixels',
    'validation_tfm', 'tfms_from_model',
]

resnet18: str
resnet34: str
resnet50: str
resnet101: str
resnet152: str
resnext50: str
resnext101: str
resnext101_64: str
vgg16: str
vgg19: str
dn121: str
dn169: str
lite0: str
transforms_basic: list
transforms_side_on: list
transforms_top_down: list
transforms_shear_zoom: list

def arch_name(arch: str | Callable) -> str:
    """The name of a timm model; raises `ValueError` with the nearest names if there is no such model."""

def model_cfg(arch: str | Callable) -> timm.models.PretrainedCfg:
    """How pictures were prepared when a model was trained, as timm notes it. Raises `ValueError` for an unknown model
    or an unknown tag behind the dot of its name."""

class MirroredRotation(v2.RandomRotation):
    """torchvision's `RandomRotation`, with corners that show the mirrored picture."""
    def transform(self, im, params): ...

def as_tensor(im: Image.Image | torch.Tensor) -> torch.Tensor:
    """A picture as a tensor of bytes. Raises `ValueError` for a tensor of another type."""

class PictureTransform:
    """From a picture to the normalized tensor `(3, sz, sz)` that a model sees."""
    config: Any
    takes_tensors: Any
    steps: Any
    min_side: int
    mean: tuple
    std: tuple
    def __init__(self, steps: list[Callable], min_side: int, mean: Sequence[float], std: Sequence[float]) -> None: ...
    def __call__(self, im: Image.Image) -> torch.Tensor: ...
    def sized(self, im: Image.Image | torch.Tensor) -> torch.Tensor:
        """The steps alone."""
    def __repr__(self) -> str: ...
    def normalize(self, x: torch.Tensor) -> torch.Tensor:
        """From bytes to what a model expects."""
    def finish(self, ims: Sequence[torch.Tensor]) -> torch.Tensor:
        """Make a normalized batch of pictures. Raises `ValueError` if they are not of one size."""
    def denorm(self, x: torch.Tensor) -> torch.Tensor:
        """Undo the normalization, to show what a model sees."""

def pixels(x: torch.Tensor, tfm: Callable) -> torch.Tensor:
    """Pictures as they can be shown: without the normalization, if it is known."""

def validation_tfm(
    mean: Sequence[float],
    std: Sequence[float],
    side: int,
    size: int | None = None,
    squish: bool = False,
    interpolation: str = 'bilinear',
) -> PictureTransform:
    """The transform for validation pictures, made from plain values. Raises `ValueError` for values that cannot be."""

def tfms_from_model(
    arch: str | Callable,
    sz: int,
    aug_tfms: Sequence[Callable] | None = None,
    max_zoom: float | None = None,
    pad: int = 0,
    crop_type: Literal['random', 'center', 'squish'] = 'random',
) -> tuple[PictureTransform, PictureTransform]:
    """The transforms for training and validation pictures, normalized as the model expects. Raises `ValueError` on a
    size or type that cannot be."""
