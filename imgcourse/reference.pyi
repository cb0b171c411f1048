# Written by tests/stubs.py from the finished classes; not to be edited.
from nbdev.showdoc import BasicMarkdownRenderer
from typing import Any

__all__ = [
    'as_written', 'parameter_table', 'call_words', 'TableRenderer', 'class_table', 'all_names', 'fold_source',
    'html_as_markdown',
]

def as_written(obj: Any) -> dict[str, tuple[str, str]]:
    """Types and default values as they stand in the code."""

def parameter_table(obj: Any) -> str:
    """The parameters: type, default value, meaning."""

def call_words(obj: Any, name: str) -> str:
    """How a name is called: its parameters in order, with their default values."""

class TableRenderer(BasicMarkdownRenderer):
    """What nbdev writes into the docs about an exported name (`renderer` in `settings.ini`)."""

def class_table(kind: type) -> str:
    """The methods of a class: which notebook adds each, and what it does."""

def all_names() -> str:
    """Every exported name and every method, with a heading of its own."""

def fold_source(cell: dict) -> None:
    """Exported code stands folded, below the names that it defines."""

def html_as_markdown(cell: dict) -> None:
    """Tables of pandas become tables of Markdown; other HTML stays what it is, in a block of Markdown."""
