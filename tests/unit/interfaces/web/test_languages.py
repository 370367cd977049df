"""Pages in another language: the switch, German, and a made-up one that shows which texts nobody can translate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scripts import collect_texts
from starlette.testclient import TestClient
from tests.pages import IRI_A

from carina.hub.centre import Hub
from carina.interfaces import language
from carina.node.site import Node

SHOWN = ("aria-label", "placeholder", "data-label", "data-confirm", "alt", "title")
"""Attributes that a person sees or hears."""
DATA = re.compile(
    r"Carina|English|Deutsch|Test hub|Rosa Ruiz|Clara|Nora Vidal|Aŭstralio|Hispanujo|Nederlando|Hospital Santa Aurelia"
    r"|Waterland Medisch Centrum|Banksia (Cancer Centre|Health Network)|Fundación Santa Aurelia|Stichting Waterland"
    r"|Hospital Ficticio|Lung cancer: CT and PET over time|Breast MR before and after therapy|Paediatric brain tumours"
    r"|Images of people with cancer.*drawn them\.|\b(rosa|nora|clara|lung|breast|brain|INVITATION)\b|UTC|Python|DICOM"
    r"|Breast|SEG|Lung|CSV|JSON|modality=CT&age=40-60"
)


class Reader(HTMLParser):
    """Collects what a page shows: texts, and the attributes that are shown or read out; no code, pictures or times."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.texts += [value for name in SHOWN if tag != "time" and (value := given.get(name))]
        if tag in {"script", "style", "code", "svg", "kbd", "textarea", "title"}:
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data: str) -> None:
        if not self.within and data.strip():
            self.texts.append(" ".join(data.split()))


def left_over(page: str) -> list[str]:
    """What of a page in the made-up language is neither wrapped nor data."""
    reader = Reader()
    reader.feed(page)
    whole = "\n".join(reader.texts)
    while (less := re.sub(r"⟦[^⟦⟧]*⟧", "", whole)) != whole:
        whole = less
    return [line for line in DATA.sub("", whole).splitlines() if re.search(r"[A-Za-z]{3,}", line)]


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A language in which each text stands in ⟦ ⟧."""
    folder = tmp_path / "locale"
    folder.mkdir()
    catalogue = collect_texts.gathered("eo")
    for message in catalogue:
        if isinstance(message.id, str):
            message.string = f"⟦{message.id}⟧" if message.id else ""
        else:
            message.string = tuple(f"⟦{text}⟧" for text in message.id)
    header = 'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n'
    (folder / "eo.po").write_bytes(collect_texts.written(catalogue, header))
    monkeypatch.setattr(language, "FOLDER", folder)
    monkeypatch.setitem(language.LANGUAGES, "eo", "Deutsch")
    yield "eo"
    for kept in (language.catalogue, language._translations, language._patterns):
        kept.cache_clear()


HUB = (
    "/",
    "/datasets",
    f"/datasets/{IRI_A}",
    "/datasets?text=nothing",
    "/explorer",
    "/explorer?modality=CT&age=40-60&wait=1",
    "/explorer?pirads=5",
    "/nodes",
    "/requests",
    "/requests/new",
    f"/requests/new?dataset={IRI_A}",
    "/permits",
    "/runs",
    "/runs/new",
    "/account",
    "/nothing",
)
NODE = ("/review", "/datasets", "/datasets/new", "/permits", "/forget", "/account", "/nothing")


def test_all_that_a_hub_shows_can_be_translated(made_up: str, rosa: TestClient) -> None:
    rosa.cookies.set(language.COOKIE, made_up)
    assert {path: left for path in HUB if (left := left_over(rosa.get(path).text))} == {}


def test_all_that_a_committee_sees_can_be_translated(made_up: str, clara: TestClient) -> None:
    clara.cookies.set(language.COOKIE, made_up)
    assert left_over(clara.get("/committee").text) == []


def test_all_that_a_console_shows_can_be_translated(made_up: str, nora: TestClient, node: Node) -> None:
    nora.cookies.set(language.COOKIE, made_up)
    assert {path: left for path in NODE if (left := left_over(nora.get(path).text))} == {}


def test_a_page_says_its_language_and_offers_the_others_by_their_own_names(anyone: TestClient) -> None:
    page = anyone.get("/datasets?text=lung&modality=CT", headers={"Accept-Language": "de"})
    assert '<html lang="de">' in page.text
    assert "Datensätze" in page.text
    assert page.headers["content-language"] == "de"
    assert 'href="/language/en?next=/datasets%3Ftext%3Dlung%26modality%3DCT" lang="en"' in page.text


def test_the_switch_keeps_the_language_and_comes_back_to_the_page(anyone: TestClient) -> None:
    chosen = anyone.get("/language/de", params={"next": "/nodes?x=1"})
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/nodes?x=1")
    kept = chosen.headers["set-cookie"]
    assert kept.startswith("carina-language=de; HttpOnly; Max-Age=31536000; Path=/; SameSite=lax")
    assert '<html lang="de">' in anyone.get("/nodes").text


@pytest.mark.parametrize("elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\r\nb"])
def test_the_switch_leads_nowhere_else(anyone: TestClient, elsewhere: str) -> None:
    assert anyone.get("/language/de", params={"next": elsewhere}).headers["location"] == "/"


def test_a_language_that_is_not_spoken_is_not_found(anyone: TestClient) -> None:
    assert anyone.get("/language/xx").status_code == 404


def test_errors_are_said_in_the_language_of_the_page_and_in_english_to_programs(hub: Hub, rosa: TestClient) -> None:
    german = {"Accept-Language": "de"}
    assert "Schreiben Sie einen Bereich" in rosa.get("/explorer?age=x-y", headers=german).text
    problem = rosa.get("/nothing", headers={**german, "Accept": "application/json"})
    assert problem.headers["content-type"] == "application/problem+json"
    assert "Not" in problem.json()["title"]
