"""The viewer: its files, the hand-over of one study, and what its visit does not open."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from starlette.testclient import TestClient
from tests.looking import sample_files
from tests.permitting import Site
from tests.support import ct
from tests.visiting import browser, enter, open_images

from carina.dicom.query import Query
from carina.interfaces.web import ohif
from carina.model.clock import now
from carina.model.permit import Visa
from carina.node.authorise import authorise
from carina.node.retrieve import find

pytestmark = pytest.mark.skipif(ohif.viewer() is None, reason="OHIF is not installed: make viewer")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two studies of one person."""
    files = [ct(study=study, number=number) for study in (1, 2) for number in (1, 2)]
    with open_images(tmp_path_factory.mktemp("site"), files) as opened:
        yield opened


@pytest.fixture
def visa(site: Site) -> Visa:
    return site.grant()


@pytest.fixture
def client(site: Site, visa: Visa) -> Iterator[TestClient]:
    with browser(site) as made:
        enter(made, site, visa)
        yield made


def studies(site: Site, visa: Visa) -> list[str]:
    who = site.rosa(permit=visa.id)
    grant = authorise(site.node, who, site.dataset, "view", door="test", now=now())
    return [found.study_uid for found in find(site.node, grant, Query("study"))]


def handed(client: TestClient, site: Site, study: str) -> str:
    """The prefix of a viewer that was handed this study."""
    page = client.get(f"/datasets/{site.dataset}/studies/{study}").text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    answer = client.post(f"/datasets/{site.dataset}/studies/{study}/ohif", data={"csrf": csrf})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"]).partition("/viewer?")[0]


def test_a_study_is_handed_over_by_a_cookie_for_its_addresses_alone(client: TestClient, site: Site, visa: Visa) -> None:
    one = studies(site, visa)[0]
    prefix = handed(client, site, one)
    assert prefix == f"/ohif/open/{site.dataset}/{one}"
    [cookie] = [kept for kept in client.cookies.jar if kept.name.endswith("-viewer")]
    assert cookie.path == prefix and cookie.has_nonstandard_attr("HttpOnly")
    page = client.get(f"{prefix}/viewer", params={"StudyInstanceUIDs": one})
    assert page.status_code == 200 and f"{prefix}/app-config.js" in page.text
    assert client.get(f"{prefix}/access").status_code == 204
    assert site.audited("viewer-opened")[0]["study"] == one


def test_a_viewer_finds_nothing_but_its_study(client: TestClient, site: Site, visa: Visa) -> None:
    one, other = studies(site, visa)
    web = f"{handed(client, site, one)}/dicom-web"
    found = client.get(f"{web}/studies", headers={"Accept": "application/dicom+json"}).json()
    assert [row["0020000D"]["Value"][0] for row in found] == [one]
    patient = found[0]["00100020"]["Value"][0]
    priors = client.get(f"{web}/studies", params={"PatientID": patient}, headers={"Accept": "application/dicom+json"})
    assert len(priors.json()) == 1
    assert client.get(f"{web}/studies/{one}/metadata", headers={"Accept": "*/*"}).status_code == 200
    for path in (f"studies/{other}/metadata", f"studies/{other}/series", f"studies/{other}"):
        answer = client.get(f"{web}/{path}", headers={"Accept": "*/*"})
        assert answer.status_code in (204, 404), path


def test_each_secret_opens_its_own_addresses_only(client: TestClient, site: Site, visa: Visa) -> None:
    one, other = studies(site, visa)
    handed(client, site, one)
    kept = {cookie.name: cookie.value or "" for cookie in client.cookies.jar}
    viewing = next(value for name, value in kept.items() if name.endswith("-viewer"))
    looking = next(value for name, value in kept.items() if not name.endswith(("-viewer", "-form")))
    stranger = browser(site)
    for secret in (viewing, looking):
        bearer = {"Authorization": f"Bearer {secret}", "Accept": "*/*"}
        there = stranger.get(f"/ohif/open/{site.dataset}/{one}/dicom-web/studies", headers=bearer)
        assert there.status_code == 401
    dataset = stranger.get(
        f"/datasets/{site.dataset}/dicom-web/studies", headers={"Authorization": f"Bearer {viewing}"}
    )
    assert dataset.status_code == 401
    name = next(name for name in kept if name.endswith("-viewer"))
    for value, study in ((viewing, other), (looking, one)):
        answer = stranger.get(f"/ohif/open/{site.dataset}/{study}/access", headers={"Cookie": f"{name}={value}"})
        assert answer.status_code == 401


def test_a_permit_for_looking_is_not_handed_over(site: Site) -> None:
    visa = site.grant(actions=("view",))
    with browser(site) as client:
        enter(client, site, visa)
        study = studies(site, visa)[0]
        page = client.get(f"/datasets/{site.dataset}/studies/{study}").text
        assert "Open in OHIF" not in page and "for looking only" in page
        csrf = client.get(f"/datasets/{site.dataset}").text.split('name="csrf" value="')[1].split('"')[0]
        answer = client.post(f"/datasets/{site.dataset}/studies/{study}/ohif", data={"csrf": csrf})
    assert answer.status_code == 403


def test_the_end_of_the_permit_ends_the_viewer(client: TestClient, site: Site, visa: Visa) -> None:
    one = studies(site, visa)[0]
    prefix = handed(client, site, one)
    site.states[visa.id] = "ended"
    site.say(now())
    for path in ("viewer", "access", "app-config.js", "ended", "dicom-web/studies"):
        assert client.get(f"{prefix}/{path}").status_code == 403, path


def test_its_pages_may_speak_to_its_own_addresses_only(client: TestClient, site: Site, visa: Visa) -> None:
    prefix = handed(client, site, studies(site, visa)[0])
    page = client.get(f"{prefix}/viewer")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    own = str(client.base_url)
    assert policy["connect-src"].split() == [f"{own}/ohif/", "data:", "blob:"]
    assert "'unsafe-inline'" not in policy["script-src"] and policy["frame-ancestors"] == "'none'"
    assert "<script>" not in page.text and "http" not in page.text.replace(own, "")
    config = client.get(f"{prefix}/app-config.js").text
    assert "http" not in config and '"showStudyList": false' in config
    assert "unsafe-eval" not in client.get(f"/datasets/{site.dataset}").headers["content-security-policy"]


def test_its_files_come_compressed_and_are_kept(client: TestClient) -> None:
    installed = ohif.viewer()
    assert installed is not None
    path = f"/ohif/{installed.script}"
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and "max-age=86400" in packed.headers["cache-control"]
    assert packed.headers["content-type"].startswith("text/javascript")
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == packed.content
    again = client.get(path, headers={"If-None-Match": packed.headers["etag"]})
    assert again.status_code == 304
    assert b'__webpack_require__.p = "/ohif/";' in plain.content


@pytest.mark.parametrize("path", ["nothing.js", "index.html", "app-config.js", "../index.json", "ort/ort.min.js"])
def test_what_is_left_out_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(f"/ohif/{path}").status_code == 404


def test_a_node_without_the_viewer_says_so(
    client: TestClient, site: Site, visa: Visa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carina.interfaces.web.outside.viewer", lambda: None)
    page = client.get(f"/datasets/{site.dataset}/studies/{studies(site, visa)[0]}").text
    assert "Open in OHIF" not in page and "This node has no OHIF" in page


def test_who_leaves_the_dataset_leaves_its_viewers_too(client: TestClient, site: Site, visa: Visa) -> None:
    one = studies(site, visa)[0]
    prefix = handed(client, site, one)
    assert client.get(f"{prefix}/access").status_code == 204
    page = client.get(f"/datasets/{site.dataset}/studies/{one}").text
    assert 'target="_blank" rel="noopener"' in page
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    assert client.post(f"/datasets/{site.dataset}/leave", data={"csrf": csrf}).status_code == 303
    assert client.get(f"{prefix}/access").status_code in (401, 403)


def test_a_study_without_images_says_why_it_does_not_open_in_ohif(tmp_path: Path) -> None:
    masks = (data for data in sample_files(1, "SEG") if dcmread(BytesIO(data)).Modality == "SEG")
    with open_images(tmp_path, masks) as alone, browser(alone) as client:
        visa = alone.grant()
        enter(client, alone, visa)
        [study] = studies(alone, visa)
        page = client.get(f"/datasets/{alone.dataset}/studies/{study}").text
        assert "this study has none here" in page
        assert "Open in OHIF" not in page
