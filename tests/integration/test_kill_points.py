"""SIGKILL at each single step of an instance's journey: before and after each fsync, commit, rename and removal."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_kills import PRELOAD, check, uid_of
from tests.support import FOLDER, ct, make_node

from carina.node import worker
from carina.node.ingest import receive
from carina.node.recovery import recover

INSTANCES = 6
STEPS = ("fsync", "fdatasync", "rename", "replace", "unlink", "remove", "mkdir")
TOGETHER = 4  # threads that receive at once, so that what becomes durable together is cut, too


def image(number: int) -> bytes:
    """Of two studies; one of them waits in quarantine, as its pixels must be checked."""
    derived = {"ImageType": ["DERIVED", "SECONDARY"]} if number == 2 else {}
    return ct("MRN-1", study=1 + number // 3, number=number + 1, elements=derived)


def journey(folder: Path, last: int, threads: int, told: Connection) -> None:
    """Receive and archive some instances, and die at step `last`; tell of each that is acknowledged, and of the end."""
    node = make_node(folder)
    count = itertools.count(1)

    def step() -> None:
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(do: Callable[..., Any]) -> Callable[..., Any]:
        def around(*arguments: Any, **more: Any) -> Any:
            step()
            done = do(*arguments, **more)
            step()
            return done

        return around

    for name in STEPS:
        setattr(os, name, stepping(getattr(os, name)))
    node.engine.dialect.do_commit = stepping(node.engine.dialect.do_commit)  # type: ignore[method-assign]

    def take_in(number: int) -> None:
        data = image(number)
        assert receive(node, data, FOLDER).state == "received"
        told.send(uid_of(data))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take_in, range(INSTANCES)))
    while worker.work(node, "worker-1"):
        pass
    told.send(next(count))


class Deaths:
    """Journeys that end at a step, each in a copy of one new node."""

    def __init__(self, folder: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*PRELOAD, "tests.integration.test_kill_points"])
        self._folder = folder
        make_node(folder / "new").engine.dispose()

    def die_at(self, last: int, threads: int = 1) -> int | None:
        """Die at a step, start again, and check. How many steps there are, when the journey ended before."""
        folder = self._folder / f"{threads}-{last}"
        shutil.copytree(self._folder / "new", folder)
        mine, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=journey, args=(folder, last, threads, theirs), daemon=True)
        process.start()
        theirs.close()
        process.join(60)
        acknowledged, steps = heard(mine)
        mine.close()
        assert process.exitcode == (0 if steps else -signal.SIGKILL)
        node = make_node(folder)
        recover(node)
        while worker.work(node, "last"):
            pass
        check(node, acknowledged)
        node.engine.dispose()
        shutil.rmtree(folder)
        return steps


def heard(told: Connection) -> tuple[list[str], int | None]:
    """What was acknowledged, and the number of steps where the journey came to its end."""
    acknowledged: list[str] = []
    while told.poll():
        try:
            word = told.recv()
        except EOFError:
            break
        if isinstance(word, int):
            return acknowledged, word
        acknowledged.append(word)
    return acknowledged, None


@pytest.fixture
def deaths(tmp_path: Path) -> Deaths:
    return Deaths(tmp_path)


@pytest.mark.parametrize("threads", [1, TOGETHER])
def test_death_at_ten_steps_loses_nothing_acknowledged(deaths: Deaths, threads: int) -> None:
    steps = deaths.die_at(-1, threads)
    assert steps is not None and steps > 40
    ends = [deaths.die_at(last, threads) for last in random.Random(5).sample(range(1, steps), 6)]
    assert ends.count(None) >= (6 if threads == 1 else 3)  # several threads take more or fewer steps together


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("threads", [1, TOGETHER])
def test_death_at_each_step_loses_nothing_acknowledged(deaths: Deaths, threads: int) -> None:
    steps = deaths.die_at(-1, threads)
    assert steps is not None
    ends = [deaths.die_at(last, threads) for last in range(1, steps)]
    assert threads > 1 or ends.count(None) == steps - 1
    sys.stdout.write(f"\nkilled at {ends.count(None)} steps, {threads} at once: nothing acknowledged was lost\n")
