# Written by tests/stubs.py from the finished classes; not to be edited.
from collections.abc import Iterator
from contextlib import contextmanager
from filelock import AcquireReturnProxy
from pathlib import Path

__all__ = [
    'whole_file', 'naming', 'to_disk', 'whole_folder', 'one_at_a_time', 'cache_dir', 'text_hash', 'file_key',
    'check_name', 'printable', 'whole_import',
]

@contextmanager
def whole_file(file: str | Path) -> Iterator[Path]:
    """What is written within becomes the file at its end, in one step. After an error within, or one of the system
    (`OSError`, that names the file), there is the file that was there before, or none."""

@contextmanager
def naming(file: str | Path, so: str) -> Iterator[None]:
    """Errors of the system that name no file (a full disk) name this one."""

def to_disk(path: str | Path) -> None:
    """When this returns, what was written is safe from a power failure; of a folder, which names are in it."""

@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """What is written within becomes the folder at its end, in one step. Raises `FileExistsError` if there is one by
    then, and `OSError` that names it; then nothing has changed."""

def one_at_a_time(file: str | Path, work: str) -> AcquireReturnProxy:
    """Wait until no other process is within; after a second, say so. Raises `OSError` where the lock cannot be
    written."""

def cache_dir() -> Path:
    """The folder of sketches, downloads and features. It can be deleted at any time: all of it can be made again.
    Raises `OSError` if there is no home folder and none is named."""

def text_hash(text: str) -> str:
    """A short fingerprint of a text."""

def file_key(path: str | Path) -> str:
    """What a cached result about a file hangs on: the file's full name, its size and its time of change."""

def check_name(name: str, what: str = 'name') -> str:
    """Raises `ValueError` for a name that leads out of the folder, or is none."""

def printable(name: str) -> str:
    """The same, with question marks for what cannot be printed."""

@contextmanager
def whole_import() -> Iterator[None]:
    """Ctrl-C while something is imported within waits until that is done; then it does what it does."""
