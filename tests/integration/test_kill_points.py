"""SIGKILL at each single step of an instance's journey: before and after each fsync, commit, rename and removal."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import event
from tests.integration.test_kills import PRELOAD, check
from tests.support import FOLDER, ct, make_node

from carina.node import worker
from carina.node.ingest import receive
from carina.node.recovery import recover

INSTANCES = 5
STEPS = frozenset(("os.rename", "os.remove", "os.mkdir"))


def journey(folder: Path, last: int, told: Connection) -> None:
    """Receive and archive some instances, and die at step `last`; tell of each that is acknowledged, and of the end."""
    node = make_node(folder)
    count = itertools.count(1)

    def step(*_: object) -> None:
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    synchronise = os.fsync

    def fsync(descriptor: int) -> None:
        step()
        synchronise(descriptor)
        step()

    os.fsync = fsync  # type: ignore[assignment]
    os.fdatasync = fsync  # type: ignore[assignment]
    sys.addaudithook(lambda name, _: step() if name in STEPS else None)
    event.listen(node.engine, "commit", step)
    for number in range(INSTANCES):
        derived = {"ImageType": ["DERIVED", "SECONDARY"]} if number == 2 else {}
        data = ct("MRN-1", study=1 + number // 3, number=number + 1, elements=derived)
        assert receive(node, data, FOLDER).state == "received"
        told.send(uid_of(number))
    while worker.work(node, "worker-1"):
        pass
    told.send(next(count))


def uid_of(number: int) -> str:
    """The SOP Instance UID of the made-up slice."""
    from io import BytesIO

    from pydicom import dcmread

    data = ct("MRN-1", study=1 + number // 3, number=number + 1)
    return str(dcmread(BytesIO(data), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def die_at(context: multiprocessing.context.ForkServerContext, folder: Path, last: int) -> int | None:
    """Die at a step, start again, and check. How many steps there are, when the journey came to its end before."""
    make_node(folder).engine.dispose()
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=journey, args=(folder, last, theirs), daemon=True)
    process.start()
    theirs.close()
    process.join(60)
    acknowledged, steps = [], None
    while mine.poll():
        try:
            told = mine.recv()
        except EOFError:
            break
        if isinstance(told, int):
            steps = told
        else:
            acknowledged.append(told)
    assert process.exitcode == (0 if steps else -signal.SIGKILL)
    node = make_node(folder)
    recover(node)
    while worker.work(node, "last"):
        pass
    check(node, acknowledged)
    node.engine.dispose()
    return steps


@pytest.fixture(scope="module")
def context() -> multiprocessing.context.ForkServerContext:
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOAD)
    return made


def test_death_at_twenty_steps_loses_nothing_acknowledged(
    context: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    steps = die_at(context, tmp_path / "whole", -1)
    assert steps is not None and steps > 40
    for last in random.Random(5).sample(range(1, steps), 20):
        assert die_at(context, tmp_path / f"step-{last}", last) is None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_death_at_each_step_loses_nothing_acknowledged(
    context: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    steps = die_at(context, tmp_path / "whole", -1)
    assert steps is not None
    for last in range(1, steps):
        assert die_at(context, tmp_path / f"step-{last}", last) is None
    print(f"killed at each of {steps - 1} steps, nothing acknowledged was lost")
