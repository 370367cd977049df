"""In which language a page speaks: the one that a person has chosen, else the first that the browser asks for.

Texts are English in the code and in the templates; `locale/<language>.po` holds their translations. What services say
(errors, reasons) is English too, and is translated where it is shown: by `sentence`, which knows the numbers and names
that stand within. `scripts/collect_texts.py` keeps the catalogues in step with the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.core import Locale, negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(__file__).parent / "locale"
LANGUAGES = {"en": "English", "de": "Deutsch"}
"""By code (BCP 47), each with its own name."""
COOKIE = "carina-language"
FIRST = "en"
SAID = "Said by a service."
"""The catalogue's comment on texts that `sentence` looks for within what was said."""
_LONGEST = 1000
"""Characters of a text in which `sentence` looks for places: the time that takes grows with their cube."""
_HOLE = re.compile(r"\\\{[^{}]*\\\}")  # of a text that was escaped for a regular expression
_current: ContextVar[str] = ContextVar("language", default=FIRST)


def current() -> str:
    """The language of the answer under way."""
    return _current.get()


def gettext(text: str) -> str:
    """The text in the current language; as it is where there is no translation."""
    return text if current() == FIRST or not text else str(_translations(current()).gettext(text))


def ngettext(one: str, many: str, number: int) -> str:
    """Of `one` and `many`, what the number asks for, in the current language."""
    if current() == FIRST:
        return one if number == 1 else many
    return str(_translations(current()).ngettext(one, many, number))


def mark(text: str) -> str:
    """The text as it is. So written, a constant is found by whoever collects texts, and translated when shown."""
    return text


def sentence(text: str) -> str:
    """What a service has said, in the current language: as it stands in the catalogue, or as a text with places
    `{name}` there, which keep what stands in them."""
    if current() == FIRST or not text:
        return text
    found = gettext(text)
    if found != text or len(text) > _LONGEST:
        return found
    for pattern, names, translated in _patterns(current()):
        said = pattern.fullmatch(text)
        if said is not None:
            given = zip(names, said.groups(), strict=True)
            return translated.format(**{name: _written(name, value) for name, value in given})
    return text


def _written(name: str, value: str) -> str:
    """A number with the language's decimal sign, and `what` by its name in that language; all else as it is."""
    if name == "what":
        return gettext(value)
    if name == "version" or not re.fullmatch(r"\d+\.\d+", value):
        return value
    return value.replace(".", str(locale().number_symbols["latn"]["decimal"]))


def locale() -> Locale:
    """How the current language writes dates, lists and numbers."""
    return _locale(current())


@cache
def _locale(language: str) -> Locale:
    return Locale.parse("en_GB" if language == FIRST else language.replace("-", "_"))


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Another language for what is done within."""
    before = _current.set(language)
    try:
        yield
    finally:
        _current.reset(before)


def chosen(connection: HTTPConnection) -> str:
    """The language that the cookie names, else the best of `Accept-Language` (RFC 9110 section 12.5.4)."""
    kept = connection.cookies.get(COOKIE, "")
    if kept in LANGUAGES:
        return kept
    wanted = _accepted(connection.headers.get("accept-language", ""))
    return negotiate_locale(wanted, list(LANGUAGES), sep="-") or FIRST


class Language:
    """Middleware: speak the language of whoever asks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Set it for all that this request calls."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        spoken = chosen(HTTPConnection(scope))

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Content-Language"] = spoken
                    headers.add_vary_header("Accept-Language")
                    headers.add_vary_header("Cookie")
            await send(message)

        before = _current.set(spoken)
        try:
            await self.app(scope, receive, tell)
        finally:
            _current.reset(before)


def _accepted(header: str) -> list[str]:
    """Language tags, the most wanted first; at most 20."""
    found: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")[:20]):
        tag, _, parameters = part.strip().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameters) if parameters else None
        quality = 1.0 if not parameters else float(weight[1]) if weight else 0.0
        if quality > 0 and re.fullmatch(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", tag):
            found.append((-quality, place, tag))
    return [tag for _, _, tag in sorted(found)]


@cache
def catalogue(language: str) -> Catalog:
    """All texts with their translations."""
    with (FOLDER / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


@cache
def _translations(language: str) -> Translations:
    made = BytesIO()
    write_mo(made, catalogue(language))
    made.seek(0)
    return Translations(made)


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], list[str], str]]:
    """Texts with places, as what matches them; the longest first, for they say most."""
    found = []
    for message in catalogue(language):
        text = message.id if isinstance(message.id, str) else ""
        if SAID not in message.auto_comments or "{" not in text or not message.string:
            continue
        names = re.findall(r"\{([^{}]*)\}", text)
        pattern = re.compile(_HOLE.sub("(.*?)", re.escape(text)), re.DOTALL)
        found.append((len(text), pattern, names, str(message.string)))
    return [(pattern, names, text) for _, pattern, names, text in sorted(found, key=lambda one: -one[0])]
