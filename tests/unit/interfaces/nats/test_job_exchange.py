"""Runs on their way: orders to nodes, progress and outcomes to the hub, over the exchange in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.access import Scene, countersign, deliver, permit_for, permit_in_force
from tests.exchanging import both_up, hub_up, line_of, node_up, number, until
from tests.federating import open_joined_node, refusals
from tests.support import open_test_node

from carina.federation import papers, wire
from carina.federation.messages import seal_message
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey, peek
from carina.hub import permits, runs, tell
from carina.hub.receive import open_from, receive
from carina.hub.runs import Job
from carina.model.clock import new_id, now
from carina.model.ids import HubId
from carina.model.job import JobOrder
from carina.node import jobs, membership
from carina.node.site import Node
from carina.storage.schema import node_jobs

STRANGER = PermitKey.from_master(b"s" * 32)
SIGNAL = "signal-statistics"


def start(scene: Scene, *permits_of: str) -> str:
    """A run of Rosa's under these permits."""
    return runs.start(scene.hub, scene.rosa, permits_of, SIGNAL).id


def job_of(scene: Scene, run: str) -> Job:
    """The one job of a run, as the hub knows it."""
    [job] = runs.get(scene.hub, scene.rosa, run).jobs
    return job


def do_next(node: Node) -> str:
    """Do the oldest job of a node, in this process."""
    found = jobs.next_job(node)
    assert found is not None
    assert jobs.begin(node, *found)
    jobs.compute_job(node, *found)
    return found[1]


def job_steps(node: Node) -> list[str]:
    return [entry.action for entry in reversed(node.audit.entries(50)) if entry.action.startswith("job-")]


def test_a_run_reaches_its_node_at_once_and_its_result_the_hub_once(scene: Scene) -> None:
    rung: list[bool] = []

    async def play() -> None:
        async with hub_up(scene.hub), node_up(scene.hub, scene.node, on_jobs=lambda: rung.append(True)):
            await until(lambda: number(scene.node))
            run = await asyncio.to_thread(start, scene, permit.id)
            await until(lambda: jobs.next_job(scene.node), 6.0)
            await until(lambda: rung)
            await until(lambda: job_of(scene, run).state == "taken")
            await asyncio.to_thread(do_next, scene.node)
            await until(lambda: job_of(scene, run).state == "done")
            await until(lambda: not jobs.undelivered(scene.node, scene.hub.id))
            await asyncio.sleep(2.5)  # what would come twice would have come

    permit = permit_in_force(scene)
    asyncio.run(play())
    assert job_steps(scene.node) == ["job-taken", "job-done"]
    assert len(scene.hub.audit.entries(9, action="job-done")) == 1
    assert scene.hub.audit.entries(9, action="outcome-late") == []
    assert rung == [True]
    assert refusals(scene.node.audit) == refusals(scene.hub.audit) == []


def test_a_node_that_was_down_when_a_run_began_does_it_after_its_return_once(scene: Scene) -> None:
    async def play() -> None:
        async with hub_up(scene.hub):
            run = await asyncio.to_thread(start, scene, permit.id)
            await asyncio.sleep(0.7)
            assert job_of(scene, run).state == "waiting"
            async with node_up(scene.hub, scene.node):
                await until(lambda: jobs.next_job(scene.node), 6.0)
                done = await asyncio.to_thread(do_next, scene.node)
            with open_test_node(scene.node.folder) as again:  # it went down before it could tell
                assert [one.job for one in jobs.undelivered(again, scene.hub.id)] in ([done], [])
                async with node_up(scene.hub, again):
                    await until(lambda: job_of(scene, run).state == "done", 6.0)
                    await until(lambda: not jobs.undelivered(again, scene.hub.id))
                assert jobs.next_job(again) is None

    permit = permit_in_force(scene)
    asyncio.run(play())
    assert job_steps(scene.node) == ["job-taken", "job-done"]
    assert len(scene.hub.audit.entries(9, action="job-done")) == 1


@pytest.mark.usefixtures("hasty")
def test_an_outcome_is_told_until_the_hub_has_taken_it_and_counts_once(scene: Scene) -> None:
    heard: list[str] = []

    async def forgetful(sender: str, message: bytes) -> bytes | None:
        """A hub whose first three answers to outcomes are lost on the way."""
        reply = await asyncio.to_thread(receive, scene.hub, sender, message)
        if peek(message)[1]["kind"] != "outcome":
            return reply
        heard.append(sender)
        return reply if len(heard) > 3 else None

    async def play() -> None:
        async with both_up(scene):
            run = await asyncio.to_thread(start, scene, permit.id)
            await until(lambda: jobs.next_job(scene.node))
            await line_of(scene.hub, scene.hub.id).serve(forgetful)
            await asyncio.to_thread(do_next, scene.node)
            await until(lambda: job_of(scene, run).state == "done")
            await until(lambda: not jobs.undelivered(scene.node, scene.hub.id))

    permit = permit_in_force(scene)
    asyncio.run(play())
    assert len(heard) == 4
    assert len(scene.hub.audit.entries(9, action="job-done")) == 1
    assert scene.hub.audit.entries(9, action="outcome-late") == []


@pytest.mark.usefixtures("hasty")
def test_the_progress_of_a_job_is_told_while_it_runs(scene: Scene) -> None:
    async def play() -> None:
        async with both_up(scene):
            run = await asyncio.to_thread(start, scene, permit.id)
            await until(lambda: jobs.next_job(scene.node))
            job = job_of(scene, run).id
            assert await asyncio.to_thread(jobs.begin, scene.node, scene.hub.id, job)
            await until(lambda: job_of(scene, run).state == "running")
            with scene.node.engine.begin() as connection:
                connection.execute(update(node_jobs).values(percent=40))
            await until(lambda: job_of(scene, run).percent == 40)

    permit = permit_in_force(scene)
    asyncio.run(play())


def test_a_cancelled_run_ends_at_the_node_at_once(scene: Scene) -> None:
    async def play() -> None:
        async with both_up(scene):
            run = await asyncio.to_thread(start, scene, permit.id)
            await until(lambda: jobs.next_job(scene.node))
            job = job_of(scene, run).id
            assert await asyncio.to_thread(jobs.begin, scene.node, scene.hub.id, job)
            assert jobs.still_allowed(scene.node, scene.hub.id, job) is None
            await asyncio.to_thread(runs.cancel, scene.hub, scene.rosa, run)
            await until(lambda: jobs.still_allowed(scene.node, scene.hub.id, job) == "cancelled", 6.0)

    permit = permit_in_force(scene)
    asyncio.run(play())
    assert job_steps(scene.node) == ["job-taken", "job-cancelled"]


@pytest.mark.usefixtures("hasty")
def test_an_order_that_is_refused_hinders_no_other(scene: Scene) -> None:
    """And a hub's message key alone orders nothing."""

    async def play() -> None:
        await line_of(scene.hub, scene.hub.id).serve(crooked)
        async with node_up(scene.hub, scene.node):
            await until(lambda: jobs.next_job(scene.node))

    async def crooked(sender: str, message: bytes) -> bytes | None:
        return await asyncio.to_thread(answered, sender, message)

    def answered(sender: str, message: bytes) -> bytes | None:
        if peek(message)[1]["kind"] != "jobs":
            return receive(scene.hub, sender, message)
        asked = open_from(scene.hub, sender, message)
        assert isinstance(asked.body, wire.Jobs)
        good = runs.open_jobs(scene.hub, sender, asked.body)
        wrong = [papers.make_order(*order, node=sender, expires=tomorrow) for order in orders]
        body = wire.Open(orders=(*wrong, *good.orders), stop=(unknown,))
        usual = {"hub": scene.hub.id, "sender": scene.hub.id, "to": sender}
        return seal_message(scene.hub.signing, body, **usual, re=asked.nonce).data

    permit = permit_in_force(scene)
    run = start(scene, permit.id)
    unknown, tomorrow = new_id(), now() + timedelta(days=1)
    order = JobOrder(new_id(), scene.hub.id, run, permit.id, scene.dataset, "rosa", SIGNAL)
    orders = [(STRANGER, order), (scene.hub.permit_key, replace(order, hub=HubId("h-" + "a" * 26)))]
    asyncio.run(play())
    assert set(refusals(scene.node.audit)) == {"forged", "misaddressed"}
    assert job_steps(scene.node) == ["job-taken"]


@pytest.mark.usefixtures("hasty")
def test_an_outcome_of_a_job_that_the_hub_does_not_have_is_refused_once_and_written_down(scene: Scene) -> None:
    """As after a hub's records were restored from a back-up that is older than the run."""

    async def play() -> None:
        async with hub_up(scene.hub), node_up(scene.hub, scene.node):
            await until(lambda: refusals(scene.hub.audit))
            await asyncio.sleep(0.6)  # it would have been told again

    permit = permit_in_force(scene)
    order = JobOrder(new_id(), scene.hub.id, new_id(), permit.id, scene.dataset, "rosa", "no-such-analysis")
    tomorrow = now() + timedelta(days=1)
    jobs.take(
        scene.node,
        scene.hub.id,
        papers.make_order(scene.hub.permit_key, order, node=scene.node.id, expires=tomorrow),
    )
    asyncio.run(play())
    assert refusals(scene.hub.audit) == ["no-such-job"]
    [refused] = scene.node.audit.entries(9, action="outcome-refused")
    assert (refused.subject, refused.details["reason"]) == (order.id, "no-such-job")


def test_a_node_gets_no_outcome_for_anothers_job_taken(scene: Scene, tmp_path: Path) -> None:
    permit = permit_in_force(scene)
    run = start(scene, permit.id)
    body = wire.Outcome(job=job_of(scene, run).id, state="failed", reason="crashed", result=None)
    with open_joined_node(tmp_path / "other", scene.hub, seed=2) as (other, _):
        asked = membership.seal(other, scene.hub.id, body)
        reply = receive(scene.hub, other.id, asked.data)
        assert reply is not None
        said = membership.open_from(other, membership.get_hub(other, scene.hub.id), reply, answers=asked.nonce)
        assert said.body == wire.Refusal(reason="not-yours")
    assert refusals(scene.hub.audit) == ["not-yours"]
    assert job_of(scene, run).state == "waiting"


def test_a_result_that_the_node_did_not_sign_is_refused_with_an_answer(scene: Scene) -> None:
    permit = permit_in_force(scene)
    run = start(scene, permit.id)
    forged = SigningKey.from_seed(b"x" * 32).sign({"says": "result"}).decode()
    asked = membership.seal(
        scene.node, scene.hub.id, wire.Outcome(job=job_of(scene, run).id, state="done", reason="", result=forged)
    )
    reply = receive(scene.hub, scene.node.id, asked.data)
    assert reply is not None
    said = membership.open_from(scene.node, membership.get_hub(scene.node, scene.hub.id), reply, answers=asked.nonce)
    assert said.body == wire.Refusal(reason="forged")
    assert refusals(scene.hub.audit) == ["forged"]
    assert job_of(scene, run).state == "failed"


def test_the_marks_change_with_what_a_node_must_be_told_and_with_nothing_else(scene: Scene) -> None:
    seen = [tell.marks(scene.hub)[scene.node.id]]

    def changed() -> bool:
        seen.append(tell.marks(scene.hub)[scene.node.id])
        return seen[-1] != seen[-2]

    assert not changed()
    permit = permit_for(scene)
    assert changed()
    deliver(scene.hub, scene.node)
    assert not changed()
    countersign(scene, permit)
    run = start(scene, permit.id)
    assert changed()
    runs.open_jobs(scene.hub, scene.node.id, wire.Jobs(progress={}))
    assert not changed()
    runs.cancel(scene.hub, scene.rosa, run)
    assert changed()
    permits.revoke(scene.hub, scene.clara, permit.id, "Over.")
    assert changed()
    assert not changed()
