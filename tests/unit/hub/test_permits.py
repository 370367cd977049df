"""Permits at the hub: visas, lists of states, what nodes say, ends, hand-overs; with real records."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from sqlalchemy import update
from tests.access import (
    BAD_ADDRESSES,
    IMAGES_URL,
    Scene,
    ask_for,
    countersign,
    deliver,
    grant,
    hear,
    in_days,
    iri,
    member,
    open_scene,
    own_permit,
    permit_for,
    permit_in_force,
    person,
    publish,
    visa_of,
)
from tests.federating import open_joined_node, open_test_hub

from carina.errors import BadInput, CarinaError, Conflict, NotAllowed, NotFound, PermitDenied, TooMany, Unreachable
from carina.federation import papers, wire
from carina.federation.papers import StatusList
from carina.hub import nodes, permits, requests
from carina.hub.centre import Hub
from carina.hub.permits import Permit
from carina.model.clock import now, stamp
from carina.model.permit import Terms
from carina.model.principal import Principal
from carina.node import permits as node_permits
from carina.storage import accounts
from carina.storage.hub_schema import hub_permits
from carina.storage.hub_schema import nodes as node_rows


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_scene(tmp_path) as opened:
        yield opened


@pytest.fixture
def permit(scene: Scene) -> Permit:
    return permit_for(scene)


def states(hub: Hub, node: str) -> StatusList:
    """The next list, as its node reads it."""
    return papers.open_status(permits.status_list(hub, node), hub.permit_key.public_jwk, hub=hub.id, node=node)


def change(scene: Scene, permit: Permit, **values: Any) -> None:
    with scene.hub.engine.begin() as connection:
        connection.execute(update(hub_permits).where(hub_permits.c.id == permit.id).values(**values))


def expire(scene: Scene, permit: Permit) -> None:
    change(scene, permit, expires_at=stamp(now()))


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- visas --------------------------------------------------------------------------------------------------------


def test_a_visa_is_what_ga4gh_describes_for_whoever_has_the_public_key(tmp_path: Path) -> None:
    """GA4GH AAI 1.2 and Passport 1.2, read without the code that wrote it."""
    with open_scene(tmp_path, terms=Terms(versions=(4,))) as scene:
        before = int(now().timestamp())
        permit = permit_for(
            scene, actions=("view",), last_day=in_days(3), version="4", conditions="Publish openly.\nü <b>"
        )
        text, keys = visa_of(scene.hub, permit.id), permits.public_jwks(scene.hub)["keys"]
    head, body, signature = text.split(".")
    header, claims = json.loads(octets(head)), json.loads(octets(body))
    [jwk] = [key for key in keys if key["kid"] == header["kid"]]
    assert {name: jwk[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "EC",
        "crv": "P-256",
        "alg": "ES256",
        "use": "sig",
    }
    assert set(jwk) == {"kty", "crv", "x", "y", "kid", "alg", "use"}  # and no `d`
    x, y = (int.from_bytes(octets(jwk[name]), "big") for name in ("x", "y"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(half, "big") for half in (octets(signature)[:32], octets(signature)[32:]))
    assert len(octets(signature)) == 64
    public.verify(encode_dss_signature(r, s), f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    assert header == {
        "alg": "ES256",
        "typ": "vnd.ga4gh.visa+jwt",
        "kid": jwk["kid"],
        "jku": "http://hub.localhost:8700/.well-known/jwks.json",
    }
    day = date.fromisoformat(in_days(3)) + timedelta(days=1)
    assert (claims["iss"], claims["sub"], claims["jti"]) == ("http://hub.localhost:8700", "rosa", permit.id)
    assert before <= claims["iat"] <= int(now().timestamp())
    assert claims["exp"] == int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    assert claims["ga4gh_visa_v1"] == {
        "type": "ControlledAccessGrants",
        "asserted": claims["iat"],
        "value": iri(1),
        "source": f"http://hub.localhost:8700/nodes#{scene.node.id}",
        "by": "dac",
    }
    assert claims["aud"] == scene.node.id
    assert claims["carina"] == {
        "hub": scene.hub.id,
        "node": scene.node.id,
        "name": "Rosa",
        "actions": ["view"],
        "purpose": "To train and test a detector.",
        "project": "Lung nodules",
        "organisation": "University of Example",
        "version": "4",
        "conditions": "Publish openly.\nü <b>",
    }


def test_the_visas_key_is_not_the_key_of_messages(scene: Scene) -> None:
    [key] = permits.public_jwks(scene.hub)["keys"]
    assert key["kid"] == scene.hub.permit_key.thumbprint != scene.hub.signing.thumbprint
    assert key["x"] != scene.hub.signing.public_jwk["x"]


def test_a_permit_with_the_last_day_d_ends_when_that_day_does(scene: Scene) -> None:
    permit = permit_for(scene, last_day=in_days(0))
    tomorrow = f"{in_days(1)}T00:00:00.000000Z"
    assert (permit.last_day, permit.expires_at) == (in_days(0), tomorrow)
    visa = papers.open_visa(
        visa_of(scene.hub, permit.id),
        scene.hub.permit_key.public_jwk,
        hub=scene.hub.id,
        node=scene.node.id,
    )
    assert stamp(visa.expires) == tomorrow
    papers.check_times(visa, visa.expires - timedelta(seconds=1))
    with pytest.raises(PermitDenied) as expired:
        papers.check_times(visa, visa.expires)
    assert expired.value.reason == "expired"


def test_the_longest_texts_in_every_alphabet_go_into_a_visa_that_travels(scene: Scene) -> None:
    asked = ask_for(
        scene.hub,
        person(scene.hub, "longest", shown="\n\x00" + "𝒳" * 190),
        scene.dataset,
        project="𝒳" * 200,
        purpose="𝒳" * 2000,
        organisation='"' * 200,
    )
    permit = grant(scene.hub, scene.clara, asked.items[0].id, conditions="𝒳" * 2000)
    assert permit.account_name == "𝒳" * 190
    answer = permits.report(scene.hub, scene.node.id, wire.Permits(held={}, wanted=(permit.id,)))
    assert wire.read(wire.Visas, wire.write(answer)).visas == (visa_of(scene.hub, permit.id),)


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_permit_is_seen_by_its_person_the_nodes_committee_and_operators(
    scene: Scene, permit: Permit, tmp_path: Path
) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2) as (second, _):
        carlos = member(scene.hub, second.id, "carlos")
    otto = person(scene.hub, "otto", "operator")
    for who in (scene.rosa, scene.clara, otto):
        assert permits.get(scene.hub, who, permit.id) == permit
    for who in (carlos, person(scene.hub, "rafael"), Principal("nobody", scene.hub.id, frozenset())):
        with pytest.raises(NotFound):
            permits.get(scene.hub, who, permit.id)
        with pytest.raises(NotAllowed):
            permits.of_node(scene.hub, who, scene.node.id)
        assert permits.listed(scene.hub, who) == []
    assert permits.of_node(scene.hub, scene.clara, scene.node.id) == [permit]
    assert permits.of_node(scene.hub, otto, scene.node.id) == [permit]
    assert permits.of_node(scene.hub, carlos, second.id) == []
    for unknown in ("", "0" * 26):
        with pytest.raises(NotFound):
            permits.get(scene.hub, otto, unknown)
    with pytest.raises(NotFound):
        permits.of_node(scene.hub, otto, "n-nobody")


def test_a_persons_permits_are_listed_newest_first(scene: Scene) -> None:
    made = [permit_for(scene).id for _ in range(3)]
    assert [permit.id for permit in permits.listed(scene.hub, scene.rosa)] == made[::-1]
    assert permits.listed(scene.hub, scene.clara) == []


def test_a_permit_says_in_words_how_it_stands(scene: Scene, permit: Permit) -> None:
    assert (permit.condition_of(), permit.usable) == ("waits for the node", False)
    for state, words in (
        ("waiting", "waits for the node"),
        ("declined", "refused by the node"),
        ("withdrawn", "refused by the node"),
        ("in-force", "in force"),
    ):
        hear(scene.hub, permit, state)
        assert own_permit(scene, permit).condition_of() == words
        assert own_permit(scene, permit).usable == (words == "in force")
    held = own_permit(scene, permit)
    assert held.condition_of(papers.LEEWAY + now()) == "in force"
    assert held.condition_of(datetime.fromisoformat(held.expires_at)) == "expired"
    accounts.set_disabled(scene.hub.engine, "rosa", True)
    assert own_permit(scene, permit).condition_of() == "ended"
    accounts.set_disabled(scene.hub.engine, "rosa", False)
    nodes.left(scene.hub, scene.node.id)
    assert own_permit(scene, permit).condition_of() == "waits for the node"
    permits.revoke(scene.hub, scene.rosa, permit.id)
    assert own_permit(scene, permit).condition_of() == "ended"


# --- ending -------------------------------------------------------------------------------------------------------


def test_the_committee_ends_a_permit_with_a_reason(scene: Scene, permit: Permit) -> None:
    with pytest.raises(BadInput, match="The reason is missing"):
        permits.revoke(scene.hub, scene.clara, permit.id, " ")
    ended = permits.revoke(scene.hub, scene.clara, permit.id, "<b>Misused</b>")
    assert (ended.state, ended.ended_by, ended.ended_why) == ("revoked", "clara", "<b>Misused</b>")
    assert ended.ended_at is not None and not ended.usable
    [entry] = scene.hub.audit.entries(1)
    assert (entry.action, entry.actor, entry.subject) == ("permit-revoked", "clara", permit.id)
    assert "Misused" not in str(entry)
    event = requests.item(scene.hub, scene.rosa, permit.item)[1].events[-1]
    assert (event.step, event.actor, event.words, event.at) == ("revoked", "clara", "<b>Misused</b>", ended.ended_at)


def test_a_person_gives_a_permit_back_without_a_reason(scene: Scene, permit: Permit) -> None:
    assert permits.revoke(scene.hub, scene.rosa, permit.id).ended_by == "rosa"


def test_an_operator_ends_a_permit_with_a_reason(scene: Scene, permit: Permit) -> None:
    otto = person(scene.hub, "otto", "operator")
    with pytest.raises(BadInput):
        permits.revoke(scene.hub, otto, permit.id)
    assert permits.revoke(scene.hub, otto, permit.id, "Left the university.").ended_by == "otto"


def test_nobody_else_ends_a_permit(scene: Scene, permit: Permit, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2) as (second, _):
        carlos = member(scene.hub, second.id, "carlos")
    for who in (carlos, person(scene.hub, "rafael")):
        with pytest.raises(NotFound):
            permits.revoke(scene.hub, who, permit.id, "Because.")
    assert own_permit(scene, permit).state == "granted"


def test_a_permit_ends_once(scene: Scene, permit: Permit) -> None:
    def attempt(who: Principal) -> CarinaError | None:
        try:
            permits.revoke(scene.hub, who, permit.id, "Enough.")
        except CarinaError as error:
            return error
        return None

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(attempt, [scene.clara, scene.rosa] * 2))
    assert ended.count(None) == 1 and {type(error) for error in ended if error} == {Conflict}
    assert len(scene.hub.audit.entries(50, action="permit-revoked")) == 1


def test_an_expired_permit_cannot_be_ended(scene: Scene, permit: Permit) -> None:
    expire(scene, permit)
    with pytest.raises(Conflict, match="over already"):
        permits.revoke(scene.hub, scene.clara, permit.id, "Too late.")


# --- lists of states ----------------------------------------------------------------------------------------------


def test_a_list_has_the_states_of_that_nodes_permits_only(scene: Scene, permit: Permit, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2) as (second, _):
        other = publish(scene.hub, second, 2)
        carlos = member(scene.hub, second.id, "carlos")
    asked = ask_for(scene.hub, scene.rosa, other, actions=("analyse",)).items[0]
    theirs = grant(scene.hub, carlos, asked.id, actions=("analyse",))
    assert states(scene.hub, scene.node.id).permits == {permit.id: "valid"}
    listed = states(scene.hub, second.id)
    assert listed.permits == {theirs.id: "valid"}
    assert (listed.hub, listed.node) == (scene.hub.id, second.id)
    assert abs(listed.issued - now().timestamp()) < 5
    with pytest.raises(NotFound):
        permits.status_list(scene.hub, "n-nobody")


def test_a_permit_that_was_ended_is_ended_in_the_next_list(scene: Scene, permit: Permit) -> None:
    kept = permit_for(scene)
    permits.revoke(scene.hub, scene.clara, permit.id, "Enough.")
    assert states(scene.hub, scene.node.id).permits == {permit.id: "ended", kept.id: "valid"}


def test_a_disabled_account_ends_its_permits_as_long_as_that_lasts(scene: Scene, permit: Permit) -> None:
    accounts.set_disabled(scene.hub.engine, "rosa", True)
    assert states(scene.hub, scene.node.id).permits == {permit.id: "ended"}
    accounts.set_disabled(scene.hub.engine, "rosa", False)
    assert states(scene.hub, scene.node.id).permits == {permit.id: "valid"}


def test_an_expired_permit_leaves_the_list(scene: Scene, permit: Permit) -> None:
    expire(scene, permit)
    assert states(scene.hub, scene.node.id).permits == {}


def test_each_list_has_a_higher_number_also_at_once_and_with_a_clock_set_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = sorted(pool.map(lambda _: states(scene.hub, scene.node.id).number, range(12)))
    assert len(set(numbers)) == 12
    assert abs(numbers[0] - now().timestamp()) < 30
    monkeypatch.setattr(permits, "now", lambda: now() - timedelta(days=400))
    assert states(scene.hub, scene.node.id).number == numbers[-1] + 1


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    with open_scene(tmp_path) as scene:
        node = scene.node.id
        before = [states(scene.hub, node).number for _ in range(3)][-1]
    with open_test_hub(tmp_path / "hub") as hub:
        assert states(hub, node).number > before


def test_numbers_are_higher_than_all_before_also_when_records_were_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, backup = tmp_path / "hub" / "records.sqlite", tmp_path / "backup.sqlite"
    with open_scene(tmp_path) as scene:
        node = scene.node.id
        states(scene.hub, node)
        with closing(sqlite3.connect(records)) as source, closing(sqlite3.connect(backup)) as copy:
            source.backup(copy)
        began, seconds = now(), 0
        monkeypatch.setattr(permits, "now", lambda: began + timedelta(seconds=seconds))
        highest = 0
        for seconds in range(0, 200, 20):  # noqa: B007 - the clock reads it
            highest = max(highest, states(scene.hub, node).number, states(scene.hub, node).number)
    for file in records.parent.glob("records.sqlite*"):
        file.unlink()
    records.write_bytes(backup.read_bytes())
    seconds = 220
    with open_test_hub(tmp_path / "hub") as hub:
        assert states(hub, node).number > highest


def test_a_node_takes_the_lists_in_their_order(scene: Scene, permit: Permit) -> None:
    first, second = (permits.status_list(scene.hub, scene.node.id) for _ in range(2))
    node_permits.take_states(scene.node, scene.hub.id, first)
    node_permits.take_states(scene.node, scene.hub.id, second)
    with pytest.raises(BadInput):
        node_permits.take_states(scene.node, scene.hub.id, first)


def test_a_node_has_no_more_permits_than_a_list_can_carry(
    scene: Scene, permit: Permit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "MOST_OF_A_NODE", 1)
    with pytest.raises(TooMany, match="have not expired"):
        permit_for(scene)
    expire(scene, permit)
    assert permit_for(scene).state == "granted"


def test_the_longest_list_travels(scene: Scene) -> None:
    full = {f"{number:026}": "valid" for number in range(permits.MOST_OF_A_NODE)}
    paper = papers.make_status(
        scene.hub.permit_key,
        wire.read(StatusList, {"hub": scene.hub.id, "node": scene.node.id, "number": 1, "issued": 1, "permits": full}),
    )
    message = scene.hub.signing.sign(wire.write(wire.Status(paper=paper)))
    assert len(message) < 900_000


# --- what nodes say -----------------------------------------------------------------------------------------------


def said(scene: Scene, *wanted: str, after: float = 0, **held: Any) -> wire.Visas:
    """The node's report, `after` so many seconds from now."""
    body = wire.read(wire.Permits, {"held": held, "wanted": list(wanted)})
    return permits.report(scene.hub, scene.node.id, body, at=now() + timedelta(seconds=after))


def word(state: str, reason: str = "", **use: Any) -> dict[str, Any]:
    return {"state": state, "reason": reason, "use": use}


def test_a_nodes_word_and_the_use_are_kept_and_only_a_change_is_audited(scene: Scene, permit: Permit) -> None:
    at = stamp()
    said(scene, **{permit.id: word("waiting")})
    said(scene, after=60, **{permit.id: word("in-force", view=3, retrieve=1, last=at)})
    taken = own_permit(scene, permit)
    assert (taken.node_state, taken.node_reason) == ("in-force", "")
    assert taken.use == {"view": 3, "retrieve": 1, "analyse": 0, "last": at}
    assert taken.node_since > permit.node_since
    rows = scene.hub.audit.verify()
    said(scene, after=80, **{permit.id: word("in-force", view=4, retrieve=1, last=at)})
    said(scene, after=180, **{permit.id: word("in-force", view=4, retrieve=1, last=at)})
    assert (own_permit(scene, permit).use["view"], own_permit(scene, permit).node_since) == (4, taken.node_since)
    assert scene.hub.audit.verify() == rows
    said(scene, after=200, **{permit.id: word("withdrawn", "Our ethics board said no.")})
    assert own_permit(scene, permit).node_reason == "Our ethics board said no."
    trail = [(entry.action, entry.actor, entry.subject) for entry in scene.hub.audit.entries(3)]
    assert trail == [
        ("permit-withdrawn", scene.node.id, permit.id),
        ("permit-in-force", scene.node.id, permit.id),
        ("permit-waiting", scene.node.id, permit.id),
    ]


def words(scene: Scene) -> list[str]:
    """The node's word on permits as the audit trail has it, from its first."""
    actions = [entry.action for entry in scene.hub.audit.entries(100) if entry.actor == scene.node.id]
    return [action.removeprefix("permit-") for action in reversed(actions) if action.startswith("permit-")]


def test_a_node_that_turns_its_word_in_each_report_fills_no_audit_trail(scene: Scene, permit: Permit) -> None:
    rows = scene.hub.audit.verify()
    for second in range(0, 181):
        state = "in-force" if second % 2 else "withdrawn"
        said(scene, after=second, **{permit.id: word(state)})
        if second % 30 == 0:
            assert own_permit(scene, permit).node_state == state  # the newest word is the one that counts
    assert scene.hub.audit.verify() - rows == 4  # after 0, 60, 120 and 180 s


def test_a_word_that_was_taken_back_at_once_is_audited_as_it_stands_in_the_end(scene: Scene, permit: Permit) -> None:
    said(scene, after=0, **{permit.id: word("in-force")})
    said(scene, after=10, **{permit.id: word("withdrawn")})
    said(scene, after=59, **{permit.id: word("withdrawn")})
    assert words(scene) == ["in-force"]
    for after in (61, 90, 125):
        said(scene, after=after, **{permit.id: word("withdrawn")})
    assert words(scene) == ["in-force", "withdrawn"]
    other = permit_for(scene)
    said(scene, after=126, **{other.id: word("in-force")})  # another permit has a minute of its own
    assert words(scene) == ["in-force", "withdrawn", "in-force"]


def test_a_node_has_no_word_on_other_nodes_permits_nor_gets_their_visas(
    scene: Scene, permit: Permit, tmp_path: Path
) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2) as (second, _):
        rows = scene.hub.audit.verify()
        body = wire.Permits(held={permit.id: wire.read(wire.Held, word("in-force", view=9))}, wanted=(permit.id,))
        assert permits.report(scene.hub, second.id, body).visas == ()
    assert own_permit(scene, permit) == permit
    assert scene.hub.audit.verify() == rows


def test_unknown_permits_are_passed_over(scene: Scene, permit: Permit) -> None:
    unknown = "0" * 26
    answer = said(scene, unknown, permit.id, **{unknown: word("in-force")})
    assert answer.visas == (visa_of(scene.hub, permit.id),)


def test_a_visa_is_given_only_while_its_permit_holds(scene: Scene) -> None:
    revoked, expired, held = (permit_for(scene) for _ in range(3))
    permits.revoke(scene.hub, scene.rosa, revoked.id)
    expire(scene, expired)
    assert said(scene, revoked.id, expired.id, held.id).visas == (visa_of(scene.hub, held.id),)
    accounts.set_disabled(scene.hub.engine, "rosa", True)
    assert said(scene, held.id).visas == ()


def test_visas_come_in_portions_that_a_message_can_carry(scene: Scene) -> None:
    made = sorted(permit_for(scene).id for _ in range(4))
    for number, permit in enumerate(made):
        change(scene, replace(permits.get(scene.hub, scene.rosa, permit)), visa=f"{number}.b.{'c' * 59_000}")
    with scene.hub.engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM permits").mappings().all()
        items = connection.exec_driver_sql("SELECT * FROM request_items LIMIT 1").mappings().one()
        for number in range(60):
            made.append(f"0{number:025}")
            item = {**items, "id": made[-1], "dataset": iri(number + 9)}
            connection.exec_driver_sql(*_insert("request_items", item))
            row = {**rows[0], "id": made[-1], "item": made[-1], "visa": f"a{number}.b.{'c' * 9_000}"}
            connection.exec_driver_sql(*_insert("permits", row))
    wanted, given = list(made), 0
    while wanted:
        answer = said(scene, *wanted)
        assert 0 < len(answer.visas) <= permits.MOST_VISAS
        assert sum(map(len, answer.visas)) <= permits.MOST_BYTES
        assert len(scene.hub.signing.sign(wire.write(answer))) < 900_000
        wanted = [permit for permit in wanted if visa_of(scene.hub, permit) not in answer.visas]
        given += len(answer.visas)
    assert given == 64


def _insert(table: str, row: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name in row)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())


def test_a_permit_goes_its_whole_way_to_a_node_and_back(tmp_path: Path) -> None:
    with open_scene(tmp_path, real=True) as scene:
        permit = permit_for(scene)
        deliver(scene.hub, scene.node)
        assert own_permit(scene, permit).node_state == "waiting"
        countersign(scene, permit)
        assert own_permit(scene, permit).usable
        node_permits.withdraw(scene.node, "dora", scene.hub.id, permit.id, "No more.")
        deliver(scene.hub, scene.node)
        assert (own_permit(scene, permit).node_state, own_permit(scene, permit).node_reason) == (
            "withdrawn",
            "No more.",
        )


# --- handing over -------------------------------------------------------------------------------------------------


def test_a_handover_is_a_code_for_this_node_permit_and_person(tmp_path: Path) -> None:
    with open_scene(tmp_path, real=True) as scene:
        permit = permit_in_force(scene, actions=("retrieve",))
        made = permits.handover(scene.hub, scene.rosa, permit.id)
        key = scene.hub.permit_key.public_jwk
        code = papers.open_code(made.code, key, hub=scene.hub.id, node=scene.node.id)
        assert made.url == IMAGES_URL and made.code not in made.url
        assert (code.permit, code.dataset, code.subject, code.name) == (permit.id, scene.dataset, "rosa", "Rosa")
        assert code.exp - code.iat == 60
        other = permits.handover(scene.hub, scene.rosa, permit.id)
        assert papers.open_code(other.code, key, hub=scene.hub.id, node=scene.node.id).nonce != code.nonce
        [entry, _] = scene.hub.audit.entries(2)
        assert (entry.action, entry.actor, entry.subject) == ("handover-made", "rosa", permit.id)
        assert made.code not in str(entry)


def test_only_its_person_is_handed_over_under_a_permit(scene: Scene, permit: Permit) -> None:
    hear(scene.hub, permit)
    for who in (scene.clara, person(scene.hub, "otto", "operator")):
        with pytest.raises(NotAllowed, match="Only the person"):
            permits.handover(scene.hub, who, permit.id)
    with pytest.raises(NotFound):
        permits.handover(scene.hub, person(scene.hub, "rafael"), permit.id)
    assert scene.hub.audit.entries(9, action="handover-made") == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("unknown", "not-countersigned"),
        ("waiting", "not-countersigned"),
        ("declined", "declined"),
        ("withdrawn", "declined"),
    ],
)
def test_a_permit_that_is_not_in_force_hands_nobody_over(scene: Scene, permit: Permit, state: str, reason: str) -> None:
    change(scene, permit, node_state=state)
    with pytest.raises(PermitDenied) as denied:
        permits.handover(scene.hub, scene.rosa, permit.id)
    assert denied.value.reason == reason


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_with_a_second_meaning_hands_nobody_over(scene: Scene, permit: Permit, address: str) -> None:
    hear(scene.hub, permit)
    with scene.hub.engine.begin() as connection:
        connection.execute(update(node_rows).values(public_url=address))
    with pytest.raises(Unreachable, match="cannot be used"):
        permits.handover(scene.hub, scene.rosa, permit.id)
    assert scene.hub.audit.entries(9, action="handover-made") == []


def test_an_ended_or_expired_permit_hands_nobody_over(scene: Scene, permit: Permit) -> None:
    hear(scene.hub, permit)
    assert permits.handover(scene.hub, scene.rosa, permit.id).url == IMAGES_URL
    expire(scene, permit)
    with pytest.raises(PermitDenied) as denied:
        permits.handover(scene.hub, scene.rosa, permit.id)
    assert denied.value.reason == "expired"
    other = permit_for(scene)
    hear(scene.hub, other)
    permits.revoke(scene.hub, scene.clara, other.id, "Enough.")
    with pytest.raises(PermitDenied) as denied:
        permits.handover(scene.hub, scene.rosa, other.id)
    assert denied.value.reason == "revoked"


def test_a_permit_for_analyses_opens_no_images(scene: Scene) -> None:
    permit = permit_for(scene, actions=("analyse",))
    hear(scene.hub, permit)
    assert own_permit(scene, permit).usable
    with pytest.raises(PermitDenied) as denied:
        permits.handover(scene.hub, scene.rosa, permit.id)
    assert denied.value.reason == "action-not-granted"


def test_nobody_is_handed_over_to_a_node_that_offers_no_images_or_has_left(scene: Scene, permit: Permit) -> None:
    hear(scene.hub, permit)
    with scene.hub.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE nodes SET public_url = NULL")
    with pytest.raises(PermitDenied) as denied:
        permits.handover(scene.hub, scene.rosa, permit.id)
    assert denied.value.reason == "action-not-allowed"
    nodes.remove(scene.hub, scene.node.id)
    with pytest.raises(PermitDenied):
        permits.handover(scene.hub, scene.rosa, permit.id)
