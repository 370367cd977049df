"""The runner of a node's jobs goes on, whatever goes wrong in one round."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests import access
from tests.access import Scene, open_scene
from tests.unit.node import job_process
from tests.unit.node.test_jobs import running, state_of, taken

from carina.app import running as runner
from carina.app.running import Jobs
from carina.errors import Busy, Full
from carina.node import jobs
from carina.settings import JobSettings
from carina.storage.schema import node_jobs

BOUNDS = JobSettings(memory=1 << 28, seconds=60)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A dataset without images; the runner does not wait long."""
    monkeypatch.setattr(runner, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(runner, "PAUSE", 0.01)
    with open_scene(tmp_path, real=True, threshold=3, hub_threshold=1) as made:
        yield made


async def kept(jobs_of_node: Jobs, until: Callable[[], bool]) -> None:
    """Let the runner run until something is so."""
    task = asyncio.create_task(jobs_of_node.keep())
    try:
        async with asyncio.timeout(20):
            while not until() and not task.done():
                await asyncio.sleep(0.02)
    finally:
        await asyncio.to_thread(jobs_of_node.stop)
        task.cancel()
        ended = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)


def play(scene: Scene, until: Callable[[], bool]) -> None:
    asyncio.run(kept(Jobs(scene.node, scene.node.folder, BOUNDS), until))


def attempts(scene: Scene, job: str) -> int:
    with scene.node.engine.connect() as connection:
        return int(connection.execute(select(node_jobs.c.attempts).where(node_jobs.c.id == job)).scalar_one())


class Failing:
    """Raises these errors, one a call; then does what it stands for."""

    def __init__(self, errors: list[Exception], then: Callable[..., Any]) -> None:
        self.left = errors
        self._then = then

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self.left:
            raise self.left.pop(0)
        return self._then(*args, **more)


def computing(scene: Scene) -> Callable[..., str]:
    """Does a job in this process."""

    def compute(_: object, args: tuple[Path, str, str], **bounds: object) -> str:
        jobs.compute_job(scene.node, *args[1:])
        return ""

    return compute


def test_a_process_that_cannot_be_started_ends_neither_the_node_nor_the_job(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = taken(scene)
    errors: list[Exception] = [OSError(12, "a path with a secret") for _ in range(jobs.MOST_STARTS + 1)]
    monkeypatch.setattr(runner, "run", Failing(errors, computing(scene)))
    with caplog.at_level(logging.ERROR, logger="carina"):
        play(scene, lambda: state_of(scene, job)[0] not in ("taken", "running"))
    assert state_of(scene, job) == ("done", "")
    (record, *_) = [record for record in caplog.records if record.message == "jobs-round-failed"]
    assert vars(record)["error"] == "OSError"
    assert "secret" not in caplog.text
    assert scene.node.audit.entries(1, action="job-stopped")[0].details["reason"] == "not-run"


@pytest.mark.parametrize("place", ["reset", "next_job", "begin", "is_ended", "put_back"])
@pytest.mark.parametrize("error", [Busy, Full])
def test_records_that_cannot_be_written_for_a_while_end_neither_the_node_nor_the_job(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, place: str, error: type[Exception]
) -> None:
    job = taken(scene)
    failing = Failing([error("no"), error("no")], getattr(jobs, place))
    monkeypatch.setattr(jobs, place, failing)
    monkeypatch.setattr(runner, "run", Failing([OSError(11, "no")] * 2, computing(scene)))
    play(scene, lambda: state_of(scene, job)[0] not in ("taken", "running"))
    assert len(failing.left) < 2
    assert state_of(scene, job) == ("done", "")


def test_a_job_whose_end_cannot_be_written_down_is_done_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    job = taken(scene)
    monkeypatch.setattr(jobs, "end", Failing([Full("no")], jobs.end))
    monkeypatch.setattr(runner, "run", lambda *args, **bounds: "out-of-time")
    play(scene, lambda: state_of(scene, job)[0] == "failed")
    assert state_of(scene, job) == ("failed", "out-of-time")
    assert attempts(scene, job) == 2


def test_a_job_that_the_nodes_orderly_end_interrupts_waits_again_and_the_start_does_not_count(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = taken(scene)
    began: list[bool] = []

    def wait(*_: Any, should_stop: Callable[[], str | None], **__: Any) -> str:
        began.append(True)
        while (word := should_stop()) is None:
            pass
        return word

    monkeypatch.setattr(runner, "run", wait)
    for _ in range(jobs.MOST_STARTS + 1):
        began.clear()
        play(scene, lambda: bool(began))
        assert state_of(scene, job) == ("taken", "")
    assert attempts(scene, job) == 0


def test_a_job_at_whose_running_the_node_was_killed_is_done_again_and_at_the_third_time_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit = access.permit_in_force(scene)
    again, last = running(scene, permit), running(scene, permit)
    with scene.node.engine.begin() as connection:
        connection.execute(node_jobs.update().where(node_jobs.c.id == last).values(attempts=jobs.MOST_STARTS))
    monkeypatch.setattr(runner, "run", computing(scene))
    play(scene, lambda: state_of(scene, again)[0] == "done")
    assert state_of(scene, last) == ("failed", "crashed")


def test_a_process_that_returns_without_an_outcome_has_crashed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    job = taken(scene)
    monkeypatch.setattr(runner, "run", lambda *args, **bounds: "")
    play(scene, lambda: state_of(scene, job)[0] == "failed")
    assert state_of(scene, job) == ("failed", "crashed")


def test_a_job_that_a_data_manager_cancels_is_killed_at_once_and_does_not_come_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = taken(scene)
    monkeypatch.setattr(runner, "compute", job_process.hang)
    cancelled: list[float] = []

    def ended() -> bool:
        state = state_of(scene, job)[0]
        if state == "running" and not cancelled and multiprocessing.active_children():
            jobs.cancel(scene.node, "nora", scene.hub.id, job)
            cancelled.append(time.monotonic())
        return bool(cancelled) and not multiprocessing.active_children()

    play(scene, ended)
    assert time.monotonic() - cancelled[0] < 5
    assert state_of(scene, job) == ("cancelled", "stopped-by-node")
    [outcome] = jobs.undelivered(scene.node, scene.hub.id)
    assert (outcome.state, outcome.reason) == ("cancelled", "stopped-by-node")
    assert attempts(scene, job) == 1 and jobs.next_job(scene.node) is None
