"""What every request passes before a route sees it, as ASGI middlewares, outermost first:

`Forwarded` (who really asks) → `Headers` (what browsers are told) → `Language` (in which people read) →
`Problems` (errors become answers) → `Door` (host, TLS, origin, size) → `Forms` (CSRF). `middleware()` puts them in
order.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers as HeaderMap
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carina.errors import BadInput, BadSettings, NotAllowed, TooLarge
from carina.interfaces.api.identity import Identity, bearer
from carina.interfaces.api.problems import Problems, RenderError
from carina.interfaces.language import Language

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")  # what a foreign page can send
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MEBIBYTE = 1 << 20
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{0,5})?")  # RFC 9110 section 7.2; it stands in policies


def policy(*origins: str) -> str:
    """A page's Content-Security-Policy. `origins`: other places that its forms may be sent to."""
    targets = " ".join(("'self'", *origins))
    return (
        "default-src 'self'; base-uri 'none'; object-src 'none'; frame-src 'none'; "
        f"form-action {targets}; frame-ancestors 'none'"
    )


POLICY = policy()


@dataclass(frozen=True)
class Rules:
    """What a listener accepts.

    public_url       its address for browsers; decides on `Secure` cookies and HSTS
    hosts            further names it answers to, besides loopback's; `*.localhost` means every name under it
    trusted_proxies  networks whose X-Forwarded-* headers are believed
    largest_body     bytes of a request's body
    body_limits      (path prefix, bytes) where it is another; None: the route itself watches the size
    open_paths       exactly these take forms of other sites: their routes look at `Origin` themselves, and ask for a
                     secret that no other site knows
    """

    public_url: str
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    largest_body: int = MEBIBYTE
    body_limits: tuple[tuple[str, int | None], ...] = ()
    open_paths: tuple[str, ...] = ()

    @property
    def secure(self) -> bool:
        """Whether people come by https."""
        return urlsplit(self.public_url).scheme == "https"

    def answers_to(self, host: str) -> bool:
        """Whether `host`, without its port, is one of the listener's names."""
        names = (urlsplit(self.public_url).hostname or "", *LOOPBACK_NAMES, *self.hosts)
        return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in names)

    def limit(self, path: str) -> int | None:
        """Largest body at `path`, in bytes."""
        for prefix, limit in self.body_limits:
            if path == prefix or path.startswith(f"{prefix.rstrip('/')}/"):
                return limit
        return self.largest_body


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks (`10.0.0.0/8`) of the `trusted_proxies` setting, or `BadSettings`."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError:
        raise BadSettings(
            "trusted_proxies names something that is no address.", "Write addresses or networks, as in 10.0.0.0/8."
        ) from None


def middleware(rules: Rules, identity: Identity, render_error: RenderError | None = None) -> list[Middleware]:
    """All of them in order, for `Starlette(middleware=…)`."""
    return [
        Middleware(Forwarded, trusted=rules.trusted_proxies),
        Middleware(Headers, secure=rules.secure),
        Middleware(Language),
        Middleware(Problems, render_error=render_error),
        Middleware(Door, rules=rules),
        Middleware(Forms, rules=rules, identity=identity),
    ]


async def csrf_token(request: Request, identity: Identity) -> str:
    """What a form's `csrf` field must hold: the session's, or for people not signed in one that a cookie repeats."""
    session = await identity.session(request)
    if session is not None:
        return session.csrf
    if not hasattr(request.state, "form_token"):
        request.state.form_token = request.cookies.get(identity.form_cookie) or secrets.token_urlsafe(32)
    token: str = request.state.form_token
    return token


class Forwarded:
    """Put the scheme and address that a trusted proxy names into the scope; ignore what anyone else says of them."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self.app = app
        self.trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rewrite `scheme` and `client`."""
        if self.trusted and scope["type"] == "http" and scope.get("client") and self._trusts(scope["client"][0]):
            headers = HeaderMap(scope=scope)
            scope = dict(scope)
            protocols = _listed(headers, "x-forwarded-proto")
            if protocols:
                scope["scheme"] = "https" if all(item == "https" for item in protocols) else "http"
            for hop in reversed(_listed(headers, "x-forwarded-for")):
                address = _bare(hop)
                scope["client"] = (address, 0)
                if not self._trusts(address):
                    break
        await self.app(scope, receive, send)

    def _trusts(self, address: str) -> bool:
        parsed = _address(address)
        return parsed is not None and any(parsed in network for network in self.trusted)


def _listed(headers: HeaderMap, name: str) -> list[str]:
    return [part.strip().lower() for line in headers.getlist(name) for part in line.split(",") if part.strip()]


def _bare(hop: str) -> str:
    """The address without the port that some proxies write after it: `192.0.2.7:443`, `[2001:db8::1]:443`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


@lru_cache(1024)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


class Headers:
    """Say to browsers what they may do with a page. A response that sets one of these itself keeps its own."""

    def __init__(self, app: ASGIApp, secure: bool) -> None:
        self.app = app
        self.fixed = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }
        if secure:
            self.fixed["Strict-Transport-Security"] = "max-age=31536000"
        self.fixed["Cache-Control"] = "no-store"
        self._raw = [(name.lower().encode(), value.encode()) for name, value in self.fixed.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them to the response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", ())
                named = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(field for field in self._raw if field[0] not in named)]
            await send(message)

        await self.app(scope, receive, dressed)


class Door:
    """Refuse other hosts' names, plain HTTP off loopback, foreign origins and bodies that are too large."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.rules = rules
        self._answers_to = lru_cache(256)(self._is_own_name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise, or let pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self._check_transport(scope)
        if not self._answers_to(_field(scope, b"host")):
            raise BadInput("This service does not answer to that name.", "Use the address that its operator gave you.")
        if scope["method"] not in SAFE_METHODS and scope["path"] not in self.rules.open_paths:
            self._check_origin(Request(scope))
        limit = self.rules.limit(scope["path"])
        await self.app(scope, receive if limit is None else _limited(scope, receive, limit), send)

    def _check_transport(self, scope: Scope) -> None:
        address = _address(scope["client"][0]) if scope.get("client") else None
        if scope["scheme"] != "https" and (address is None or not address.is_loopback):
            raise NotAllowed(
                "Plain HTTP is answered on this machine only.",
                "Use https, by a TLS proxy that the setting trusted_proxies names.",
            )

    def _is_own_name(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "") if _HOST.fullmatch(host) else ""
        except ValueError:
            name = ""
        return self.rules.answers_to(name)

    def _check_origin(self, request: Request) -> None:
        """Fetch standard, `Origin` header; Fetch Metadata for browsers that leave it out."""
        origin = request.headers.get("origin")
        if origin is not None:
            public = urlsplit(self.rules.public_url)
            own = {f"{public.scheme}://{public.netloc}", f"{request.url.scheme}://{request.headers['host']}".lower()}
            foreign = origin.lower() not in own
        else:
            foreign = request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        if foreign:
            raise NotAllowed("This request comes from another site.", "Open this service's own page and try there.")


def _field(scope: Scope, name: bytes) -> str:
    """The first header field of this name, in small letters; empty when there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _limited(scope: Scope, receive: Receive, limit: int) -> Receive:
    """`receive` that raises `TooLarge` once more than `limit` bytes have come."""
    announced = _field(scope, b"content-length") or "0"
    if not announced.isdecimal() or int(announced) > limit:
        raise _too_large(limit)
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"This is larger than the {limit:,} bytes that are taken in here at once.")


class Forms:
    """CSRF: an unsafe request that a foreign page could have a browser send must repeat a token it cannot know.

    The token is the session's, in the field `csrf` or the header `X-CSRF-Token`; before sign-in it is the one of a
    cookie. Requests with `Authorization: Bearer` are exempt: browsers never add that by themselves.
    """

    def __init__(self, app: ASGIApp, rules: Rules, identity: Identity) -> None:
        self.app = app
        self.rules = rules
        self.identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise `NotAllowed`, or let pass; hand out the cookie that a new form needs."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] not in SAFE_METHODS and self._must_prove(request := Request(scope, receive)):
            receive = await self._proved(request)
        state = scope.setdefault("state", {})

        async def with_cookie(message: Message) -> None:
            token: str = state.get("form_token", "") if message["type"] == "http.response.start" else ""
            if token and token != Request(scope).cookies.get(self.identity.form_cookie):
                MutableHeaders(scope=message).append("Set-Cookie", self._cookie(token))
            await send(message)

        await self.app(scope, receive, with_cookie)

    def _cookie(self, token: str) -> str:
        secure = "; Secure" if self.identity.secure else ""
        return f"{self.identity.form_cookie}={token}; Path=/; HttpOnly; SameSite=Lax{secure}"

    def _must_prove(self, request: Request) -> bool:
        if bearer(request) is not None:
            return False
        if request.scope["path"] in self.rules.open_paths:
            return False
        return self.identity.cookie in request.cookies or _is_form(request)

    async def _proved(self, request: Request) -> Receive:
        """Check the token; return a `receive` that gives the body again if it had to be read.

        A body is read only where its size has a limit; elsewhere the header must have the token.
        """
        session = await self.identity.session(request)
        expected = session.csrf if session else request.cookies.get(self.identity.form_cookie, "")
        given = request.headers.get("x-csrf-token", "")
        receive = request.receive
        if not given and _is_form(request) and self.rules.limit(request.url.path) is not None:
            body = await request.body()
            receive = _again(body, request.receive)
            async with Request(request.scope, _again(body, request.receive)).form() as form:
                given = str(form.get("csrf", ""))
        if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
            raise NotAllowed(
                "This form is out of date, or was not made here.", "Load the page again and send the form once more."
            )
        return receive


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() in FORM_TYPES


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` first, then whatever the connection says."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
