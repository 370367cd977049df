"""What all pages share: the templates, the frame around them, errors in words, and the files they load."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from carina.errors import CarinaError, NotSignedIn
from carina.interfaces import language
from carina.interfaces.api.identity import STAFF, Identity, Session
from carina.interfaces.api.security import csrf_token
from carina.interfaces.web import charts, words
from carina.interfaces.web.assets import STATIC, require_assets
from carina.model.principal import Principal

log = logging.getLogger(__name__)

# htmx as we want it: no eval, no styles of its own, pages never kept in the browser's storage, our origin only.
HTMX = {
    "allowEval": False,
    "includeIndicatorStyles": False,
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
    "selfRequestsOnly": True,
    "scrollBehavior": "auto",
    "responseHandling": [{"code": "204", "swap": False}, {"code": "...", "swap": True}],
}


def everyone(who: Principal | None) -> bool:
    """Whoever looks."""
    return True


def signed_in(who: Principal | None) -> bool:
    """Whoever has signed in."""
    return who is not None


def is_staff(who: Principal | None) -> bool:
    """A hub's or node's staff."""
    return who is not None and bool(who.roles & STAFF)


@dataclass(frozen=True)
class Link:
    """An entry of the menu, and whom it is shown to; `shown` may look into the records."""

    path: str
    text: str
    shown: Callable[[Principal | None], bool] = everyone


@dataclass(frozen=True)
class Pages:
    """One service's pages."""

    kind: Literal["hub", "node", "outside"]
    id: str
    title: str
    identity: Identity
    menu: tuple[Link, ...]
    home: str = "/"
    version: str = field(default_factory=lambda: version("carina"))

    async def render(self, request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """The page (or part of one) with the frame's own values: who is signed in, the forms' token."""
        who = await self.identity.who(request)
        token = await csrf_token(request, self.identity)
        text = await run_in_threadpool(self.text, request, template, who=who, csrf=token, **context)
        return HTMLResponse(text, status)

    def text(self, request: Request, template: str, **context: Any) -> str:
        """A template filled in."""
        path, asked = request.url.path, request.url.query
        here = f"{path}?{asked}" if asked and request.method == "GET" else path
        frame = {"page": self, "path": path, "here": here, "htmx": json.dumps(HTMX), "who": None, "csrf": "", **context}
        return _templates().get_template(template).render(frame)

    def shown_menu(self, who: Principal | None) -> Sequence[Link]:
        """The menu's entries for this person."""
        return [link for link in self.menu if link.shown(who)]

    def error(self, request: Request, status: int, error: CarinaError) -> Response:
        """The page that says what went wrong; whoever is not signed in is sent to do that and comes back."""
        if isinstance(error, NotSignedIn):
            return to_sign_in(request)
        template = "problem.html" if "hx-request" in request.headers else "error.html"
        told: dict[str, Any] = {"error": error, "status": status}
        session = self._session(request, status)
        if session is not None:
            try:
                text = self.text(request, template, who=session.principal, csrf=session.csrf, **told)
            except Exception as failed:  # noqa: BLE001  the menu may look into records: an error's page comes all the same
                log.warning("error-page-without-menu class=%s", type(failed).__name__)
            else:
                return HTMLResponse(text, status)
        return HTMLResponse(self.text(request, template, **told), status)

    def _session(self, request: Request, status: int) -> Session | None:
        """Of whoever is told of an error: nobody may have asked yet, as where an address is unknown. In a thread."""
        if hasattr(request.state, "session") or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return getattr(request.state, "session", None)
        secret = request.cookies.get(self.identity.cookie)
        if not secret or "authorization" in request.headers:
            return None
        try:
            return self.identity.provider.session(secret)
        except Exception as failed:  # noqa: BLE001  the page of one error is no place for another
            log.warning("error-page-without-menu class=%s", type(failed).__name__)
            return None


def to_sign_in(request: Request) -> Response:
    """Send a person to sign in, and to come back here afterwards; htmx follows by loading the whole page."""
    here = urlsplit(request.headers.get("hx-current-url", "")) if "hx-request" in request.headers else request.url
    back = here.path + (f"?{here.query}" if here.query else "")
    target = f"/sign-in?next={quote(local_path(back), safe='')}" if request.method == "GET" else "/sign-in"
    if "hx-request" in request.headers:
        return Response(status_code=200, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def local_path(text: str) -> str:
    """`text` if it is a path of this service, else `/`: nobody is sent elsewhere after signing in."""
    plain = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if plain else "/"


def back(path: str, done: str = "") -> Response:
    """Load a page after a form, so that loading it again does not send the form again. `done`: a word for the page."""
    return RedirectResponse(f"{path}?done={done}" if done else path, 303)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(language.gettext, language.ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.filters["sentence"] = language.sentence
    names = "country number at_least plural size instant ago reason_label short moment_of together either fixed"
    names += " lasting day remaining duration action_words version_label job_reason decimal"
    environment.filters.update({name: getattr(words, name) for name in names.split()})
    environment.globals.update(words=words, charts=charts, language=language)
    return environment


class Files(StaticFiles):
    """Static files that a browser keeps and asks about again, so that an upgrade is seen at once."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        """The file, or 304 when the browser has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


def static_files() -> Mount:
    """`/static`. Raises `BadSettings` if a file that the pages load is missing or changed."""
    require_assets()
    return Mount("/static", Files(directory=STATIC), name="static")
