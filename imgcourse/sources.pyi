# Written by tests/stubs.py from the finished classes; not to be edited.
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    'full_sets', 'DownloadError', 'download', 'unpack', 'FullSet', 'get_dataset', 'lesson',
]

full_sets: dict

class DownloadError(OSError):
    """A download that could not be finished. The message says what to do."""

def download(url: str, dest: str | Path, digest: str, tries: int = 5) -> Path:
    """Download a file, going on where an earlier try stopped. Raises `DownloadError`, and `ValueError` for a digest
    that is none."""

def unpack(archive: str | Path, dest: str | Path) -> Path:
    """Unpack an archive. Raises `FileExistsError` if `dest` is there, and `ValueError` if the archive is none, is cut
    or damaged, has a member that is a link or would land outside, or holds over a hundred times its size; then `dest`
    is not made."""

@dataclass(frozen=True)
class FullSet:
    """Where a full data set is published, and how it becomes folders."""
    url: str
    digest: str
    mb: int
    arrange: Callable[[Path, Path], None]

def get_dataset(name: str, full: bool | None = None) -> Path:
    """The folder of a data set: your own copy in `$IMGCOURSE_DATA`, or the full set, or sketches. Raises `ValueError`
    for an unknown name and `DownloadError`."""

def lesson(name: str) -> tuple[str, str, int, int]:
    """What a lesson starts with: sketches and the net on board, or, with `IMGCOURSE_FULL=1`, the full photos and the
    net that the old course used."""
