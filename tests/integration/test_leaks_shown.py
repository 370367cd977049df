"""No planted identifier is on any page, in any JSON, address, figure or log of a node, but where a data manager must
see it to decide.
"""

from __future__ import annotations

import html
import logging
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient
from tests.integration.test_leaks import BIRTH, IDENTIFIER, PLANT, UID_ROOT, planted
from tests.listeners import CONSOLE, addresses, applications, filled
from tests.pages import PASSWORD
from tests.permitting import Site
from tests.support import SCANNER
from tests.visiting import URL, fresh_code, open_images

from carina.interfaces.api.visitors import visitors
from carina.model.instance import Source
from carina.node import quarantine, visits
from carina.node.ingest import receive
from carina.node.worker import work
from carina.storage import accounts
from carina.storage.schema import instances

PLANTS = (PLANT.lower(), IDENTIFIER.lower(), BIRTH, f"{BIRTH[:4]}-{BIRTH[4:6]}-{BIRTH[6:]}", UID_ROOT)
MUST_SHOW = {"/api/quarantine/entries/{id}/source"}
"""What a data manager has to see to find the sender of what waits; each look is in the audit trail."""


def leaks(text: str) -> list[str]:
    """The planted texts that it holds, with what stands around them."""
    plain = html.unescape(text).lower()
    return [f"{one}: …{plain[max(0, plain.find(one) - 80) :][:160]}…" for one in PLANTS if one in plain]


def take_in_odd_files(site: Site) -> None:
    """Each way into quarantine, with planted identifiers."""
    receive(site.node, f"Letter about {PLANT}, {IDENTIFIER}".encode(), SCANNER)
    receive(site.node, planted(3, ImageType=["DERIVED", "SECONDARY"]), SCANNER)
    receive(site.node, planted(4, Modality=PLANT.upper()), SCANNER)
    receive(site.node, planted(5)[:-200], SCANNER)
    receive(site.node, planted(6), Source("aet", PLANT.upper()))
    receive(site.node, planted(1, KVP="90"), SCANNER)
    while work(site.node, "test"):
        pass


def values_of(site: Site) -> dict[str, str]:
    """What stands for the names in addresses."""
    with site.node.engine.connect() as connection:
        one = connection.execute(select(instances)).first()
    assert one is not None
    values = {"iri": site.dataset, "study": one.study_uid, "shown": one.study_uid, "series": one.series_uid}
    values |= {"instance": one.uid, "uid": one.uid, "number": "1", "frames": "1", "frame": "1", "path": "x"}
    return values | {"hub": site.hub.id, "id": site.grant().id, "reason": "no-such-reason", "code": "de"}


def seen(app: object, base: str, cookies: dict[str, str], paths: list[str]) -> dict[str, str]:
    """By path: status, header fields and text of the answer, as a page and as data."""
    client = TestClient(app, base, client=("127.0.0.1", 5), raise_server_exceptions=False, follow_redirects=False)  # type: ignore[arg-type]
    client.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    found = {}
    for path in paths:
        for accept in ("*/*",) if "/dicom-web" in path or "/api/" in path else ("text/html", "*/*"):
            answer = client.get(path, headers={"Accept": accept})
            assert answer.status_code < 500, path
            body = answer.content.decode("utf-8", "replace") + answer.content.decode("utf-16-le", "replace")
            found[f"{path} {accept}"] = f"{answer.status_code} {answer.headers} {body}"
    return found


def test_nothing_planted_is_shown_to_staff_or_researchers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with open_images(tmp_path, [planted(), planted(2)]) as site:
        take_in_odd_files(site)
        node, values = site.node, values_of(site)
        inside, outside = applications(node)
        accounts.add_account(node.engine, "nora", PASSWORD, {"data-manager"})
        secret, _ = accounts.open_session(node.engine, "nora")
        shown = {one for one in addresses(inside.routes) if one.startswith("GET ")}
        assert {one.partition(" ")[2] for one in shown} > MUST_SHOW
        paths = [filled(one.partition(" ")[2], values) for one in shown if one.partition(" ")[2] not in MUST_SHOW]
        held = quarantine.entries(node)
        assert len({one.reason for one in held}) >= 4
        for one in held:
            paths += [f"/quarantine/{one.reason}", f"/quarantine/{one.reason}/{one.id}"]
            paths += [f"/api/quarantine/entries/{one.id}", f"/review/{one.id}", f"/api/review/{one.id}"]
            paths += [f"/review/{one.id}/header", f"/review/{one.id}/frames/1"]
        paths += [f"/no-such-page/{number}" for number in range(2)]
        answers = seen(inside, CONSOLE, {f"carina-{node.id}": secret}, paths)
        assert sum(text.startswith("200") for text in answers.values()) > 80
        for one in held:
            for path in (f"/quarantine/{one.reason}/{one.id}", f"/api/quarantine/entries/{one.id}"):
                assert answers[f"{path} */*"].startswith("200"), path
        visit = visits.enter(node, fresh_code(site, site.grant()), lifetime=visits.BROWSER)
        viewing = visits.open_viewer(node, visit, values["study"])
        name = visitors(node, False).cookie
        theirs = [filled(one.partition(" ")[2], values) for one in addresses(outside.routes) if one.startswith("GET ")]
        looked = seen(outside, URL, {name: visit.secret, f"{name}-viewer": viewing.secret}, theirs)
        assert sum(text.startswith("200") for text in looked.values()) > 40
        source = [f"/api/quarantine/entries/{one.id}/source" for one in held]
        told = seen(inside, CONSOLE, {f"carina-{node.id}": secret}, source)
        assert sum(bool(leaks(text)) for text in told.values()) == 1
    found = {path: held for path, text in {**answers, **looked}.items() if (held := leaks(text))}
    assert found == {}
    logged = "\n".join(
        f"{record.getMessage()} {record.__dict__}" for record in caplog.records if "carina" in record.name
    )
    assert leaks(logged) == []


def test_the_search_for_plants_finds_what_is_there() -> None:
    assert len(leaks(f"<p>{PLANT}</p> {IDENTIFIER} {BIRTH} 1953-06-17 {UID_ROOT}.1")) == len(PLANTS)
