# Written by tests/stubs.py from the finished classes; not to be edited.
import numpy as np
import pandas as pd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = [
    'sealed', 'Verdict', 'as_numbers', 'Near', 'Between', 'Choice', 'Items', 'Calls', 'seal', 'unseal', 'judge',
    'exercises', 'check', 'progress_file', 'solved', 'progress',
]

sealed: dict

class Verdict(NamedTuple):
    """What is said of an answer."""
    word: str
    why: str

def as_numbers(answer: object) -> np.ndarray | None:
    """An answer as numbers, whatever it comes as."""

@dataclass
class Near:
    """A number, or an array of numbers (a shape, too), within a tolerance."""
    value: object
    right: str
    rel: float = ...
    abs: float = ...
    mistakes: Sequence[tuple] = ...
    def look(self, answer: object) -> Verdict:
        """Compares an answer with the value, with the known mistakes, and with slips."""
    def slip(self, given: np.ndarray, value: np.ndarray) -> str:
        """What a wrong answer lacks, if it is little."""

@dataclass
class Between:
    """A number, or several, each within its bounds."""
    least: object
    most: object
    right: str
    mistakes: Sequence[tuple] = ...
    def look(self, answer: object) -> Verdict:
        """Compares an answer with the bounds."""

@dataclass
class Choice:
    """One letter among several."""
    value: str
    right: str
    others: dict[str, str]
    def look(self, answer: object) -> Verdict:
        """Compares an answer with the letters."""

@dataclass
class Items:
    """A set of words or numbers, in any order; or a single word."""
    value: Sequence
    right: str
    mistakes: Sequence[tuple] = ...
    def look(self, answer: object) -> Verdict:
        """Compares an answer with the set."""

@dataclass
class Calls:
    """A function that gives the right results."""
    cases: Sequence[tuple]
    right: str
    rel: float = ...
    abs: float = ...
    def look(self, answer: object) -> Verdict:
        """Calls the function and compares its results."""

def seal(how: Near | Between | Choice | Items | Calls) -> str:
    """A judge in a line that cannot be read in passing. Numbers keep six digits, so that it is the same everywhere."""

def unseal(line: str) -> Near | Between | Choice | Items | Calls:
    """The judge in a line."""

def judge(number: str, how: Near | Between | Choice | Items | Calls) -> None:
    """Say how an exercise of this notebook is judged."""

def exercises() -> dict[str, dict]:
    """All exercises of the course, in their order."""

def check(number: str, answer: object) -> None:
    """Print whether an answer is right, nearly right, or why not; remember what was solved. Raises `ValueError` if
    there is no such exercise."""

def progress_file() -> Path:
    """Where it is kept what was solved."""

def solved() -> list[str]:
    """What was solved so far. Raises `ValueError` if the file cannot be read."""

def progress() -> pd.DataFrame:
    """How far you are. Raises `ValueError` if the file with what was solved cannot be read."""
