# Written by tests/stubs.py from the finished classes; not to be edited.
from PIL import Image
from imgcourse.batches import PictureDataset
from imgcourse.learner import Learner
from io import BytesIO
from pathlib import Path

__all__ = [
    'RowDataset', 'push_to_hub',
]

class RowDataset(PictureDataset):
    """A `PictureDataset` of rows of `datasets`, whose column `image` is not decoded; `key(i)` is a hash of the file."""
    def content(self, i: int) -> BytesIO:
        """The file of a row."""
    def picture(self, i: int) -> Image.Image: ...
    def key(self, i: int) -> str: ...
    def name(self, i: int) -> str: ...

def push_to_hub(net: Learner | str | Path, repo: str, private: bool = False) -> str:
    """Put a net on Hugging Face's hub, with a page about it. Raises `WeightsError` or `ValueError` for what is no net
    that can be exported, and what `huggingface_hub` raises where it is not reached or you are not logged in."""
