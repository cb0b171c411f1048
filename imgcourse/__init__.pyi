# Written by tests/stubs.py from the finished classes; not to be edited.
__version__: str
