# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
from collections.abc import Callable, Sequence
from imgcourse.learner import Callback
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing import Any, NamedTuple

__all__ = [
    'Schedule', 'smooth', 'LRFinder', 'Suggestion', 'SaveBest', 'SaveCycles', 'EarlyStopping',
]

class Schedule(Callback):
    """Changes the learning rate after each step, by a rule, and keeps a record of rates and losses."""
    order: int
    keep: tuple
    make: Callable[[Optimizer, int], LRScheduler]
    rule: Any
    lrs: list
    moms: list
    losses: list
    valid: list
    def __init__(self, make: Callable[[Optimizer, int], LRScheduler]) -> None: ...
    def before_fit(self, learn): ...
    def after_batch(self, learn): ...
    def after_epoch(self, learn): ...
    @property
    def position(self) -> dict: ...
    @position.setter
    def position(self, state): ...
    @property
    def plan(self) -> tuple: ...
    def __getattr__(self, name): ...
    def plot_lr(self) -> None:
        """The learning rate at each step, a line for each group of weights; beside it the momentum, if it changes."""
    def plot_loss(self) -> None:
        """Training loss at each step (thin), smoothed (thick), and validation loss after each epoch."""

def smooth(values: Sequence[float]) -> np.ndarray:
    """Exponentially weighted running average, of which 0.9 stays at each step, without bias towards 0 (Kingma and Ba
    2014, section 3)."""

class LRFinder(Schedule):
    """The learning rate grows; training stops after `num_it` steps or, with `stop_div`, when the loss has become four
    times its lowest value, or infinite."""
    num_it: int
    stop_div: bool
    linear: bool
    avg: Any
    low: Any
    def __init__(self, start_lr: float, end_lr: float, num_it: int, linear: bool, stop_div: bool) -> None: ...
    def before_fit(self, learn): ...
    def after_batch(self, learn): ...
    def check(self, learn): ...
    def suggest(self) -> Suggestion:
        """Rates read off the smoothed losses. Raises `ValueError` if the test ended too soon to tell."""
    def plot(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Loss against learning rate; the rates of `suggest` are marked."""

class Suggestion(NamedTuple):
    """Three learning rates that the range test suggests."""
    steepest: float
    minimum: float
    valley: float

class SaveBest(Callback):
    """Saves the weights after each epoch whose validation loss is the lowest so far, or whose `metric` is the largest
    (of equal ones that with the lower loss)."""
    order: int
    keep: tuple
    name: str
    metric: str | None
    best: Any
    def __init__(self, name: str, metric: str | None = None) -> None: ...
    def before_fit(self, learn): ...
    def after_epoch(self, learn): ...

class SaveCycles(Callback):
    """Saves the weights at the end of each cycle, as `name_cyc_0`, `name_cyc_1`, …"""
    order: int
    name: str
    ends: list[int]
    def __init__(self, name: str, ends: list[int]) -> None: ...
    def after_epoch(self, learn): ...

class EarlyStopping(Callback):
    """Ends training when the validation loss has not fallen for some epochs."""
    order: int
    keep: tuple
    patience: Any
    best: Any
    waited: int
    def __init__(self, patience: int = 3) -> None: ...
    def before_fit(self, learn): ...
    def after_epoch(self, learn): ...
