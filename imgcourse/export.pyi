# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
import torch
from PIL import Image
from collections.abc import Sequence
from imgcourse.learner import Learner
from imgcourse.nets import KerasNet
from imgcourse.transforms import PictureTransform
from pathlib import Path
from torch import nn
from typing import Any

__all__ = [
    'keras_nets', 'build_net', 'tfm_config', 'Classifier', 'net_config', 'load_learner', 'untouched',
]

def keras_nets() -> dict[str, type[KerasNet]]:
    """The classes of nets in Keras style: those of lessons 6 to 8, and yours. Of several of one name the last
    counts."""

def build_net(config: dict) -> nn.Module:
    """Build the net that a config tells of. Raises `ValueError`, or `TypeError` for wrong arguments, if it is no net
    that is known here."""

def tfm_config(tfm: PictureTransform) -> dict:
    """How pictures are prepared, in plain values. Raises `ValueError` for steps of your own."""

class Classifier:
    """A trained net that is only asked: pictures in, classes out. A picture is a file, a Pillow picture or an array,
    see `as_picture`."""
    model: Any
    classes: list
    tfm: PictureTransform
    shape: Sequence[int] | None
    several: bool
    def __init__(
        self,
        model: nn.Module,
        classes: Sequence[str],
        tfm: PictureTransform,
        shape: Sequence[int] | None = None,
        several: bool = False,
    ) -> None: ...
    def logits(self, pictures: Sequence) -> torch.Tensor:
        """What the net says, computed in float32. Raises `PictureError` or `ValueError` for what is no picture."""
    def predict(self, pictures: Sequence) -> np.ndarray:
        """Logprobs of some pictures: of the classes, of which one is right; or of each of several labels."""
    def to_logprobs(self, logits: torch.Tensor) -> torch.Tensor:
        """What the model says, as logprobs."""
    def top(self, picture: str | Path | Image.Image | np.ndarray, k: int = 5) -> pd.DataFrame:
        """What is in the picture?"""
    def ask(self, picture: str | Path | Image.Image | np.ndarray, k: int = 5) -> None:
        """What is in a picture? Shows it with bars for its most probable classes, or, outside of notebooks, prints
        these. Raises `PictureError` or `ValueError` if it is no picture."""
    def to_onnx(self, file: str | Path) -> Path:
        """Write ONNX: input `pixels`, uint8 `(n, height, width, 3)`, output `logits`, float32 `(n, classes)`; classes
        and transform (null, if plain values cannot tell it) are noted in it. Raises `RuntimeError` if onnxruntime does
        not say the same as the net, and `ValueError` for a transform that does more to the pixels than to normalize
        them."""
    def look(self, picture: Image.Image) -> dict:
        """What is in the picture, and where the net looked, in plain values."""

def net_config(learn: Learner) -> dict:
    """How a learner's net is built, in plain values. Raises `ValueError` if these cannot tell it, or if a net that is
    built anew from them gives another answer."""

def load_learner(file: str | Path) -> Classifier:
    """Read an exported net. Raises `WeightsError` if the file is damaged, of another kind or of another format, or if
    it tells of a net that does not belong to its weights; programs in it are never run."""

def untouched(arch: str = ..., weights: str | Path | None = None, **model_args) -> Classifier:
    """A pretrained net as it is, with its classifier. Raises `ValueError` if nobody has noted what its outputs are
    called."""
