# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
from PIL import Image
from collections.abc import Sequence
from imgcourse.data import ImageClassifierData
from pathlib import Path
from typing import Any

__all__ = [
    'submission', 'Quiz', 'show_lists',
]

def submission(csv_fname: str | Path, data: ImageClassifierData, probs: np.ndarray) -> pd.DataFrame:
    """Write a competition's table of probabilities, check what was written, and only then give the file its name.
    Raises `ValueError` if the numbers or the ids do not fit."""

class Quiz:
    """Some validation pictures at random, with a few names each. The learner guesses, then the machine answers."""
    idxs: Any
    options: list
    guesses: Any
    data: ImageClassifierData
    def __init__(self, data: ImageClassifierData, n: int = 9, k: int = 4) -> None: ...
    def picture(self, i: int) -> Image.Image: ...
    def show(self, titles: Sequence[str], colors: Sequence[str] = ()) -> None:
        """The pictures, three in a row."""
    def ask(self) -> None:
        """Show the pictures with their names, and in JupyterLab a list of these for each."""
    def answers(self, probs: np.ndarray) -> None:
        """Show what the pictures are, what the machine and what the learner took them for, and both scores. Raises
        `ValueError` for a guess that is no class."""

def show_lists(choices: dict | list, keys: Sequence, options: Sequence[Sequence[str]], cols: int) -> None:
    """In JupyterLab: numbered lists to choose from."""
