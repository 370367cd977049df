from __future__ import annotations

import threading
import warnings

import pytest

from carina.dicom.quiet import quiet


def shout() -> None:
    warnings.warn("a header value", UserWarning, stacklevel=1)


def test_warnings_stay_inside_and_come_back_after() -> None:
    with quiet():
        shout()
        with quiet():
            shout()
        shout()
    with pytest.raises(UserWarning):
        shout()


def test_a_thread_that_leaves_does_not_wake_the_others() -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with quiet():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=stay)
    with quiet():
        thread.start()
        assert inside.wait(5)
    shout()  # the other thread is still inside
    leave.set()
    thread.join()
    with pytest.raises(UserWarning):
        shout()


def test_other_warnings_and_errors_pass() -> None:
    with quiet(), pytest.raises(DeprecationWarning):
        warnings.warn("another kind", DeprecationWarning, stacklevel=1)
    with pytest.raises(KeyError), quiet():
        raise KeyError


def test_a_panic_becomes_an_error_that_can_be_caught() -> None:
    class PanicException(BaseException):
        pass

    with pytest.raises(ValueError, match="decoder"), quiet():
        raise PanicException
