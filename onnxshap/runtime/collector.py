"""Python's search for garbage, put off while graphs are built."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's garbage collector inside the block.

    A graph is some hundred thousand objects, all of which live: to look through them again and
    again while there come to be more takes as long as to make them.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
