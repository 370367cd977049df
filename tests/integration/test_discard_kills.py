"""SIGKILL at the steps of discarding, taking back and destroying: each thing is in one whole state, and no byte is
lost that somebody may still ask for."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.integration.test_kill_points import STEPS, heard
from tests.integration.test_kills import PRELOAD
from tests.support import ct, make_node

from carina.model.clock import now, stamp
from carina.model.instance import Source
from carina.node import discarded, quarantine, worker
from carina.node.ingest import receive
from carina.node.recovery import recover
from carina.node.site import Node
from carina.storage.schema import quarantine as table

HELD = 4


def prepare(folder: Path) -> None:
    node = make_node(folder)
    for number in range(HELD):
        receive(node, ct(number=number + 1), Source("aet", "STRANGER"))
    while worker.work(node, "worker"):
        pass
    node.engine.dispose()


def journey(folder: Path, last: int, told: Connection) -> None:
    """Discard all, take one back, destroy one, and sweep up another whose time is over; die at step `last`."""
    node = make_node(folder)
    count = itertools.count(1)

    def stepping(do: Callable[..., Any]) -> Callable[..., Any]:
        def around(*arguments: Any, **more: Any) -> Any:
            if next(count) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            done = do(*arguments, **more)
            if next(count) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return around

    for name in STEPS:
        setattr(os, name, stepping(getattr(os, name)))
    node.engine.dialect.do_commit = stepping(node.engine.dialect.do_commit)  # type: ignore[method-assign]
    one, two, three, _ = (held.id for held in quarantine.entries(node))
    quarantine.discard(node, "ana", wanted=quarantine.ALL)
    told.send("discarded")
    quarantine.restore(node, "ana", ids=[one])
    told.send("restored")
    discarded.destroy(node, "ana", [two])
    told.send("destroyed")
    with node.engine.begin() as connection:
        old = stamp(now() - quarantine.GRACE - timedelta(minutes=1))
        connection.execute(update(table).where(table.c.id == three).values(discarded_at=old))
    discarded.sweep(node)
    told.send("swept")
    told.send(next(count))


def check(node: Node, acknowledged: list[str]) -> None:
    """What was said to be done is done; who may still be taken back has its bytes, who may not has none."""
    with node.engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(select(table).order_by(table.c.id))}
    states = [row.state for row in rows.values()]
    kept = {one for one, row in rows.items() if row.state in ("waiting", "discarded")}
    assert set(node.quarantine.names()) == kept and node.spool.names() == []
    assert all((row.discarded_at is not None) == (row.state == "discarded") for row in rows.values())
    done = len(acknowledged)
    assert done < 1 or states.count("waiting") <= 1
    assert done < 2 or states[0] == "waiting"
    assert done < 3 or states[1] == "destroyed"
    assert done < 4 or states == ["waiting", "destroyed", "destroyed", "discarded"]
    told = {entry.action for entry in node.audit.entries(100)}
    assert ("destroyed" in states) == ("quarantine-destroyed" in told)
    assert node.audit.verify() > 0


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_death_at_the_steps_of_discarding_leaves_nothing_half_done(tmp_path: Path, every: bool) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, "tests.integration.test_discard_kills"])
    prepare(tmp_path / "new")

    def die_at(last: int) -> int | None:
        folder = tmp_path / str(last)
        shutil.copytree(tmp_path / "new", folder)
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=journey, args=(folder, last, theirs), daemon=True)
        process.start()
        theirs.close()
        process.join(60)
        acknowledged, steps = heard(mine)
        mine.close()
        assert process.exitcode == (0 if steps else -signal.SIGKILL)
        node = make_node(folder)
        recover(node)
        discarded.sweep(node)
        check(node, acknowledged)
        node.engine.dispose()
        shutil.rmtree(folder)
        return steps

    steps = die_at(-1)
    assert steps is not None and steps > 12
    chosen = list(range(1, steps)) if every else random.Random(7).sample(range(1, steps), 6)
    assert all(die_at(last) is None for last in chosen)
