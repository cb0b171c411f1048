# Written by tests/stubs.py from the finished classes; not to be edited.
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    'lesson_files', 'run_lesson', 'headline', 'run', 'copy_lessons', 'lab', 'list_data', 'doctor', 'main',
]

def lesson_files(first: str = '', workshop: bool = False) -> list[Path]:
    """The notebooks of the lessons; those of the workshop if no lesson begins like this. Raises `ValueError` if none of
    them does either."""

def run_lesson(file: Path, out: Path) -> tuple[float, str, bool]:
    """Execute a notebook in a fresh kernel; what came out is written even if a cell fails."""

def headline(nb: dict) -> str:
    """The headline figure of a lesson."""

def run(first: str = '', out: str | Path = 'imgcourse-run', workshop: bool = False) -> int:
    """Execute lessons, or notebooks of the workshop, from top to bottom and report."""

def copy_lessons(folder: str | Path) -> list[Path]:
    """Copy lessons, workshop, appendices, glossary and tables into a folder; files that are there are left as they are.
    Raises `FileExistsError` if the folder is a file."""

def lab(folder: str | Path = 'imgcourse-lessons', options: Sequence[str] = ()) -> int:
    """Copy lessons and workshop into a folder and open JupyterLab on it."""

def list_data(name: str | None = None, fetch: bool = False) -> int:
    """Print where the data sets are, how large they are, and what a download would cost. Raises `ValueError` for an
    unknown name, `OSError` if a download fails."""

def doctor() -> int:
    """Print versions, processor, GPU, memory, threads and cache, and known problems with their mends."""

def main(argv: list[str] | None = None) -> int:
    """The command `imgcourse`."""
