"""Who gets in where: each address of a node's two listeners, with each kind of caller.

The addresses are those of the applications in service; one that `INSIDE` or `OUTSIDE` does not name fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.listeners import CONSOLE, addresses, applications, filled
from tests.pages import PASSWORD
from tests.permitting import Site
from tests.support import ct
from tests.visiting import URL, fresh_code, open_images

from carina.interfaces.api.visitors import visitors
from carina.interfaces.web import ohif
from carina.model.permit import Action
from carina.node import visits
from carina.node.visits import Visit
from carina.storage import accounts
from carina.storage.schema import instances

SHUT = (401, 403)

# Inside, who gets past the door: n nobody, s a sender, o an operator, m a data manager. x: a
# researcher's visit as the console's cookie, who is let in no further than nobody.
ALL, STAFF, MANAGER, NONE = "nsomx", "om", "m", ""
_SERIES = "/series/{series}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_QUICK = (
    "/frames/{uid}/{number:int}.png",
    "/values/{uid}/{number:int}",
    "/outlines/{uid}/{number:int}.json",
    "/header/{uid}.json",
    "/mosaic.jpg",
)
_OBJECTS = ("", _SERIES, _INSTANCE, f"{_INSTANCE}/frames/{{frames}}", f"{_INSTANCE}/bulkdata/{{path:path}}")
_HEADERS = ("/metadata", f"{_SERIES}/metadata", f"{_INSTANCE}/metadata")
_FOUND = ("/series", "/instances", f"{_SERIES}/instances")
_PICTURES = tuple(
    f"{place}/{made}" for place in ("", _SERIES, _INSTANCE, f"{_INSTANCE}/frames/{{frames}}") for made in
    ("rendered", "thumbnail")
)  # fmt: skip


def _web(base: str, objects: str, headers: str, pictures: str, everybody: str) -> dict[str, str]:
    """DICOMweb below `base`: who may have objects, headers and lists, pictures."""
    study = f"GET {base}/studies/{{study}}"
    return {
        **{f"{study}{one}": objects for one in _OBJECTS},
        **{f"{study}{one}": headers for one in (*_HEADERS, *_FOUND)},
        **{f"{study}{one}": pictures for one in _PICTURES},
        **{f"GET {base}/{one}": headers for one in ("studies", "series", "instances")},
        f"GET {base}/wado": pictures,
        f"GET {base}/": everybody,  # a sentence that says what is missing, and nothing else
    }


def _each(who: str, addresses: str) -> dict[str, str]:
    return {f"{method} {path}": who for path in addresses.split() for method in ("GET",)}


def _posts(who: str, addresses: str) -> dict[str, str]:
    return {f"POST {path}": who for path in addresses.split()}


INSIDE = {
    **_each(ALL, "/health/live /health/ready /static/* /language/{code} /sign-in"),
    **_each("som", "/account"),
    **_each(
        STAFF,
        """/ /overview /arrivals /arrivals/live /quarantine /quarantine/discarded /quarantine/progress
        /quarantine/{reason} /quarantine/{reason}/{id} /datasets /datasets/{iri} /permits /permits/live
        /permits/{hub}/{id} /asked /asked/live /asked/export /asked/permits/{hub}/{id} /hubs /system /audit
        /audit/export /design /api/status /metrics /api/quarantine /api/quarantine/progress /api/quarantine/entries
        /api/quarantine/entries/{id} /api/asked /api/jobs /api/jobs/{hub}/{id} /api/audit /api/audit/export
        /api/audit/check /api/overview /api/arrivals /api/storage /api/keys /api/datasets /api/datasets/{iri}""",
    ),
    **_each(
        MANAGER,
        """/review /review/{id} /review/{id}/frames/{frame:int} /review/{id}/header /studies /studies/access
        /studies/{study} /datasets/new /forget /api/permits /api/permits/{hub}/{id} /api/datasets/{iri}/evidence
        /api/quarantine/entries/{id}/source /api/review /api/review/{id}""",
    ),
    **{f"GET /studies/{{study}}{_SERIES}{one}": MANAGER for one in _QUICK},
    **_posts(STAFF, "/quarantine/discarded /quarantine/{reason} /audit/check /api/quarantine /api/audit/check"),
    **_posts(
        MANAGER,
        """/review/{id} /datasets/new /datasets/{iri} /permits/{hub}/{id} /jobs/{hub}/{id} /forget
        /api/permits/{hub}/{id} /api/review/{id} /api/jobs/{hub}/{id}""",
    ),
    **_posts(NONE, "/sign-in"),  # nobody, with no password
    **_posts("som", "/sign-out"),
    **_posts(NONE, "/dicom-web/studies /dicom-web/studies/{study}"),  # of programs, by their tokens
    **_web("/dicom-web", MANAGER, MANAGER, MANAGER, ALL),
    **_web("/datasets/{iri}/dicom-web", MANAGER, MANAGER, MANAGER, ALL),
}

# Outside: n nobody, v a visitor who may view, r one who may retrieve, s a viewer's visit of one study, as each
# cookie. x: a data manager's session, as each cookie.
EVERYBODY, VIEW, RETRIEVE, LOOK_UP, STUDY = "nvrsx", "v", "r", "vr", "s"
OUTSIDE = {
    **_each(EVERYBODY, "/health/live /health/ready /static/* /language/{code} /"),
    **_each(LOOK_UP, "/datasets/{iri} /datasets/{iri}/access /datasets/{iri}/studies/{study}"),
    **{f"GET /datasets/{{iri}}/studies/{{study}}{_SERIES}{one}": VIEW for one in _QUICK},
    **_posts("nvr", "/api/enter"),  # to be told that the code is missing
    **_posts(NONE, "/enter"),
    **_posts(LOOK_UP, "/datasets/{iri}/leave"),
    **_web("/datasets/{iri}/dicom-web", RETRIEVE, LOOK_UP, VIEW, EVERYBODY),
}
_OPEN = "/ohif/open/{iri}/{shown}"
VIEWER = {
    **_posts(RETRIEVE, "/datasets/{iri}/studies/{study}/ohif"),
    **_each(STUDY, f"{_OPEN}/viewer {_OPEN}/app-config.js {_OPEN}/access {_OPEN}/ended"),
    **_web(f"{_OPEN}/dicom-web", STUDY, STUDY, STUDY, EVERYBODY),
    **_each(EVERYBODY, "/ohif/{path:path}"),
}


@dataclass(frozen=True)
class Caller:
    """Cookies and, for forms, the token that belongs to them."""

    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""


@dataclass
class Scene:
    """A node with its two listeners, an instance in its dataset, and what stands for the names in addresses."""

    site: Site
    inside: Starlette
    outside: Starlette
    values: dict[str, str]

    def ask(self, where: str, address: str, caller: Caller, **headers: str) -> int:
        """The status that the caller gets, who comes from the listener's own pages with a form of nothing."""
        base, app = (CONSOLE, self.inside) if where == "inside" else (URL, self.outside)
        method, _, path = address.partition(" ")
        path = filled(path, self.values)
        client = TestClient(app, base, client=("127.0.0.1", 5), raise_server_exceptions=False, follow_redirects=False)
        if caller.cookies:
            client.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in caller.cookies.items())
        if method == "GET":
            asked = {"requestType": "WADO", "studyUID": "study", "seriesUID": "series", "objectUID": "uid"}
            query = {name: self.values.get(value, value) for name, value in asked.items()}
            return client.get(path, params=query if path.endswith("/wado") else {}, headers=headers).status_code
        if path.startswith("/api/"):
            return client.post(path, json={}, headers={"X-CSRF-Token": caller.csrf, **headers}).status_code
        return client.post(path, data={"csrf": caller.csrf}, headers={"Origin": base, **headers}).status_code

    def staff(self, name: str) -> Caller:
        """Somebody with an account, just signed in."""
        secret, csrf = accounts.open_session(self.site.node.engine, name)
        return Caller({f"carina-{self.site.node.id}": secret}, csrf)

    def visit(self, *actions: Action) -> Visit:
        """A researcher's, just begun."""
        code = fresh_code(self.site, self.site.grant(actions=actions))
        return visits.enter(self.site.node, code, lifetime=visits.BROWSER)

    def visitor(self, *actions: Action) -> Caller:
        """A researcher's browser."""
        visit = self.visit(*actions)
        return Caller({visitors(self.site.node, False).cookie: visit.secret}, visit.csrf)

    def as_each_cookie(self, secret: str, csrf: str) -> Caller:
        """Somebody who gives one secret in the place of all."""
        name = visitors(self.site.node, False).cookie
        return Caller(dict.fromkeys((name, f"{name}-viewer", f"carina-{self.site.node.id}"), secret), csrf)

    def viewer(self) -> Caller:
        """A viewer that was handed the study."""
        opened = visits.open_viewer(self.site.node, self.visit("view", "retrieve"), self.values["study"])
        return self.as_each_cookie(opened.secret, opened.csrf)

    def stranger(self, where: str) -> Caller:
        """Somebody known at the other listener only."""
        if where == "inside":
            visit = self.visit("view", "retrieve")
            return self.as_each_cookie(visit.secret, visit.csrf)
        staff = self.staff("nora")
        return self.as_each_cookie(next(iter(staff.cookies.values())), staff.csrf)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_images(tmp_path_factory.mktemp("site"), [ct()]) as site:
        node = site.node
        for name, role in (("nora", "data-manager"), ("omar", "operator"), ("sara", "sender")):
            accounts.add_account(node.engine, name, PASSWORD, {role})
        with node.engine.connect() as connection:
            one = connection.execute(select(instances)).first()
        assert one is not None
        values = {"iri": site.dataset, "study": one.study_uid, "shown": one.study_uid, "series": one.series_uid}
        values |= {"instance": one.uid, "uid": one.uid, "number": "1", "frames": "1", "frame": "1", "path": "x"}
        values |= {"hub": site.hub.id, "id": site.grant().id, "reason": "no-such-reason", "code": "de"}
        yield Scene(site, *applications(node), values)


def expected(where: str) -> dict[str, str]:
    if where == "inside":
        return INSIDE
    return {**OUTSIDE, **(VIEWER if ohif.viewer() is not None else {})}


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_the_table_names_each_address_that_is_served(scene: Scene, where: str) -> None:
    served = set(addresses((scene.inside if where == "inside" else scene.outside).routes))
    assert served == set(expected(where))


@pytest.mark.parametrize("who", ["n", "s", "o", "m", "x"])
def test_inside_each_address_lets_in_whom_the_table_names(scene: Scene, who: str) -> None:
    callers = {
        "n": Caller,
        "s": partial(scene.staff, "sara"),
        "o": partial(scene.staff, "omar"),
        "m": partial(scene.staff, "nora"),
        "x": partial(scene.stranger, "inside"),
    }
    _compare(scene, "inside", who, callers[who])


@pytest.mark.parametrize("who", ["n", "v", "r", "s", "x"])
def test_outside_each_address_lets_in_whom_the_table_names(scene: Scene, who: str) -> None:
    callers = {
        "n": Caller,
        "v": partial(scene.visitor, "view"),
        "r": partial(scene.visitor, "retrieve"),
        "s": scene.viewer,
        "x": partial(scene.stranger, "outside"),
    }
    _compare(scene, "outside", who, callers[who])


def _compare(scene: Scene, where: str, who: str, caller: Any) -> None:
    """Each address with the caller, who comes anew to those that end a session or visit."""
    wrong, known = [], caller()
    for address, letters in expected(where).items():
        status = scene.ask(where, address, caller() if address.endswith(("/sign-out", "/leave")) else known)
        told = 401 if who in "nx" and address.startswith("GET") else status
        if (status not in SHUT) != (who in letters) or status >= 500 or (status in SHUT and status != told):
            wrong.append(f"{address}: {status}, named: {letters or 'none'}")
    assert wrong == []


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_no_form_is_taken_without_its_token_or_from_another_site(scene: Scene, where: str) -> None:
    caller = scene.staff("nora") if where == "inside" else scene.visitor("view", "retrieve")
    posts = [one for one in expected(where) if one.startswith("POST")]
    forms = [one for one in posts if "/api/" not in one]
    assert len(forms) > 2
    without = Caller(caller.cookies, "")
    assert {one: scene.ask(where, one, without) for one in forms} == dict.fromkeys(forms, 403)
    foreign = {"Origin": "https://elsewhere.example"}
    assert {one: scene.ask(where, one, caller, **foreign) for one in posts} == dict.fromkeys(posts, 403)
