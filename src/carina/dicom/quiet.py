"""Keep pydicom's warnings and log lines inside: they quote header values.

Whoever reads, changes or writes a dataset through pydicom does it inside `quiet()`.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_depth = 0
_filters = ExitStack()

for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore `UserWarning`s, the kind that pydicom raises, while at least one thread is inside.

    A decoder that panics raises `ValueError`.

    Python's filters belong to the whole process, so the first thread in sets them and the last one out restores them.
    """
    global _depth  # noqa: PLW0603  the filters are global, so is their count
    with _lock:
        if _depth == 0:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", category=UserWarning)
        _depth += 1
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # of a decoder in Rust; no `Exception`, so nobody would catch it
            raise ValueError("a decoder failed") from None
        raise
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _filters.close()
