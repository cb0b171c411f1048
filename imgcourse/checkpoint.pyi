# Written by tests/stubs.py from the finished classes; not to be edited.
from imgcourse.learner import Callback, Learner
from typing import Any

__all__ = [
    'random_state', 'set_random_state', 'Checkpoint', 'StopAtNaN', 'Clip',
]

def random_state() -> dict:
    """The state of Python's, numpy's and torch's random numbers."""

def set_random_state(state: dict) -> None:
    """Go on with random numbers from there."""

class Checkpoint(Callback):
    """Keeps a training in files, and goes on with one that was stopped; `ValueError` if that one had another plan."""
    order: int
    name: str
    part: Any
    run_plan: Any
    slot: Any
    number: Any
    due: Any
    skip: Any
    start: Any
    kept: tuple | None
    done: bool
    def __init__(self, name: str = 'run', part: float = 0.05) -> None: ...
    def before_fit(self, learn): ...
    def file(self, learn, slot): ...
    def read(self, learn, slot): ...
    def go_on(self, learn: Learner, number: int, slot: int, kept: tuple) -> None:
        """Go on from a checkpoint. Raises `ValueError` if it belongs to another plan."""
    def before_pass(self, learn: Learner) -> None:
        """Skip the batches that were done before the run was stopped."""
    def before_batch(self, learn: Learner) -> None:
        """Put back what was kept, before the first batch; later write, when it is time."""
    def put_back(self, learn: Learner) -> None:
        """Put back what callbacks, optimizer and random numbers were."""
    def after_fit(self, learn: Learner) -> None:
        """Write at the end, also where a callback has ended the training early."""
    def write(self, learn: Learner, epoch: int, batch: int) -> None:
        """Write to the place that was not written last (of several processes only the first does); but never weights
        that are not numbers."""

class StopAtNaN(Callback):
    """Stops with `FloatingPointError` when the loss is no longer a finite number, and puts back the last good
    weights."""
    order: int
    total: Any
    good: Any
    next: Any
    def before_fit(self, learn): ...
    def before_batch(self, learn): ...
    def copy(self, learn): ...
    def after_batch(self, learn): ...
    def after_pass(self, learn): ...
    def after_epoch(self, learn): ...
    def check(self, learn: Learner) -> None:
        """Are all losses finite so far? Then the weights before the last ones are good."""
    def stop(self, learn: Learner) -> None:
        """Put back the good weights, and raise."""

class Clip(Callback):
    """Shortens the gradient of all weights together to a greatest length (Pascanu et al. 2013)."""
    in_range_test: bool
    length: Any
    plan: str
    def __init__(self, length: float = 1.0) -> None: ...
    def before_step(self, learn): ...
