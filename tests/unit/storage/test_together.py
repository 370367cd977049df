"""What several threads want done at once is done once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from carina.errors import Full
from carina.storage.together import Together


def test_one_alone_is_done_at_once() -> None:
    groups: list[list[int]] = []
    Together(groups.append).do(1)
    assert groups == [[1]]


def test_what_comes_meanwhile_is_one_group_and_each_is_done_once() -> None:
    groups: list[list[int]] = []
    begun, go_on = threading.Event(), threading.Event()

    def do(group: list[int]) -> None:
        groups.append(group)
        begun.set()
        go_on.wait(10)

    together = Together(do)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(together.do, 0)
        begun.wait(10)
        others = [threads.submit(together.do, number) for number in range(1, 9)]
        while len(together._next) < 8:
            pass
        go_on.set()
        for one in (first, *others):
            one.result(10)
    assert groups[0] == [0] and sorted(groups[1]) == list(range(1, 9)) and len(groups) == 2


def test_a_failure_is_told_to_each_of_its_group_and_to_no_other() -> None:
    def do(group: list[int]) -> None:
        if any(number < 0 for number in group):
            raise Full("no room")

    together = Together(do)
    with pytest.raises(Full):
        together.do(-1)
    together.do(1)


def test_nothing_is_lost_in_a_crowd() -> None:
    done: list[int] = []
    together = Together(done.extend)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(together.do, range(2000)))
    assert sorted(done) == list(range(2000))
