"""The outside pages: in by a hub's code only, one dataset, real pictures, and out at once when the permit ends."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut
from sqlalchemy import update
from starlette.testclient import TestClient
from tests.permitting import AT, Site
from tests.support import LUNG, ct
from tests.visiting import HUB, browser, enter, fresh_code, open_images

from carina.model.clock import now, stamp
from carina.model.cohort import OneOf
from carina.node import datasets, permits
from carina.storage.index import find_instance
from carina.storage.schema import permit_states

STORED_ELSEWHERE = ("Garcia", "MRN-", "ACC-77", "SN-4711", "Referring", "19600102")


def files() -> list[bytes]:
    """A chest of three slices that came in no order, an abdomen of the same person, a person of another dataset."""
    return [
        *(ct("MRN-1", number=number, elements=at(place)) for number, place in ((1, 20), (2, -5), (3, 10))),
        ct("MRN-1", series=2, elements={"BodyPartExamined": "ABDOMEN"}),
        ct("MRN-2", elements={"BodyPartExamined": "ABDOMEN"}),
    ]


def at(place: int) -> dict[str, object]:
    return {"ImagePositionPatient": [0, 0, place]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_images(tmp_path, files()) as made:
        yield made


@pytest.fixture
def anyone(site: Site) -> TestClient:
    return browser(site)


@pytest.fixture
def rosa(site: Site, anyone: TestClient) -> TestClient:
    """A browser in which the dataset is open."""
    assert enter(anyone, site, site.grant()).status_code == 303
    return anyone


def studies_of(client: TestClient, site: Site) -> list[str]:
    page = client.get(f"/datasets/{site.dataset}").text
    return list(dict.fromkeys(re.findall(rf'href="(/datasets/{site.dataset}/studies/[0-9.]+)"', page)))


def study_with(client: TestClient, site: Site, words: str) -> tuple[str, str]:
    """Path and page of the study that says these words."""
    return next((path, page) for path in studies_of(client, site) if words in (page := client.get(path).text))


def picture_of(page: str) -> str:
    found = re.search(r'<img src="([^"]+/frames/[^"]+)"', page)
    assert found is not None
    return html.unescape(found[1])


def data_of(page: str) -> dict[str, Any]:
    """What the page tells its script."""
    found = re.search(r"data-look='([^']+)'", page)
    assert found is not None
    return dict(json.loads(found[1]))


# --- coming in and leaving ----------------------------------------------------------------------------------------


def test_a_form_of_the_hub_with_a_code_opens_the_dataset(site: Site, anyone: TestClient) -> None:
    answer = enter(anyone, site, site.grant())
    assert (answer.status_code, answer.headers["location"]) == (303, f"/datasets/{site.dataset}")
    cookie = answer.headers["set-cookie"]
    assert f"Path=/datasets/{site.dataset}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    page = anyone.get(answer.headers["location"])
    assert page.status_code == 200
    assert "Lung CT" in page.text
    assert "Rosa Investigadora" in page.text


def test_by_https_the_cookie_goes_by_https_only(site: Site) -> None:
    client = browser(site, "https://images.example.org")
    answer = enter(client, site, site.grant())
    assert answer.headers["set-cookie"].startswith("__Secure-carina-")
    assert "; Secure" in answer.headers["set-cookie"]
    assert client.get(answer.headers["location"]).status_code == 200


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://hub.localhost:8701"])
def test_a_form_of_another_site_opens_nothing(site: Site, anyone: TestClient, origin: str) -> None:
    visa = site.grant()
    answer = enter(anyone, site, visa, origin)
    assert answer.status_code == 403
    assert "none of this node" in html.unescape(answer.text)
    assert "set-cookie" not in answer.headers
    assert enter(anyone, site, visa, HUB).status_code == 303


def test_only_the_way_in_takes_forms_of_other_sites(site: Site, rosa: TestClient) -> None:
    answer = rosa.post(f"/datasets/{site.dataset}/leave", headers={"Origin": HUB})
    assert answer.status_code == 403
    assert rosa.get(f"/datasets/{site.dataset}").status_code == 200


def test_a_code_is_good_once(site: Site, anyone: TestClient) -> None:
    code = fresh_code(site, site.grant())
    assert anyone.post("/enter", data={"code": code}).status_code == 303
    again = browser(site).post("/enter", data={"code": code})
    assert again.status_code == 403
    assert "used before" in again.text


@pytest.mark.parametrize("code", ["", "no code", "a.b.c", "x" * 5000])
def test_what_is_no_code_opens_nothing_and_is_audited(site: Site, anyone: TestClient, code: str) -> None:
    assert anyone.post("/enter", data={"code": code}).status_code == 403
    assert site.audited("handover-refused")[0] == {"reason": "forged"}


def test_an_address_that_tries_many_codes_must_wait(site: Site, anyone: TestClient) -> None:
    answers = [anyone.post("/enter", data={"code": "x"}).status_code for _ in range(31)]
    assert answers == [403] * 30 + [429]


@pytest.mark.parametrize("path", ["", "/access", "/studies/2.25.1", "/dicom-web/studies"])
def test_nobody_sees_anything_without_a_visit(site: Site, anyone: TestClient, path: str) -> None:
    answer = anyone.get(f"/datasets/{site.dataset}{path}")
    assert answer.status_code == 401
    assert "location" not in answer.headers


def test_a_visit_is_for_its_own_dataset(site: Site, anyone: TestClient) -> None:
    other = datasets.create(site.node, "ana", LUNG, "Abdomens", query=OneOf("body_part", ("ABDOMEN",)))
    datasets.publish(site.node, "ana", other.iri)
    first = enter(anyone, site, site.grant())
    secret = first.headers["set-cookie"].partition(";")[0]
    assert anyone.get(f"/datasets/{other.iri}", headers={"Cookie": secret}).status_code == 401


def test_two_datasets_are_open_in_one_browser_at_once(site: Site, anyone: TestClient) -> None:
    other = datasets.create(site.node, "ana", LUNG, "Abdomens", query=OneOf("body_part", ("ABDOMEN",)))
    datasets.publish(site.node, "ana", other.iri)
    enter(anyone, site, site.grant())
    enter(anyone, site, site.grant(dataset=other.iri))
    assert "Lung CT" in anyone.get(f"/datasets/{site.dataset}").text
    assert "Abdomens" in anyone.get(f"/datasets/{other.iri}").text


def test_who_leaves_is_out(site: Site, rosa: TestClient) -> None:
    page = rosa.get(f"/datasets/{site.dataset}").text
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    assert token is not None
    assert rosa.post(f"/datasets/{site.dataset}/leave", data={"csrf": "guess"}).status_code == 403
    answer = rosa.post(f"/datasets/{site.dataset}/leave", data={"csrf": token[1]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert rosa.get(f"/datasets/{site.dataset}").status_code == 401
    assert len(site.audited("visit-ended")) == 1
    assert "Nobody signs in here" in rosa.get("/").text


@pytest.mark.parametrize("name", ["x;%20Domain=localhost", "x%0d%0aSet-Cookie:%20evil=1", "nothing"])
def test_nobody_leaves_where_they_are_not_and_no_address_gets_into_a_cookie(
    site: Site, anyone: TestClient, rosa: TestClient, name: str
) -> None:
    assert browser(site).post(f"/datasets/{name}/leave").status_code == 401
    page = rosa.get(f"/datasets/{site.dataset}").text
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    secret = next(iter(rosa.cookies.jar))
    assert token is not None
    answer = browser(site).post(
        f"/datasets/{name}/leave",
        data={"csrf": token[1]},
        headers={"Cookie": f"{secret.name}={secret.value}"},
    )
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert rosa.get(f"/datasets/{site.dataset}").status_code == 200


# --- looking ------------------------------------------------------------------------------------------------------


def test_the_list_shows_the_datasets_studies_and_no_more(site: Site, anyone: TestClient) -> None:
    chest = datasets.create(site.node, "ana", LUNG, "Chests", query=OneOf("body_part", ("CHEST",)))
    datasets.publish(site.node, "ana", chest.iri)
    enter(anyone, site, site.grant(dataset=chest.iri))
    page = anyone.get(f"/datasets/{chest.iri}").text
    assert len(set(re.findall(r"/studies/([0-9.]+)", page))) == 1
    assert "Chest" in page
    assert "Abdomen" not in page
    assert re.findall(r'data-label="Series">(\d+)<', page) == ["1"]
    assert re.findall(r'data-label="Images">(\d+)<', page) == ["3"]


def test_a_study_of_another_dataset_is_not_there(site: Site, rosa: TestClient, anyone: TestClient) -> None:
    chest = datasets.create(site.node, "ana", LUNG, "Chests", query=OneOf("body_part", ("CHEST",)))
    datasets.publish(site.node, "ana", chest.iri)
    both = {path.rsplit("/", 1)[1] for path in studies_of(rosa, site)}
    assert len(both) == 2
    enter(anyone, site, site.grant(dataset=chest.iri))
    codes = sorted(anyone.get(f"/datasets/{chest.iri}/studies/{uid}").status_code for uid in both)
    assert codes == [200, 404]


def test_long_lists_have_pages(tmp_path: Path) -> None:
    with open_images(tmp_path, [ct(f"MRN-{number}", size=8) for number in range(53)]) as site:
        client = browser(site)
        enter(client, site, site.grant())
        first = client.get(f"/datasets/{site.dataset}").text
        second = client.get(f"/datasets/{site.dataset}?page=2").text
        uids = [set(re.findall(r"/studies/([0-9.]+)", page)) for page in (first, second)]
        assert [len(found) for found in uids] == [50, 3]
        assert not uids[0] & uids[1]
        assert "page=2" in first
        assert "No more studies" in client.get(f"/datasets/{site.dataset}?page=9").text
        for wrong in ("0", "-1", "x", "9" * 30):
            assert client.get(f"/datasets/{site.dataset}?page={wrong}").status_code == 200


def test_slices_are_in_the_order_of_their_positions(site: Site, rosa: TestClient) -> None:
    _, page = study_with(rosa, site, "2 / 3")
    known = data_of(page)
    assert known["plane"] == "axial"
    assert [row[:3] for row in known["slices"]] == [[0, 1, -5.0], [1, 1, 10.0], [2, 1, 20.0]]
    assert len(set(known["uids"])) == 3


def test_the_picture_has_the_pixels_that_pydicom_gives_for_the_window(site: Site, rosa: TestClient) -> None:
    path, _ = study_with(rosa, site, "2 / 3")
    page = rosa.get(f"{path}?window=lung&slice=1").text
    src = picture_of(page)
    assert src.endswith("/1.png?window=lung")
    answer = rosa.get(src, headers={"Accept": "image/avif,image/webp,*/*"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["cache-control"] == "private, no-cache"
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    uid = src.split("/frames/")[1].split("/")[0]
    with site.node.engine.connect() as connection:
        stored = find_instance(connection, uid)
    with site.node.instances.open(stored.content) as file:
        dataset = pydicom.dcmread(file)
    values = apply_modality_lut(dataset.pixel_array, dataset).astype(float)
    expected = np.rint(np.clip((values - (-600 - 0.5)) / (1500 - 1) + 0.5, 0, 1) * 255)
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize(
    ("asked", "number", "window"),
    [
        ("", "2 / 3", "mediastinum"),  # the middle; a chest in CT, whose header names no window
        ("slice=3&window=bone", "3 / 3", "bone"),
        ("slice=99", "3 / 3", "mediastinum"),
        ("slice=0", "1 / 3", "mediastinum"),
        ("slice=x&window=none", "2 / 3", "mediastinum"),
        ("window=custom&center=-123.5&width=7", "2 / 3", "-123.5,7"),
        ("window=custom&center=1&width=0", "2 / 3", "mediastinum"),
        ("window=custom&center=nan&width=inf", "2 / 3", "mediastinum"),
        ("window=own", "2 / 3", "own"),
    ],
)
def test_the_address_says_slice_and_window(site: Site, rosa: TestClient, asked: str, number: str, window: str) -> None:
    path, _ = study_with(rosa, site, "2 / 3")
    page = rosa.get(f"{path}?{asked}").text
    assert f">{number}<" in page
    assert picture_of(page).endswith(f".png?window={window}")
    assert rosa.get(picture_of(page)).status_code == 200


def test_the_full_range_reaches_from_the_lowest_to_the_highest_value(site: Site, rosa: TestClient) -> None:
    path, _ = study_with(rosa, site, "2 / 3")
    answer = rosa.get(picture_of(rosa.get(f"{path}?window=full").text))
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert (shown.min(), shown.max()) == (0, 255)


def test_an_address_that_names_another_series_or_no_uid_is_refused_in_words(site: Site, rosa: TestClient) -> None:
    path, _ = study_with(rosa, site, "2 / 3")
    assert rosa.get(f"{path}?series=2.25.9").status_code == 404
    assert rosa.get(f"{path}?series=<script>").status_code == 400
    assert rosa.get(f"/datasets/{site.dataset}/studies/2.25.9").status_code == 404
    assert rosa.get(f"/datasets/{site.dataset}/studies/x").status_code == 400


def test_no_page_shows_what_identifies_a_person_and_none_is_kept(site: Site, rosa: TestClient) -> None:
    paths = [f"/datasets/{site.dataset}", *studies_of(rosa, site), "/", "/nothing"]
    for path in paths:
        answer = rosa.get(path)
        assert answer.headers["cache-control"] == "no-store", path
        for text in STORED_ELSEWHERE:
            assert text not in answer.text, (path, text)
        assert "<script>" not in answer.text
        assert "style=" not in answer.text


def test_a_permit_for_fetching_lists_the_studies_and_shows_no_picture(site: Site, anyone: TestClient) -> None:
    enter(anyone, site, site.grant(actions=("retrieve",)))
    [path, *_] = studies_of(anyone, site)
    page = anyone.get(path).text
    assert "This permit is not for looking" in page
    assert "<img" not in page
    assert anyone.get(f"/datasets/{site.dataset}/access").status_code == 204


def test_words_of_the_hub_are_shown_as_words(site: Site, anyone: TestClient) -> None:
    enter(anyone, site, site.grant(name="<b>Rosa</b>", project="<script>x()</script>", conditions="<img src=x>"))
    page = anyone.get(f"/datasets/{site.dataset}").text
    assert "&lt;b&gt;Rosa" in page
    assert "<script>x()" not in page
    assert "<img src=x>" not in page


# --- being cut off ------------------------------------------------------------------------------------------------


def test_while_the_permit_holds_the_poll_is_silent_and_counts_nothing(site: Site, rosa: TestClient) -> None:
    visa = permits.listed(site.node)[0]
    for _ in range(3):
        answer = rosa.get(f"/datasets/{site.dataset}/access", headers={"HX-Request": "true"})
        assert (answer.status_code, answer.text) == (204, "")
    assert permits.get(site.node, visa.hub, visa.visa.id).use.view == 0


def closed(client: TestClient, site: Site) -> str:
    """What takes the place of an open page's content; and every other door is closed too."""
    notice = client.get(f"/datasets/{site.dataset}/access", headers={"HX-Request": "true"})
    assert notice.status_code == 403
    assert "The images are closed" in notice.text
    assert "<html" not in notice.text
    for path in ("", "/dicom-web/studies"):
        assert client.get(f"/datasets/{site.dataset}{path}").status_code == 403
    return html.unescape(notice.text)


def test_an_ended_permit_closes_the_open_page_with_the_reason(site: Site, anyone: TestClient) -> None:
    visa = site.grant()
    enter(anyone, site, visa)
    path, page = study_with(anyone, site, "2 / 3")
    assert anyone.get(picture_of(page)).status_code == 200
    site.end(visa)
    assert "The permit was ended." in closed(anyone, site)
    assert anyone.get(picture_of(page)).status_code == 403
    assert anyone.get(path).status_code == 403
    assert site.audited("access-refused")[0]["reason"] == "revoked"


def test_a_permit_whose_state_is_not_known_closes_the_page(site: Site, rosa: TestClient) -> None:
    with site.node.engine.begin() as connection:
        connection.execute(update(permit_states).values(received_at=stamp(now() - timedelta(seconds=60))))
    assert "permit status unknown" in closed(rosa, site)


def test_a_signature_taken_back_closes_the_page(site: Site, anyone: TestClient) -> None:
    visa = site.grant()
    enter(anyone, site, visa)
    permits.withdraw(site.node, "ana", site.hub.id, visa.id, "The study is over.", now=AT)
    assert "does not agree" in closed(anyone, site)


def test_a_dataset_that_is_withdrawn_closes_the_page(site: Site, rosa: TestClient) -> None:
    datasets.withdraw(site.node, "ana", site.dataset)
    assert "not published" in closed(rosa, site)
