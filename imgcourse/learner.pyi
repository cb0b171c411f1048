# Written by tests/stubs.py from the finished classes; not to be edited.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from PIL import Image
from accelerate import Accelerator
from accelerate.utils import set_seed
from collections.abc import Callable, Sequence
from imgcourse.batches import PictureDataset
from imgcourse.data import ImageClassifierData
from imgcourse.features import Backbone, Features
from imgcourse.schedule import LRFinder, Schedule
from pathlib import Path
from torch import nn
from torch.utils.data import DataLoader, Dataset
from typing import Any

__all__ = [
    'make_head', 'Callback', 'listed', 'in_order', 'accuracy', 'Learner', 'StopFit', 'MemoryTooSmall', 'Metrics',
    'logprobs', 'score', 'Progress', 'FreeCores', 'accuracy_np', 'plot_bars', 'show_answers', 'FeatureDataset',
    'ConvLearner', 'check_batches', 'set_seed',
]

def make_head(
    n_in: int,
    n_classes: int,
    xtra_fc: Sequence[int] = (512,),
    ps: Sequence[float] = (0.25, 0.5),
    several: bool = False,
) -> nn.Sequential:
    """Batch norm, dropout, linear, ReLU for each extra layer, then the output layer and log-softmax. Raises
    `ValueError` if there is not one dropout for each layer."""

class Callback:
    """Something that happens during training. It may have any of the methods `before_fit`, `before_epoch`,
    `before_pass`, `before_batch`, `before_step`, `after_batch`, `after_pass`, `after_epoch`, `after_fit`, each called
    with the learner. An epoch has two passes: training, validation. A method with a misspelt name is refused."""
    order: int
    keep: tuple
    plan: Any
    in_range_test: bool
    @classmethod
    def __init_subclass__(cls): ...

def listed(given: object) -> list:
    """Several things, or one, as a list."""

def in_order(cbs: Callback | Sequence[Callback]) -> list[Callback]:
    """Callbacks in the order in which they are called. Raises `ValueError` if one is not a callback."""

def accuracy(preds: torch.Tensor, targs: torch.Tensor) -> torch.Tensor:
    """The part of the pictures whose most probable class is the right one."""

class Learner:
    """A model, data for it, and the loop that trains it. Raises `ValueError` for a metric, loss, optimizer, callback or
    setting that cannot be."""
    default_cbs: list
    defaults: dict
    record: Any
    loss_fn: Any
    metrics: Any
    full: nn.Module
    data: ImageClassifierData
    opt_fn: Callable
    cbs: list
    history: list
    precision: str | None
    accumulate: int
    models_path: Path
    accelerator: Accelerator
    sampler: Any
    net: Any
    opt: Any
    stepper: Any
    dls: Any
    run_cbs: list[Callback]
    n_epochs: int
    epoch: Any
    training: bool
    dl: Any
    i: Any
    x: Any
    y: Any
    preds: Any
    loss: Any
    precompute: bool
    def __init__(
        self,
        model: nn.Module,
        data: ImageClassifierData,
        metrics: Callable | Sequence[Callable] | None = None,
        opt_fn: Callable = ...,
        loss_fn: Callable | None = None,
        cbs: Callback | Sequence[Callback] = (),
        precision: str | None = None,
        accumulate: int = 1,
    ) -> None: ...
    @property
    def model(self) -> nn.Module:
        """What is trained and asked. (Some learners train a part only.)"""
    def prepare(self, groups: list[dict]) -> None:
        """Model, optimizer and loaders, ready for training on the device there is, in the learner's `precision`. Raises
        `ValueError` if there is nothing that could learn, or nothing to learn from."""
    def run(self, groups: list[dict], n_epochs: int, cbs: Callback | Sequence[Callback] = ()) -> None:
        """The training that every kind of `fit` comes down to. Raises `MemoryTooSmall` that names a smaller `bs`."""
    def epochs(self) -> None:
        """All epochs that are still to be done."""
    def one_pass(self, training: bool) -> None:
        """Once through the training or the validation pictures."""
    def one_batch(self) -> None:
        """One batch; in training with its gradients and, after every `accumulate` batches, a step of the optimizer."""
    def get_loss(self) -> None:
        """Predictions and loss of a batch."""
    def call(self, moment: str) -> None:
        """Call that method of every callback that has it."""
    def loaders(self) -> tuple[DataLoader, DataLoader]:
        """The batches to learn from, and those to check with."""
    def asked(self, full: bool, n: int) -> nn.Module:
        """What computes the predictions."""
    def set_mode(self, training: bool) -> None:
        """Put the model into training or evaluation mode; frozen layers always stay in evaluation mode."""
    def to_logprobs(self, preds: torch.Tensor) -> torch.Tensor:
        """Logprobs of the model's output: of classes of which one is right, unless the loss says otherwise."""
    def silent(self) -> Learner:
        """From now on it trains without a table of results."""
    def predict_dl(self, dl: DataLoader, full: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Logprobs and targets for all batches of a loader."""
    def predict_with_targs(self, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and right answers, in the order of the data set. Raises `ValueError` if there are no test
        pictures, and if it is given pictures."""
    def predict(self, is_test: bool = False) -> np.ndarray:
        """Logprobs of the validation (or test) pictures, in the order of the data set."""
    def test_loader(self) -> DataLoader:
        """The batches of test pictures."""
    def ask(self, picture: str | Path | Image.Image | np.ndarray | None = None, k: int = 5) -> None:
        """What is in a picture? Shows it with bars for its most probable classes, or, outside of notebooks, prints
        these. Raises `PictureError` or `ValueError` if it is no picture."""
    def show_results(self, n: int = 8, cols: int = 4) -> None:
        """Validation pictures, spread evenly over the set, with the answers and how probable they are; wrong ones in
        red."""
    def identity(self) -> dict:
        """What the weights belong to: the architecture and the classes."""
    def weights_file(self, name: str) -> Path:
        """Where weights of that name lie. Raises `ValueError` for a name that leads out of that folder, or is none."""
    def save(self, name: str) -> Path:
        """Write all weights to `name.safetensors`. Of several processes only the first writes. Raises `ValueError` for
        a name that leads out of `models_path`."""
    def read_weights(self, name: str) -> tuple[dict[str, torch.Tensor], dict]:
        """Read what `save` wrote. Raises `WeightsError` if it belongs to another architecture or other classes, or if
        the file is damaged or no safetensors file."""
    def load(self, name: str) -> None:
        """Take the weights that `save` wrote. Raises `WeightsError` that names what differs, see `read_weights`, or
        which shapes do not fit; then nothing is changed."""
    @property
    def sched(self) -> Schedule | LRFinder:
        """The record of the last training or range test. Raises `AttributeError` if there was none."""
    def lr_find(
        self,
        start_lr: float = 1e-05,
        end_lr: float = 10,
        num_it: int | None = None,
        linear: bool = False,
        stop_div: bool = True,
    ) -> None:
        """The learning rate range test (Smith 2015, section 3.3). Weights, optimizer and random numbers are afterwards
        what they were. Raises `ValueError` on rates or steps that cannot be."""
    def fit(
        self,
        lrs: float | Sequence[float] | slice,
        n_cycle: int = 1,
        cycle_len: int | None = None,
        cycle_mult: int = 1,
        wds: float | Sequence[float] | None = None,
        use_clr: tuple[float, float] | None = None,
        best_save_name: str | None = None,
        cycle_save_name: str | None = None,
        cbs: Callback | Sequence[Callback] = (),
        resume: bool | str = False,
    ) -> None:
        """Train at a constant rate, with warm restarts (SGDR; Loshchilov and Hutter 2016), or in triangular cycles
        (Smith 2015). Raises `ValueError` on numbers that cannot be."""
    def fit_one_cycle(
        self,
        n: int,
        lr: float | Sequence[float] | slice,
        wds: float | Sequence[float] | None = None,
        best_save_name: str | None = None,
        cbs: Callback | Sequence[Callback] = (),
        resume: bool | str = False,
    ) -> None:
        """Train for one cycle of rising and falling rate (Smith 2018); the momentum of SGD or Adam goes from 0.95 to
        0.85 and back. Raises `ValueError` on numbers that cannot be."""
    def predict_ensemble(self, names: Sequence[str], is_test: bool = False) -> np.ndarray:
        """Average the probabilities of several saved states of this learner; its own weights are afterwards what they
        were. Raises `ValueError` if there are no names, `WeightsError` if weights do not fit."""
    @property
    def layer_groups(self) -> list[dict[str, nn.Parameter]]:
        """Names and weights of each layer group, from input to output."""
    def freeze_to(self, n: int) -> None:
        """Freeze all layer groups before number `n`. If a layer of the backbone is to learn, stored features no longer
        fit, and `precompute` is turned off. Raises `ValueError` if there is no such group."""
    def freeze(self) -> None:
        """Freeze all layer groups but the last, the head."""
    def unfreeze(self) -> None:
        """Let all layer groups learn."""
    def show_groups(self) -> pd.DataFrame:
        """The layer groups: their first and last weights, how many numbers they hold, and whether they learn."""
    def param_groups(self, lrs: float | Sequence[float] | slice) -> list[dict]:
        """The weights that learn, group by group (none in groups that are frozen), with learning rates. Raises
        `ValueError` on wrong rates, and if stored features are in the way."""
    def bn_freeze(self, flag: bool) -> None:
        """Keep the running averages of batch norms (those of the backbone, where there is one) as they are, or not."""
    def set_data(self, data: ImageClassifierData) -> None:
        """Go on with other data. Raises `ValueError` if they have other classes or were normalized otherwise; then the
        learner keeps its data."""
    def TTA(self, n_aug: int = 4, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Predictions for the pictures as they are and for `n_aug` augmented views of each, in the order of the data
        set. The views are random; `set_seed` repeats them. Raises `ValueError` if there are no test pictures."""
    def summary(self) -> None:
        """Print the table of layers of the whole model, for pictures as the data have them."""
    def evaluate(self, dl: DataLoader | None = None) -> dict[str, float]:
        """The closing score. Raises `ValueError` if the classes of the pictures are unknown."""
    def save_state(self, name: str) -> Path:
        """After a training: all weights, as `save` writes them, and in the same file optimizer, schedule, history and
        random numbers. Raises `ValueError` if there was no training, or for a name that leads out of the folder."""
    def load_state(self, name: str) -> None:
        """Read what `save_state` wrote: weights, history, random numbers and, after a training, the optimizer's state.
        Raises `WeightsError` that says what is missing, damaged or differs; then nothing is changed."""
    def export(self, file: str | Path) -> Path:
        """Write net, classes and transform into one file. Raises `ValueError` if plain values cannot tell them, or if
        the weights are no finite numbers; then no file is written, and one that was there stays."""

class StopFit(Exception):
    """Raised by a callback to end the training; the message says why."""

class MemoryTooSmall(RuntimeError):
    """For batches of that size. (accelerate's `find_executable_batch_size` knows it, too.)"""
    def __init__(self, bs, e) -> None: ...

class Metrics(Callback):
    """Loss of both passes and the metrics of validation, as a dict in `learn.history` for each epoch."""
    keep: tuple
    row: dict
    loss: Any
    n: int
    seen: list
    def before_epoch(self, learn): ...
    def before_pass(self, learn): ...
    def after_batch(self, learn): ...
    def after_pass(self, learn): ...
    def after_epoch(self, learn): ...

def logprobs(preds: torch.Tensor) -> torch.Tensor:
    """Logprobs of a model's output; a single logit gives those of two classes."""

def score(metrics: dict[str, Callable], preds: torch.Tensor, targs: torch.Tensor) -> dict[str, float]:
    """What each metric says. (Those of torchmetrics remember what they have seen, and are told to forget it.)"""

class Progress(Callback):
    """A row of results for each epoch, and a bar within long passes."""
    order: int
    rows: list
    table: Any
    start: Any
    def before_fit(self, learn): ...
    def before_epoch(self, learn): ...
    def before_pass(self, learn): ...
    def after_epoch(self, learn): ...
    def show_table(self): ...
    def print_line(self): ...

class FreeCores(Callback):
    """Leaves cores that other programs are using to them (`use_free_cores`)."""
    in_range_test: bool
    def before_batch(self, learn): ...

def accuracy_np(preds: np.ndarray, targs: np.ndarray) -> float:
    """`accuracy` for numpy arrays."""

def plot_bars(ax: plt.Axes, classes: Sequence[str], probs: np.ndarray, k: int = 5, right: int | None = None) -> None:
    """Bars for the most probable classes."""

def show_answers(picture: Image.Image, classes: Sequence[str], probs: np.ndarray, k: int = 5) -> None:
    """The picture and bars for its most probable classes, in a notebook; elsewhere a line for each of these."""

class FeatureDataset(Dataset):
    """Stored features with the classes of their pictures; gives whole batches."""
    feats: Any
    y: Any
    def __init__(self, feats: Features, y: np.ndarray) -> None: ...
    def __len__(self) -> int: ...
    def __getitems__(self, idxs: list[int]) -> tuple[torch.Tensor, torch.Tensor]: ...

class ConvLearner(Learner):
    """A pretrained, frozen backbone with a fresh head."""
    backbone: Any
    head: nn.Module
    precompute: bool
    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        data: ImageClassifierData,
        precompute: bool = False,
        **kwargs
    ) -> None: ...
    @property
    def model(self) -> nn.Module:
        """What is trained and asked: the head alone on stored features, or backbone and head on pictures."""
    def identity(self) -> dict:
        """What the weights belong to: the architecture of the backbone and the classes."""
    def loaders(self) -> tuple[DataLoader, DataLoader]:
        """Batches of stored features (those that are missing are computed now), or of pictures."""
    def test_loader(self) -> DataLoader:
        """The batches of test pictures, or of their features."""
    def feature_sets(self, *sets: PictureDataset) -> list[FeatureDataset]:
        """The stored features of the pictures, with their classes; what is missing is computed."""
    def feature_dl(self, ds: FeatureDataset, shuffle: bool = False) -> DataLoader:
        """Batches of stored features."""
    def asked(self, full: bool, n: int) -> nn.Module:
        """What computes the predictions: the model; if its backbone is frozen and many pictures are asked about, with
        that on its fastest engine, in float32. (Not in several processes, nor with a `precision`.)"""
    @classmethod
    def pretrained(
        cls,
        arch: str | Callable,
        data: ImageClassifierData,
        precompute: bool = False,
        xtra_fc: int | Sequence[int] | None = None,
        ps: float | Sequence[float] | None = None,
        weights: str | bool | None = None,
        metrics: Callable | Sequence[Callable] | None = None,
        opt_fn: Callable = ...,
        cbs: Callback | Sequence[Callback] = (),
        loss_fn: Callable | None = None,
        precision: str | None = None,
        accumulate: int = 1,
        **model_args
    ) -> ConvLearner:
        """A learner with a frozen, pretrained backbone and a new head. Raises `ValueError` if model, weights, data or
        head do not fit together."""
    @classmethod
    def from_model(cls, model: nn.Module, data: ImageClassifierData, **kwargs) -> Learner:
        """A learner for a model of your own. Raises `ValueError` if it does not fit the pictures or the classes."""
    @property
    def layer_groups(self) -> list[dict[str, nn.Parameter]]:
        """Names and weights of each layer group: those of the backbone from input to output, and last the head."""

def check_batches(data: ImageClassifierData) -> None:
    """Raises `ValueError` if its batches are of one picture."""
