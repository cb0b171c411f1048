# Written by tests/stubs.py from the finished classes; not to be edited.
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = [
    'lesson_files', 'LessonRun', 'headline', 'run', 'copy_lessons', 'lab', 'list_data', 'show_progress', 'doctor',
    'main', 'command',
]

def lesson_files(first: str | Sequence[str] = '', workshop: bool = False) -> list[Path]:
    """The notebooks of the lessons; those of the workshop where no lesson begins like this. Raises `ValueError` if one
    of the beginnings fits none of them either."""

class LessonRun:
    """A notebook, to be executed in a fresh kernel."""
    client: Any
    env: Any
    file: Path
    out: Path
    def __init__(self, file: Path, out: Path, front: bool = False, threads: int | None = None) -> None: ...
    def kill(self) -> None:
        """Ends the kernel, if there is one; `execute` still writes what came out until then."""
    def execute(self) -> tuple[float, str, bool]:
        """Runs all cells. What came out is written even if a cell fails."""

def headline(nb: dict) -> str:
    """The headline figure of a lesson."""

def run(
    first: str | Sequence[str] = '',
    out: str | Path = 'imgcourse-run',
    workshop: bool = False,
    front: bool = False,
    jobs: int | None = None,
) -> int:
    """Execute lessons, or notebooks of the workshop, from top to bottom and report."""

def copy_lessons(folder: str | Path) -> list[Path]:
    """Copy lessons, exercises and solutions, workshop, appendices and pages into a folder; notebooks that are there are
    left as they are. Raises `FileExistsError` if the folder is a file."""

def lab(folder: str | Path = 'imgcourse-lessons', options: Sequence[str] = ()) -> int:
    """Copy lessons and workshop into a folder and open JupyterLab on it."""

def list_data(name: str | None = None, fetch: bool = False) -> int:
    """Print where the data sets are, how large they are, and what a download would cost. Raises `ValueError` for an
    unknown name, `OSError` if a download fails."""

def show_progress() -> int:
    """Print how far each lesson's exercises are solved. Raises `ValueError` if the file that says so cannot be read."""

def doctor() -> int:
    """Print versions, processor, GPU, memory, threads and cache, and known problems with their mends."""

def main(argv: list[str] | None = None) -> int:
    """The command `imgcourse`."""

def command() -> None:
    """`main` for the terminal: ends the process with its exit code."""
