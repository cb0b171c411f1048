# Written by tests/stubs.py from the finished classes; not to be edited.
import torch
from PIL import Image
from collections.abc import Sequence
from http.server import ThreadingHTTPServer
from imgcourse.export import Classifier
from pathlib import Path
from torch import nn
from typing import Any

__all__ = [
    'Placed', 'shrink_weights', 'photos_on_board', 'write_net', 'browser_runtime', 'publish', 'PageServer', 'serve',
]

class Placed(nn.Module):
    """A net that also says what it would answer at each place of its last maps, as Zhou and others (2016) do for linear
    heads. Raises `ValueError` for a net that is not made of maps, pooling and a head."""
    model: nn.Module
    def __init__(self, model: nn.Module, x: torch.Tensor) -> None: ...
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...

def shrink_weights(file: str | Path, least: int = 300000) -> None:
    """Keep the weights of an ONNX file with 8 and 16 bits instead of 32; it computes with 32 as before."""

def photos_on_board() -> dict[str, Image.Image]:
    """Four free photos: Chelsea the cat (Stefan van der Walt, CC0) and coffee (Rachel Michetti, CC0) from scikit-image,
    a flower (vultilion, CC BY 2.0) and a temple (danielbuechele, CC BY 2.0) from scikit-learn."""

def write_net(net: Classifier, file: str | Path) -> Path:
    """Write a net for a browser: ONNX with two outputs, `logits` and, if it has them, `places`; its weights are
    small."""

def browser_runtime(runtime: str | Path | None = None, url: str = ...) -> list[Path]:
    """The files of ONNX Runtime Web. Raises `DownloadError`, and `ValueError` for a folder that has others."""

def publish(
    net: Classifier,
    folder: str | Path,
    title: str = 'What is in the picture?',
    examples: Sequence[str | Path] | dict[str, Image.Image] | None = None,
    runtime: str | Path | None = None,
) -> Path:
    """Write a page that asks the net in the browser of whoever opens it: a folder for any server of files. Raises
    `ValueError` for a net that a page cannot ask and for a folder with other files, `DownloadError`, `PictureError`."""

class PageServer(ThreadingHTTPServer):
    """Shows the page of `publish` on this computer, and answers instead of the browser."""
    daemon_threads: bool
    page: dict
    address: str
    net: Any
    one: Any
    room: Any
    def __init__(self, net: Classifier, title: str = 'What is in the picture?', port: int = 0) -> None: ...
    def handle_error(self, request, client_address) -> None:
        """A page that was closed meanwhile is no error; others are said by what asked."""
    def answer(self, content: bytes) -> dict:
        """What the net says. Raises `PictureError`."""

def serve(net: Classifier, title: str = 'What is in the picture?', port: int = 8300, show: bool = True) -> None:
    """Show the page on this computer until Ctrl-C. Raises `OSError` if no port is free."""
