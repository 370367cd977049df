"""The language of an answer: which, how numbers and services' sentences are said in it, and its catalogue."""

from __future__ import annotations

import asyncio
import time
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from scripts import collect_texts
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from carina.errors import TooMany
from carina.interfaces import language
from carina.interfaces.web import words
from carina.model.clock import now, stamp


def asking(**headers: str) -> HTTPConnection:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "path": "/", "headers": given})


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT, en;q=0.8", "de"),
        ("fr, de;q=0.3, en;q=0.5", "en"),
        ("fr, nl", "en"),
        ("de;q=0, en", "en"),
        ("*", "en"),
        ("de;q=much", "en"),
        ("\x00, <script>, de", "de"),
        (",".join(["fr"] * 20 + ["de"]), "en"),
    ],
)
def test_the_best_of_what_a_browser_accepts_is_spoken(accepted: str, code: str) -> None:
    assert language.chosen(asking(accept_language=accepted)) == code


def test_what_a_person_has_chosen_goes_before_what_the_browser_accepts() -> None:
    assert language.chosen(asking(cookie="carina-language=de", accept_language="en")) == "de"
    assert language.chosen(asking(cookie="carina-language=xx", accept_language="de")) == "de"


def test_the_language_holds_for_one_request_and_is_told_with_its_page() -> None:
    spoken: list[str] = []
    sent: list[Message] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        spoken.append(language.current())
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"vary", b"Accept")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def collect(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/", "headers": [(b"accept-language", b"de")]}
    asyncio.run(language.Language(page)(scope, None, collect))  # type: ignore[arg-type]
    headers = dict(sent[0]["headers"])
    assert spoken == ["de"]
    assert headers[b"content-language"] == b"de"
    assert headers[b"vary"] == b"Accept, Accept-Language, Cookie"
    assert language.current() == "en"


def test_what_is_no_page_says_nothing_of_languages() -> None:
    sent: list[Message] = []

    async def data(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})

    async def collect(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/", "headers": [(b"accept-language", b"de")]}
    asyncio.run(language.Language(data)(scope, None, collect))  # type: ignore[arg-type]
    assert dict(sent[0]["headers"]) == {b"content-type": b"application/json"}


def test_a_number_of_things_has_the_form_that_the_language_gives_it() -> None:
    assert (words.plural(1, "dataset"), words.plural(1200, "dataset")) == ("1 dataset", "1\u202f200 datasets")
    with language.speaking("de"):
        assert (words.plural(1, "dataset"), words.plural(1200, "dataset")) == ("1 Datensatz", "1\u202f200 Datensätze")
        assert words.plural(0, "patient") == "0 Patienten"


def test_times_days_and_decimals_are_written_as_the_language_has_them() -> None:
    with language.speaking("de"):
        assert words.day("2027-03-01") == "1. März 2027"
        assert words.instant("2026-01-02T03:04:05.000000Z") == "2. Januar 2026, 03:04 UTC"
        assert words.ago(stamp(now())) == "gerade eben"
        assert words.size(1_530_000) == "1,5 MB"
        assert words.decimal(18.346) == "18,35"
        assert words.fixed(0.214, 2) == "0,21"
        assert words.country("ES") == "Spanien"
        assert words.either(["CT", "MR", "PT"]) == "CT, MR oder PT"
        assert words.together(["A", "B"]) == "A und B"
        assert words.duration(365) == "365 Tage (1 Jahr)"
        assert words.action_words(["view", "analyse"], within=True) == "Bilder ansehen, Analysen ausführen"


def test_what_a_service_says_is_found_with_the_names_and_numbers_within() -> None:
    said = "A request is for at most 20 datasets."
    assert language.sentence(said) == said
    with language.speaking("de"):
        assert language.sentence(said) == "Ein Antrag umfasst höchstens 20 Datensätze."
        assert language.sentence(TooMany.hint) == "Warten Sie eine Minute und versuchen Sie es erneut."
        assert language.sentence("“Lung {CT}” has no such version.") == "„Lung {CT}“ hat keine solche Version."
        assert language.sentence("Nobody has ever said this.") == "Nobody has ever said this."


def test_the_longest_sentence_that_fits_is_taken() -> None:
    with language.speaking("de"):
        assert language.sentence("12 GB of the disk are free, enough for about 9 days.").startswith(
            "12 GB der Festplatte"
        )
        assert language.sentence("12 GB of the disk are free, enough for about 9 days.").endswith("etwa 9 Tage.")


def test_each_catalogue_is_in_step_with_the_code_and_complete() -> None:
    for path in sorted(language.FOLDER.glob("*.po")):
        faults = collect_texts.faults(path.stem, read_po(BytesIO(path.read_bytes()), locale=path.stem))
        assert not faults, f"{path.name}: run `make texts`, then translate. {faults[:5]}"


def test_there_is_a_catalogue_for_each_language_but_the_first() -> None:
    assert {path.stem for path in language.FOLDER.glob("*.po")} == set(language.LANGUAGES) - {language.FIRST}
    assert language.SAID == collect_texts.SAID


@pytest.mark.parametrize(
    ("text", "translation", "fault"),
    [
        ("Search", "", "not translated"),
        ("%(n)s of %(of)s", "%(n)s von %(on)s", "other places"),
        ("up to {high}", "bis {hoch}", "other places"),
        ("<b>%(n)s</b> left", "noch %(n)s", "other HTML"),
        ("Say so", 'Sagen Sie "so"', "a straight quotation mark, which would end an attribute"),
    ],
)
def test_a_translation_that_would_break_a_page_is_a_fault(text: str, translation: str, fault: str) -> None:
    catalogue = Catalog(locale="de")
    catalogue.add(text, translation)
    assert f"{fault}: {text!r}" in collect_texts.faults("de", catalogue)


def test_texts_are_collected_from_templates_code_and_what_services_raise(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '{{ _("One") }}{% trans n=2 %}{{ n }} box{% pluralize %}{{ n }} boxes{% endtrans %}{{ 3 | plural("node") }}'
    )
    collect_texts.ROOT, kept = tmp_path, collect_texts.ROOT
    try:
        found = {each.texts for each in collect_texts.of_template(page)}
    finally:
        collect_texts.ROOT = kept
    assert found == {("One",), ("%(n)s box", "%(n)s boxes"), ("node", "nodes")}


def test_an_f_string_becomes_a_text_with_places() -> None:
    tree = collect_texts.ast.parse('raise BadInput(f"It has {len(a)} of {b.most} values.", "Send less.")')
    found = list(collect_texts.of_room(tree, "x.py", sentences=True))
    assert [(each.texts[0], each.said) for each in found] == [
        ("It has {len} of {most} values.", True),
        ("Send less.", True),
    ]


def test_a_long_text_is_shown_as_it_is_in_no_time() -> None:
    said = " has sent nothing for " * 400 + " days; its longest pause in four weeks was " * 400
    with language.speaking("de"):
        began = time.monotonic()
        assert language.sentence(said) == said
    assert time.monotonic() - began < 1


def test_what_stands_in_a_text_is_no_format() -> None:
    with language.speaking("de"):
        assert language.sentence("{0.__class__} %(x)s {x}") == "{0.__class__} %(x)s {x}"
        for pattern, names, _ in language._patterns("de"):
            said = pattern.pattern.replace("(.*?)", "{0.__class__}").replace("\\", "")
            assert not names or "{0.__class__}" in language.sentence(said)
