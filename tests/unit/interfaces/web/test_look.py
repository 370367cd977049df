"""What the pages of studies say and offer: the search, the sheet of slices, the header, kinds without pictures;
outside and inside."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from starlette.testclient import TestClient
from tests.pages import PASSWORD, node_app, sign_in
from tests.permitting import Site
from tests.stored import clean, index
from tests.support import ct, part10
from tests.visiting import browser, enter, open_images

from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.web.studyfilter import Filter, filter_of
from carina.storage.accounts import add_account

NODE_URL = "http://node.localhost:8721"
PDF, VIDEO, REPORT = (
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.77.1.4.1",
    "1.2.840.10008.5.1.4.1.1.88.33",
)
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def slices() -> list[bytes]:
    """A chest of 33 slices, and an abdomen of another person."""
    chest = [ct("MRN-1", number=number, size=16) for number in range(1, 34)]
    return [*chest, ct("MRN-2", size=16, elements={"BodyPartExamined": "ABDOMEN", "StudyDate": "20150102"})]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two studies; tests only read them."""
    with open_images(tmp_path_factory.mktemp("looking"), slices()) as made:
        for name, role in (("nora", "data-manager"), ("omar", "operator")):
            add_account(made.node.engine, name, PASSWORD, {role})  # type: ignore[arg-type]
        yield made


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site for kinds that are no plain images."""
    with open_images(tmp_path_factory.mktemp("odd"), [ct(size=8)]) as made:
        yield made


@pytest.fixture(scope="module")
def rosa(site: Site) -> TestClient:
    return visiting(site)


@pytest.fixture(scope="module")
def nora(site: Site) -> TestClient:
    """A data manager at the console."""
    client = console(site)
    assert sign_in(client, "nora").status_code == 303
    return client


def console(site: Site) -> TestClient:
    identity = Identity(LocalAccounts(site.node.engine, site.node.id), site.node.id, secure=False)
    app = node_app(site.node, identity, NODE_URL)
    here = ("127.0.0.1", 5)
    return TestClient(app, base_url=NODE_URL, client=here, follow_redirects=False, headers={"Accept": "text/html"})


def visiting(site: Site) -> TestClient:
    """A browser in which the site's dataset is open."""
    client = browser(site)
    assert enter(client, site, site.grant()).status_code == 303
    return client


def found(page: str) -> set[str]:
    return set(re.findall(r'/studies/([0-9.]+)"', page))


def chest(client: TestClient, path: str) -> tuple[str, str]:
    """The address of the study of 33 slices, and its page."""
    for uid in found(client.get(path).text):
        address = f"{path.removesuffix('/studies')}/studies/{uid}"
        page = client.get(address).text
        if "17 / 33" in page:
            return address, page
    raise LookupError("no chest")


def keep(site: Site, study: int, sop_class: str, modality: str, frames: int = 0, **elements: Any) -> str:
    """Put an instance of this kind, without pixels, into the archive, as if de-identified; its study's UID."""
    plain = clean(project=site.node.projects["lung"].id, study=study, modality=modality)  # type: ignore[index]
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class, plain.uid
    made.StudyInstanceUID, made.SeriesInstanceUID = plain.study_uid, plain.series_uid
    made.PatientID, made.Modality = plain.patient, modality
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    stored = replace(plain, sop_class_uid=sop_class, data=part10(made))
    site.node.instances.put(stored)
    with site.node.engine.begin() as connection:
        pixels = {"7FE00010": {"vr": "OW"}} if frames else {}
        index(connection, stored, frames=max(frames, 1), header=pixels)  # one, as all that does not say otherwise
    return str(plain.study_uid)


# --- the search ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("modality=CT", 2),
        ("modality=MR", 0),
        ("from=1990-01-01", 2),
        ("to=1990-01-01", 0),
        ("text=nothing+like+that", 0),
        ("page=1", 2),
    ],
)
def test_the_list_is_narrowed_by_its_form(site: Site, rosa: TestClient, asked: str, count: int) -> None:
    answer = rosa.get(f"/datasets/{site.dataset}?{asked}")
    assert answer.status_code == 200
    assert len(found(answer.text)) == count
    assert ("No study is like that" in answer.text) == (count == 0)


@pytest.mark.parametrize("asked", ["from=yesterday", "to=2026-02-31", "modality=ct%00", f"text={'x' * 99}"])
def test_what_no_form_sends_is_refused_in_words(site: Site, rosa: TestClient, asked: str) -> None:
    answer = rosa.get(f"/datasets/{site.dataset}?{asked}")
    assert answer.status_code == 400
    assert "<h1>" in answer.text


def test_words_are_sought_in_any_case_and_without_wildcards() -> None:
    [words] = filter_of({"text": " Thorax* "}).matches
    assert (words.values, words.kind) == (("*Thorax*",), "like")
    assert words.vr == "PN", "names match in any case"
    assert filter_of({}) == Filter()


def test_the_search_stays_in_the_addresses_of_pages() -> None:
    narrow = filter_of({"modality": "CT", "from": "2020-01-31", "page": "3"})
    assert narrow.address("/studies", 2) == "/studies?modality=CT&from=2020-01-31&page=2"
    assert narrow.address("/studies") == "/studies?modality=CT&from=2020-01-31"


# --- one study ----------------------------------------------------------------------------------------------------


def test_the_list_and_the_study_have_small_pictures_of_a_fixed_size(site: Site, rosa: TestClient) -> None:
    place = f"/datasets/{site.dataset}"
    for page in (rosa.get(place).text, chest(rosa, place)[1]):
        [picture, *_] = re.findall(r"<img [^>]*thumbnail[^>]*>", page)
        assert all(name in picture for name in ('width="', 'height="', 'loading="lazy"', "alt=", "data-missing="))
        address = re.search(r'src="([^"]+)"', picture)
        assert address is not None
        assert rosa.get(address[1], headers={"Accept": "image/*"}).status_code == 200


def test_a_sheet_shows_some_of_all_slices_or_goes_through_them(site: Site, rosa: TestClient) -> None:
    path, _ = chest(rosa, f"/datasets/{site.dataset}")
    some = rosa.get(f"{path}?mosaic=1&window=lung").text
    assert "30 of 33 slices, evenly chosen" in html.unescape(some)
    numbers = [int(number) for number in re.findall(r"<b>(\d+)</b></a></li>", some)]
    assert (numbers[0], numbers[-1], len(numbers)) == (1, 33, 30)
    last = rosa.get(f"{path}?mosaic=1&page=2").text
    assert re.findall(r"<b>(\d+)</b></a></li>", last) == ["31", "32", "33"]
    opened = re.search(r'<li><a href="([^"]+)"', last)
    assert opened is not None
    assert ">31 / 33<" in rosa.get(html.unescape(opened[1])).text
    sheet = re.search(r'<img src="([^"]+mosaic[^"]+)"', some)
    assert sheet is not None
    answer = rosa.get(html.unescape(sheet[1]), headers={"Accept": "image/*"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_the_header_is_a_table_that_can_be_searched_without_a_script(site: Site, rosa: TestClient) -> None:
    path, plain = chest(rosa, f"/datasets/{site.dataset}")
    assert "SOPInstanceUID" not in plain
    whole = rosa.get(f"{path}?header=1").text
    some = rosa.get(f"{path}?header=1&find=pixel+spacing").text
    assert "0008,0018 SOPInstanceUID" in whole
    assert "0028,0030 PixelSpacing" in some
    assert "SOPInstanceUID" not in some
    assert "Garcia" not in whole


def test_a_page_is_small_and_has_a_snippet_of_its_series(site: Site, rosa: TestClient) -> None:
    _, page = chest(rosa, f"/datasets/{site.dataset}")
    assert len(page.encode()) < 150_000
    assert "hub.open(" in page
    assert "series.volume()" in page


def test_a_series_of_very_many_frames_stays_a_small_page(odd: Site) -> None:
    uid = keep(
        odd, 1, "1.2.840.10008.5.1.4.1.1.3.1", "US", 2_000_000_000, NumberOfFrames=2_000_000_000, Rows=8, Columns=8
    )
    answer = visiting(odd).get(f"/datasets/{odd.dataset}/studies/{uid}")
    assert answer.status_code == 200
    assert len(answer.content) < 150_000
    assert "The series is long" in answer.text
    assert "The pixels of the slice in the middle cannot be read" in answer.text


@pytest.mark.parametrize(
    ("number", "sop_class", "modality"), [(2, PDF, "DOC"), (3, REPORT, "SR"), (4, VIDEO, "XC"), (5, SEG, "SEG")]
)
def test_what_has_no_pictures_has_a_page_in_plain_words(odd: Site, number: int, sop_class: str, modality: str) -> None:
    uid = keep(odd, number, sop_class, modality)
    answer = visiting(odd).get(f"/datasets/{odd.dataset}/studies/{uid}")
    assert answer.status_code == 200
    assert "Nothing to look at in this series" in answer.text
    assert "Study UID" in answer.text
    assert "/frames/" not in answer.text


# --- inside -------------------------------------------------------------------------------------------------------


def test_data_managers_look_at_all_of_the_archive(site: Site, nora: TestClient) -> None:
    assert len(found(nora.get("/studies").text)) == 2
    path, page = chest(nora, "/studies")
    picture = re.search(r'<img src="([^"]+/frames/[^"]+)"', page)
    assert picture is not None
    assert nora.get(html.unescape(picture[1]), headers={"Accept": "image/*"}).status_code == 200
    assert nora.get("/studies/access").status_code == 204
    person = re.search(r"<dd><code>([A-Z0-9]+)</code>", page)
    assert person is not None
    assert found(nora.get(f"/studies?person={person[1][:8]}").text) == {path.rsplit("/", 1)[1]}
    assert found(nora.get("/studies?person=NOBODY").text) == set()


@pytest.mark.parametrize("path", ["/studies", "/studies/access", "/studies/2.25.1"])
def test_operators_see_no_images_and_others_are_sent_to_sign_in(site: Site, path: str) -> None:
    client = console(site)
    assert client.get(path).status_code == 303
    assert sign_in(client, "omar").status_code == 303
    assert client.get(path).status_code == 403


def test_a_study_that_is_not_there_is_told_in_words(nora: TestClient) -> None:
    assert nora.get("/studies/2.25.9").status_code == 404
    assert nora.get("/studies/x").status_code == 400


@pytest.mark.parametrize(("actions", "status"), [(("view",), 404), (("view", "retrieve"), 200)])
def test_headers_that_are_an_objects_content_take_a_permit_to_retrieve(
    odd: Site, actions: tuple[str, ...], status: int
) -> None:
    study = keep(odd, 6, SEG, "SEG")
    client = browser(odd)
    assert enter(client, odd, odd.grant(actions=actions)).status_code == 303
    answer = client.get(f"/datasets/{odd.dataset}/studies/{study}/series/{study}.1/header/{study}.1.1.json")
    assert answer.status_code == status
    assert ("SOPClassUID" in answer.text) == (status == 200)
