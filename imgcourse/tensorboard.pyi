# Written by tests/stubs.py from the finished classes; not to be edited.
from imgcourse.learner import Callback, Learner
from pathlib import Path
from typing import Any

__all__ = [
    'TensorBoard',
]

class TensorBoard(Callback):
    """Writes for TensorBoard: loss and learning rates of each training batch, losses and metrics of each epoch, the
    weights that learn as histograms, some pictures, and the graph of the net. Several trainings with one callback
    follow one another."""
    order: int
    keep: tuple
    log_dir: Any
    n_pictures: Any
    batch: int
    epochs: int
    seen: list
    writer: Any
    lrs: list
    groups: list
    def __init__(self, log_dir: str | Path = 'logs/run', n_pictures: int = 16) -> None: ...
    def before_fit(self, learn): ...
    def before_batch(self, learn): ...
    def after_batch(self, learn): ...
    def after_epoch(self, learn): ...
    def after_fit(self, learn): ...
    def open_log(self, learn: Learner) -> None:
        """Begin a log, or go on with it."""
    def close_log(self) -> None:
        """Write what is left, and end it."""
    def write_batches(self) -> None:
        """Write what was noted of each batch."""
    def write_epoch(self, learn: Learner) -> None:
        """Write losses, metrics and weights."""
    def write_net(self, learn: Learner) -> None:
        """Write some validation pictures, if the net is given pictures, and the graph of the net, if it can be
        traced."""
