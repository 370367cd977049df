"""Each part of the overview with a fault that was really made: what is said, what to do, and the page it leads to."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update
from starlette.testclient import TestClient
from tests import permitting, postgres
from tests.pages import PASSWORD, node_app, sign_in
from tests.reviewing import hold, ultrasound
from tests.support import SCANNER, ct
from tests.unit.interfaces.web.conftest import NODE_URL, client_of
from tests.unit.node.test_keylist import certificate
from tests.unit.node.test_overview import ROOM, came

from carina.deid.profile import load_profile
from carina.errors import FinderUnavailable
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.model.clock import new_id, now, stamp
from carina.model.instance import Source
from carina.node import ingest, jobs, keylist, overview, permits, pixels, worker
from carina.node.overview import Overview
from carina.node.part import Around, Part
from carina.node.site import Node
from carina.storage import audit
from carina.storage.accounts import add_account
from carina.storage.schema import arrivals, hubs, node_jobs, node_tables, permit_states

STRANGER = Source("aet", "STRANGER")


def drain(node: Node) -> None:
    while worker.work(node, "test"):
        pass


def wanting(client: TestClient, node: Node, name: str, around: Around = ROOM) -> tuple[Overview, Part]:
    """The overview, and its part of this name, which wants somebody and leads to a page that is there."""
    seen = overview.overview(node, around)
    [part] = [one for one in seen.parts if one.name == name]
    assert part.state != "good" and part.hint and part in seen.wanting, part
    assert seen.verdict == ("trouble" if "bad" in [one.state for one in seen.parts] else "attention")
    assert part.sentence.rstrip(".") in seen.sentence or len(seen.wanting) > 2
    path, _, anchor = part.link.partition("#")
    page = client.get(path)
    assert page.status_code == 200, (part, page.status_code)
    assert not anchor or f'id="{anchor}"' in page.text, part
    return seen, part


def test_reception_a_source_that_has_gone_silent(nora: TestClient, node: Node) -> None:
    for day in (20, 19, 18, 15, 14):
        came(node, day)
    _, part = wanting(nora, node, "Reception")
    assert part.sentence == "SCANNER has sent nothing for 14 days; its longest pause in four weeks was 3."
    assert "C-ECHO" in part.hint and part.link == "/arrivals"


def test_workers_a_process_that_was_killed(nora: TestClient, node: Node) -> None:
    names = ("worker-1", "worker-2")
    running = {name: subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for name in names}

    def alive() -> dict[str, int]:
        return {name: one.pid for name, one in running.items() if one.poll() is None}

    around = replace(ROOM, served=True, workers=alive, wanted=names)
    try:
        assert overview.overview(node, around).verdict == "well"
        running["worker-2"].kill()
        running["worker-2"].wait()
        seen, part = wanting(nora, node, "Workers", around)
        assert seen.sentence == "Trouble: 1 of 2 processes does not run."
        assert "the log says why" in part.hint and part.link == "/system#processes"
    finally:
        for one in running.values():
            one.kill()
            one.communicate()


def test_workers_a_spool_that_is_stuck(nora: TestClient, node: Node) -> None:
    ingest.receive(node, ct(), SCANNER)
    with node.engine.begin() as connection:
        connection.execute(update(arrivals).values(received_at=stamp(now() - timedelta(minutes=40, seconds=5))))
    _, part = wanting(nora, node, "Workers", replace(ROOM, served=True))
    assert part.sentence == "1 image has waited for a worker for 40 minutes." and "See the log" in part.hint
    _, part = wanting(nora, replace(node, most_waiting=1), "Workers")
    assert (part.state, part.sentence) == ("bad", "So many images wait that senders are asked to come again: 1.")


def test_pixel_checks_a_finder_that_does_not_start_and_an_image_that_cannot_be_searched(
    nora: TestClient, node: Node
) -> None:
    projects = {name: replace(one, profile=load_profile("research")) for name, one in node.projects.items()}
    cleaning = replace(node, projects=projects)
    ingest.receive(cleaning, ultrasound(1), SCANNER)
    drain(cleaning)

    def fails(error: Exception) -> None:
        def find(_data: bytes) -> None:
            raise error

        pixels.work(cleaning, "pixels-1", find)  # type: ignore[arg-type]

    with pytest.raises(FinderUnavailable):
        fails(FinderUnavailable())
    _, part = wanting(nora, cleaning, "Pixel checks")
    assert (part.state, part.sentence) == ("bad", FinderUnavailable().message)
    for _ in range(pixels.ATTEMPTS):
        fails(ZeroDivisionError())
    _, part = wanting(nora, cleaning, "Pixel checks")
    assert (part.state, part.sentence) == ("warn", "1 image could not be searched for text.")
    [held] = [one.id for one in overview.pixels.quarantine.entries(node)]
    assert held in nora.get(part.link).text, "the page that it leads to has what it speaks of"
    overview.pixels.quarantine.discard(node, "nora", ids=[held])
    assert overview.overview(cleaning, ROOM).verdict == "well"


def test_quarantine_that_grows(nora: TestClient, node: Node) -> None:
    for number in (1, 2):
        ingest.receive(node, ct(number=number), STRANGER)
    drain(node)
    seen, part = wanting(nora, node, "Quarantine")
    assert seen.sentence == "Attention: 2 images wait in quarantine for a decision."
    assert (part.hint, part.link) == ("Try them again, or discard them.", "/quarantine")


def test_quarantine_with_an_image_that_nobody_is_going_to_search(nora: TestClient, node: Node) -> None:
    """The project's profile does not have pixels searched: somebody must choose another, or discard it."""
    ingest.receive(node, ultrasound(1), SCANNER)
    drain(node)
    _, part = wanting(nora, node, "Quarantine")
    assert part.sentence == "1 image waits in quarantine for a decision."


def test_reviews_that_wait_for_a_reader(nora: TestClient, node: Node) -> None:
    one = hold(node, ultrasound(1))
    _, part = wanting(nora, node, "Reviews")
    assert part.sentence == "1 image waits for a reader." and part.link == "/review"
    assert one in nora.get(part.link).text


def test_a_disk_that_is_nearly_full_and_one_that_is_gone(
    nora: TestClient, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "RESERVE", shutil.disk_usage(node.folder).free)  # the real disk, with another limit
    seen, part = wanting(nora, node, "Disk", Around())
    assert seen.sentence.startswith("Trouble: The disk is full: ") and part.hint.startswith("Free some room")
    assert part.link == "/system#storage"
    _, part = wanting(nora, replace(node, folder=tmp_path / "unmounted"), "Disk", Around())
    assert (part.state, part.sentence) == ("bad", "The folder of the node cannot be looked at.")


def test_records_that_are_no_database_any_more_are_told_on_every_page(nora: TestClient, node: Node) -> None:
    assert nora.get("/").status_code == 200
    node.engine.dispose()
    place = Path(str(node.engine.url.database))
    for path in place.parent.glob("records.sqlite-*"):
        path.unlink()
    place.write_bytes(b"not a database" * 1000)
    page = nora.get("/")
    assert page.status_code == 500 and "cannot be used as a database" in page.text and "put a back-up" in page.text


def test_records_whose_server_is_gone_are_told_on_every_page(node: Node) -> None:
    folder = postgres.cluster()
    [name] = ["carina_overview_gone"]
    postgres.create(folder, name, "node")
    engine = postgres.open_engine(postgres.address_of(folder, name))
    away = replace(node, engine=engine, audit=audit.AuditTrail(engine))
    add_account(engine, "nora", PASSWORD, {"data-manager"})
    app = node_app(away, Identity(LocalAccounts(engine, node.id), node.id, secure=False), NODE_URL)
    with client_of(app, NODE_URL) as client:
        assert sign_in(client, "nora").status_code == 303
        assert client.get("/").status_code == 200
        postgres.drop(folder, [name])
        page = client.get("/")
    engine.dispose()
    assert page.status_code in (500, 503) and "database" in page.text.lower() and "Something failed" not in page.text


@pytest.mark.parametrize(
    ("days", "begins", "sentence", "hint"),
    [
        (9, -1, "it ends in 9 days.", "Put a new certificate in place"),
        (1, -1, "it ends in 1 day.", "Put a new certificate in place"),
        (-1, -9, "it has ended.", "Put a new certificate in place"),
        (90, 5, "it is not valid yet.", "Check this machine's clock"),
    ],
)
def test_a_certificate_that_ends_has_ended_or_has_not_begun(
    nora: TestClient, node: Node, tmp_path: Path, days: int, begins: int, sentence: str, hint: str
) -> None:
    around = replace(ROOM, certificates=((keylist.DICOM, certificate(tmp_path / "a.pem", days, begins)),))
    _, part = wanting(nora, node, "Keys and certificates", around)
    assert part.sentence == f"{keylist.DICOM}: {sentence}" and part.hint.startswith(hint)
    assert part.link == "/system#keys"


def test_a_certificate_whose_file_is_gone(nora: TestClient, node: Node, tmp_path: Path) -> None:
    around = replace(ROOM, certificates=((keylist.DICOM, tmp_path / "none.pem"),))
    _, part = wanting(nora, node, "Keys and certificates", around)
    assert (part.state, part.hint) == ("bad", "Its file cannot be read. Check its place in node.toml, and its rights.")


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[tuple[permitting.Site, TestClient]]:
    """A node that a hub's permits have come to, and its console."""
    with permitting.open_site(tmp_path, title="Hospital Santa Aurelia") as site:
        node = site.node
        add_account(node.engine, "nora", PASSWORD, {"data-manager"})
        with node.engine.begin() as connection:
            connection.execute(update(hubs).values(last_contact=stamp()))
        site.say(now())
        app = node_app(node, Identity(LocalAccounts(node.engine, node.id), node.id, secure=False), NODE_URL)
        with client_of(app, NODE_URL) as client:
            assert sign_in(client, "nora").status_code == 303
            yield site, client


def test_a_hub_that_cannot_be_reached(joined: tuple[permitting.Site, TestClient]) -> None:
    site, client = joined
    old = stamp(now() - timedelta(hours=1, seconds=5))
    with site.node.engine.begin() as connection:
        connection.execute(update(permit_states).values(received_at=old))
    _, part = wanting(client, site.node, "Hubs")
    assert "The list of permits of" in part.sentence and "is 60 minutes old." in part.sentence
    with site.node.engine.begin() as connection:
        connection.execute(update(hubs).values(last_contact=old))
    _, part = wanting(client, site.node, "Hubs")
    assert part.sentence.endswith("was last heard 60 minutes ago.") and part.link == "/hubs"
    assert part.hint.startswith("The node connects again by itself.")


def test_permits_that_wait_for_a_signature(joined: tuple[permitting.Site, TestClient]) -> None:
    site, client = joined
    visa = site.grant(signed=False)
    _, part = wanting(client, site.node, "Permits")
    assert (part.sentence, part.hint) == ("1 permit waits for a signature.", "Sign or decline them.")
    permits.countersign(site.node, "nora", site.hub.id, visa.id)
    assert "Permits" not in [one.name for one in overview.overview(site.node, ROOM).wanting]


def test_analyses_that_failed(joined: tuple[permitting.Site, TestClient]) -> None:
    site, client = joined
    job = new_id()
    row = dict.fromkeys((column.name for column in node_jobs.columns if not column.nullable), "")
    row |= {"id": job, "hub": site.hub.id, "state": "running", "received_at": stamp(), "dataset": site.dataset}
    row |= {"analysis": "signal-statistics", "subject": "rosa", "permit": new_id()}
    with site.node.engine.begin() as connection:
        typed = {name: _fitting(name, value) for name, value in row.items()}
        connection.execute(insert(node_jobs), typed)
    assert jobs.finish(site.node, site.hub.id, job, "failed", "out-of-memory")
    _, part = wanting(client, site.node, "Analyses")
    assert part.sentence == "1 analysis failed in the last day." and part.link == "/asked"
    assert "bounded by the settings" in part.hint and "Signal statistics" in client.get(part.link).text


def _fitting(name: str, value: object) -> object:
    kind = node_jobs.c[name].type.python_type
    return value if isinstance(value, kind) else kind()


def test_a_clock_that_is_off(joined: tuple[permitting.Site, TestClient]) -> None:
    site, client = joined
    at = now()
    told = {"issued_at": stamp(at - timedelta(seconds=25)), "received_at": stamp(at)}
    with site.node.engine.begin() as connection:
        connection.execute(update(permit_states).values(**told))
    _, part = wanting(client, site.node, "Clock")
    assert part.sentence.startswith("The clock is 25 s apart from that of ") and "time server" in part.hint


def test_a_back_up_that_is_old_or_was_never_made(nora: TestClient, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    past = stamp(now() - timedelta(days=45))
    with monkeypatch.context() as patch:
        patch.setattr(audit, "stamp", lambda: past)
        node.audit.append("node-founded", "operator", node.id)
    ingest.receive(node, ct(), SCANNER)
    drain(node)
    _, part = wanting(nora, node, "Back-up")
    assert part.sentence == "No export of the node is recorded." and "carina node export" in part.hint
    node.audit.append("node-exported", "operator")
    assert "Back-up" not in [one.name for one in overview.overview(node, ROOM).wanting]


def test_an_audit_trail_in_which_a_row_was_changed(nora: TestClient, node: Node) -> None:
    for number in range(3):
        node.audit.append("searched", "nora", str(number))
    rows = node_tables.tables["audit"]
    with node.engine.begin() as connection:
        connection.execute(update(rows).where(rows.c.seq == 2).values(actor="mallory"))
    seen, part = wanting(nora, node, "Audit trail")
    assert seen.sentence == "Trouble: The audit trail is broken at row 2: it was changed, removed or moved."
    assert part.link == "/audit" and "The chain is broken at row 2" in nora.get("/audit").text


def test_the_faults_of_a_german_page_are_german(nora: TestClient, node: Node, tmp_path: Path) -> None:
    ingest.receive(node, ct(), STRANGER)
    drain(node)
    page = nora.get("/", headers={"Accept-Language": "de"}).text
    assert "wartet in Quarantäne" in page and "waits in quarantine" not in page


def test_all_is_well_again_when_nothing_is_wanting(nora: TestClient, node: Node) -> None:
    assert "All is well: nothing waits." in nora.get("/").text
