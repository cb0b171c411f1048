# Written by tests/stubs.py from the finished classes; not to be edited.
from nbdev.showdoc import BasicMarkdownRenderer
from typing import Any

__all__ = [
    'type_words', 'value_words', 'parameter_table', 'call_words', 'TableRenderer', 'class_table',
]

def type_words(anno: Any) -> str:
    """A type as it stands in the code."""

def value_words(value: Any) -> str:
    """A default value as one would type it."""

def parameter_table(obj: Any) -> str:
    """The parameters: type, default value, meaning."""

def call_words(obj: Any, name: str) -> str:
    """How a name is called: its parameters in order, with their default values."""

class TableRenderer(BasicMarkdownRenderer):
    """What nbdev writes into the docs about an exported name (`renderer` in `settings.ini`)."""

def class_table(cls: type) -> str:
    """The methods of a class: which notebook adds each, and what it does."""
