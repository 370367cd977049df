"""An answer that is kept for as long as it is dear."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from carina.node.kept import Kept


def test_what_was_cheap_is_found_anew_and_what_was_dear_is_kept() -> None:
    found: list[int] = []
    cheap = Kept(lambda: found.append(1) or len(found), 0.0)
    assert (cheap(), cheap()) == (1, 2)

    def slow() -> int:
        time.sleep(0.05)
        found.append(1)
        return len(found)

    dear = Kept(slow, 100.0)
    assert dear() == dear() == 3


def test_while_one_looks_the_others_get_the_last_answer() -> None:
    going, answers = threading.Event(), iter((1, 2, 3))

    def find() -> int:
        found = next(answers)
        if found == 2:
            going.wait(10)
        return found

    kept = Kept(find, 0.0)
    assert kept() == 1
    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(kept)
        while not kept._finding.locked():
            time.sleep(0.001)
        assert kept() == 1
        going.set()
        assert looking.result() == 2
    assert kept() == 3


def test_a_look_that_fails_is_tried_again_by_the_next() -> None:
    answers = iter((ValueError, 5))

    def find() -> int:
        found = next(answers)
        if isinstance(found, int):
            return found
        raise found

    kept = Kept(find)
    with contextlib.suppress(ValueError):
        kept()
    assert kept() == 5
