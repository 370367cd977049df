"""Permits and their states on their way between a hub and its nodes, over the exchange in memory."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests.access import MANAGER, Scene, ask_for, grant, own_permit, permit_for, publish, visa_of
from tests.exchanging import both_up, hub_up, line_of, node_up, number, until
from tests.federating import open_joined_node, open_test_hub, refusals
from tests.support import open_test_node

from carina.errors import BadInput, PermitDenied
from carina.federation import papers, wire
from carina.federation.messages import Sealed, seal_message
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import peek
from carina.hub import permits, tell
from carina.hub.centre import Hub
from carina.hub.receive import open_from, receive
from carina.interfaces.nats import hub_exchange, node_exchange
from carina.interfaces.nats.ending import end_tasks
from carina.interfaces.nats.node_exchange import run_membership
from carina.node import fetch
from carina.node import permits as held
from carina.node.answer import answer
from carina.node.authorise import authorise
from carina.node.refusals import Refusals
from carina.node.site import Node
from carina.storage import accounts
from carina.storage.hub_schema import hub_permits
from carina.storage.schema import permit_states

STRANGER = PermitKey.from_master(b"s" * 32)
SIGNAL = "signal-statistics"


def said(scene: Scene, permit: str) -> str:
    """What the newest list at the node says of a permit."""
    with scene.node.engine.connect() as connection:
        return str((connection.execute(select(permit_states.c.states)).scalar() or {}).get(permit))


def has(node: Node, permit: str) -> bool:
    return permit in {one.visa.id for one in held.listed(node)}


def told(hub: Hub, node: Node, body: wire.Body) -> wire.Body:
    """What a node answers to a hub's message."""
    sealed = seal_message(hub.signing, body, hub=hub.id, sender=hub.id, to=node.id)
    reply = answer(node, hub.id, sealed.data)
    assert reply is not None
    return open_from(hub, node.id, reply, answers=sealed.nonce).body


# --- permits ------------------------------------------------------------------------------------------------------


def test_a_permit_reaches_its_node_and_the_nodes_word_its_hub_and_its_end_the_node(scene: Scene) -> None:
    async def play() -> None:
        async with both_up(scene):
            await until(lambda: number(scene.node))
            permit = await asyncio.to_thread(permit_for, scene)
            await until(lambda: has(scene.node, permit.id), 6.0)
            await until(lambda: own_permit(scene, permit).node_state == "waiting", 6.0)
            await asyncio.to_thread(held.countersign, scene.node, MANAGER, scene.hub.id, permit.id)
            await until(lambda: own_permit(scene, permit).usable, 6.0)
            rosa = replace(scene.rosa, permit=permit.id)
            await asyncio.to_thread(authorise, scene.node, rosa, scene.dataset, "view", door="web")

            await asyncio.to_thread(permits.revoke, scene.hub, scene.clara, permit.id, "The study is over.")
            await until(lambda: said(scene, permit.id) == "ended", 6.0)
            with pytest.raises(PermitDenied) as refused:
                authorise(scene.node, rosa, scene.dataset, "view", door="web")
            assert refused.value.reason == "revoked"

    asyncio.run(play())
    assert refusals(scene.node.audit) == refusals(scene.hub.audit) == []


def test_a_change_that_another_process_writes_is_told_at_once(scene: Scene) -> None:
    async def play() -> None:
        async with both_up(scene):
            await until(lambda: number(scene.node))
            with open_test_hub(scene.hub.folder) as elsewhere:
                permit = await asyncio.to_thread(permit_for, replace(scene, hub=elsewhere))
                await until(lambda: has(scene.node, permit.id), 6.0)
                await asyncio.to_thread(accounts.set_disabled, elsewhere.engine, "rosa", True)
                await until(lambda: said(scene, permit.id) == "ended", 6.0)
                await asyncio.to_thread(accounts.set_disabled, elsewhere.engine, "rosa", False)
                await until(lambda: said(scene, permit.id) == "valid", 6.0)

    asyncio.run(play())


@pytest.mark.usefixtures("hasty")
def test_states_are_told_again_and_again_without_a_change(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_exchange, "STATES_EVERY", 0.2)

    async def play() -> None:
        async with both_up(scene):
            await until(lambda: number(scene.node))
            first = number(scene.node)
            await until(lambda: number(scene.node) >= first + 3)

    asyncio.run(play())
    assert refusals(scene.node.audit) == []


def test_a_hub_that_rings_all_the_time_is_asked_once_a_second(scene: Scene) -> None:
    asked: list[float] = []

    async def count(sender: str, message: bytes) -> bytes | None:
        if peek(message)[1]["kind"] == "jobs":
            asked.append(time.monotonic())
        return await asyncio.to_thread(receive, scene.hub, sender, message)

    async def play() -> None:
        line = line_of(scene.hub, scene.hub.id)
        await line.serve(count)
        async with node_up(scene.hub, scene.node):
            until_then = time.monotonic() + 3.5
            while time.monotonic() < until_then:
                ring = seal_message(
                    scene.hub.signing, wire.Ring(), hub=scene.hub.id, sender=scene.hub.id, to=scene.node.id
                )
                await line.send(scene.node.id, ring.data, 5.0)
                await asyncio.sleep(0.02)

    asyncio.run(play())
    assert len(asked) >= 2
    assert all(later - earlier > 0.8 for earlier, later in pairwise(asked))


def test_a_silent_node_delays_no_other(scene: Scene, tmp_path: Path) -> None:
    async def hang(_: str, __: bytes) -> bytes | None:
        await asyncio.sleep(60)
        return None

    async def play(silent: Node) -> None:
        await line_of(scene.hub, silent.id).serve(hang)
        async with both_up(scene):
            await until(lambda: number(scene.node), 6.0)
            permit = await asyncio.to_thread(permit_for, scene)
            await until(lambda: has(scene.node, permit.id), 6.0)

    with open_joined_node(tmp_path / "silent", scene.hub, seed=2) as (silent, _):
        asyncio.run(play(silent))


def test_a_node_that_was_away_hears_at_its_return(scene: Scene) -> None:
    async def play() -> None:
        async with hub_up(scene.hub):
            permit = await asyncio.to_thread(permit_for, scene)
            await asyncio.sleep(0.7)  # told in vain
            async with node_up(scene.hub, scene.node):
                await until(lambda: has(scene.node, permit.id), 6.0)

    asyncio.run(play())


@pytest.mark.usefixtures("hasty")
def test_a_hub_that_was_away_is_told_at_its_return(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_exchange, "GREET_AGAIN", 0.2)

    async def play() -> None:
        permit = await asyncio.to_thread(permit_for, scene)
        async with node_up(scene.hub, scene.node):
            await asyncio.sleep(0.5)
            async with hub_up(scene.hub):
                await until(lambda: own_permit(scene, permit).node_state == "waiting", 6.0)

    asyncio.run(play())


def test_more_permits_than_fit_into_an_answer_all_arrive(scene: Scene) -> None:
    many = [publish(scene.hub, scene.node, count) for count in range(2, 62)]
    for wanted in (many[:30], many[30:]):
        for item in ask_for(scene.hub, scene.rosa, *wanted).items:
            grant(scene.hub, scene.clara, item.id)

    async def play() -> None:
        async with both_up(scene):
            await until(lambda: len(held.listed(scene.node)) == 60, 40.0)

    asyncio.run(play())


def test_a_visa_that_is_refused_hinders_no_other(scene: Scene) -> None:
    first, second = permit_for(scene), permit_for(scene)
    forged = STRANGER.sign(papers.VISA, {"jti": first.id})
    with scene.hub.engine.begin() as connection:
        connection.execute(update(hub_permits).where(hub_permits.c.id == first.id).values(visa=forged))

    async def play() -> None:
        async with both_up(scene):
            await until(lambda: has(scene.node, second.id))
            await until(lambda: own_permit(scene, second).node_state == "waiting")

    asyncio.run(play())
    assert not has(scene.node, first.id)
    [refused] = scene.node.audit.entries(9, action="visa-refused")
    assert refused.details["reason"] == "forged"


def test_a_visa_that_fails_in_no_foreseen_way_hinders_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = permit_for(scene), permit_for(scene)
    take = held.take_visa

    def failing(node: Node, hub: str, text: str) -> None:
        if text == visa_of(scene.hub, first.id):
            raise RuntimeError
        take(node, hub, text)

    monkeypatch.setattr(held, "take_visa", failing)

    async def play() -> None:
        async with both_up(scene):
            await until(lambda: has(scene.node, second.id))

    asyncio.run(play())
    assert "visa-not-taken" in [record.message for record in caplog.records if record.levelno >= logging.ERROR]


# --- lists of states that are not what they seem ------------------------------------------------------------------


def test_an_old_list_is_refused_also_after_the_node_was_started_again(scene: Scene) -> None:
    permit = permit_for(scene)
    old = permits.status_list(scene.hub, scene.node.id)
    assert told(scene.hub, scene.node, wire.Status(paper=old)) == wire.Done()
    permits.revoke(scene.hub, scene.clara, permit.id, "Over.")
    new = permits.status_list(scene.hub, scene.node.id)
    assert told(scene.hub, scene.node, wire.Status(paper=new)) == wire.Done()
    with open_test_node(scene.node.folder) as again:
        for node in (scene.node, again):
            for paper in (old, new):
                assert told(scene.hub, node, wire.Status(paper=paper)) == wire.Refusal(reason="replayed")
                assert refusals(again.audit)[0] == "replayed"
    assert said(scene, permit.id) == "ended"


def test_a_list_for_another_node_is_refused(scene: Scene, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "other", scene.hub, seed=2) as (other, _):
        paper = permits.status_list(scene.hub, other.id)
        assert told(scene.hub, scene.node, wire.Status(paper=paper)) == wire.Refusal(reason="misaddressed")
    assert refusals(scene.node.audit) == ["misaddressed"]
    assert number(scene.node) == 0


def test_the_key_of_messages_alone_makes_neither_states_nor_visas_nor_orders(scene: Scene) -> None:
    thief = replace(scene.hub, permit_key=STRANGER)
    permit = permit_for(replace(scene, hub=thief))
    paper = permits.status_list(thief, scene.node.id)
    assert told(thief, scene.node, wire.Status(paper=paper)) == wire.Refusal(reason="forged")

    async def play() -> None:
        async with hub_up(thief), node_up(thief, replace(scene.node, refusals=Refusals())):
            await until(lambda: len(refusals(scene.node.audit)) >= 2)

    asyncio.run(play())
    with pytest.raises(PermitDenied):
        held.take_visa(scene.node, scene.hub.id, visa_of(scene.hub, permit.id))
    assert set(refusals(scene.node.audit)) == {"forged"}
    assert number(scene.node) == 0 and not has(scene.node, permit.id)


def test_a_node_that_refuses_its_states_is_logged_and_told_again_later(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    thief = replace(scene.hub, permit_key=STRANGER)

    async def play() -> None:
        async with hub_up(thief), node_up(thief, scene.node):
            await until(lambda: "node-refused" in caplog.text)
            await asyncio.sleep(1.2)  # two more looks

    asyncio.run(play())
    assert len(refusals(scene.node.audit)) <= 2  # at its start, and when it had said hello
    [record, *_] = [record for record in caplog.records if record.message == "node-refused"]
    assert "forged" in record.__dict__["error"]


@pytest.mark.usefixtures("hasty")
def test_a_node_that_cannot_be_told_hinders_no_other(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    states = tell.states

    async def play() -> None:
        async with both_up(scene):
            await until(lambda: number(scene.node))
            await until(lambda: "node-not-told" in caplog.text)

    with open_joined_node(tmp_path / "other", scene.hub, seed=2) as (other, _):

        def failing(hub: Hub, node: str) -> Sealed:
            if node == other.id:
                raise BadInput("secret", "")
            return states(hub, node)

        monkeypatch.setattr(tell, "states", failing)
        asyncio.run(play())


def test_a_part_that_fails_ends_the_connection_with_its_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is logged, and made anew."""

    def failing(node: Node, hub: str) -> tuple[int, str | None]:
        raise RuntimeError

    monkeypatch.setattr(fetch, "word", failing)
    with pytest.raises(RuntimeError):
        asyncio.run(run_membership(scene.node, scene.joined, transport=line_of(scene.hub, scene.node.id)))


def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    lost: list[int] = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(1)
                if len(lost) > 2:
                    raise

    async def play() -> None:
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await end_tasks([task])
        assert task.cancelled()

    asyncio.run(play())
    assert len(lost) == 3
