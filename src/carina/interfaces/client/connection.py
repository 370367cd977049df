"""HTTP to a hub or a node: loopback names without a resolver, problem details back into `carina.errors`."""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeAlias, TypeVar

import httpx2

from carina import errors
from carina.errors import BadInput, CarinaError, NotAllowed, NotSignedIn, PermitDenied, Unreachable
from carina.interfaces.api.documents import error_word

TIMEOUT = httpx2.Timeout(10.0, read=90.0)  # seconds; a search may wait a minute for its nodes
LEAVE_WITHIN = 3.0  # seconds
LOOPBACK = "127.0.0.1"

Peer: TypeAlias = Literal["hub", "node"]
T = TypeVar("T")


class LoopbackTransport(httpx2.BaseTransport):
    """Reaches names under `.localhost` (RFC 6761 section 6.3) at 127.0.0.1, whatever the resolver says of them.

    The `Host` header and TLS still have the name. Proxies of the environment are not used: loopback has none.
    """

    def __init__(self) -> None:
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request to the loopback address."""
        if request.url.host.endswith("localhost"):
            extensions = {**request.extensions, "sni_hostname": request.url.host}
            request = httpx2.Request(
                request.method,
                request.url.copy_with(host=LOOPBACK),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def origin(url: str) -> httpx2.URL:
    """Scheme, host and port of a hub's address. Raises `BadInput` for anything but http and https."""
    try:
        parsed = httpx2.URL(url.strip())
    except (httpx2.InvalidURL, ValueError):
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadInput("This is no address of a hub.", "Give it with its scheme, as in https://hub.example.org.")
    return httpx2.URL(scheme=parsed.scheme, host=parsed.host, port=parsed.port)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: localhost, a name under it, or a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Connection:
    """Requests to one hub or node. `token` goes with each, never over plain HTTP to another machine."""

    def __init__(self, address: httpx2.URL, peer: Peer = "hub") -> None:
        self.address = address
        self.peer: Peer = peer
        self.token: str | None = None
        transport = LoopbackTransport() if is_loopback(address.host) else None
        self._http = httpx2.Client(base_url=address, timeout=TIMEOUT, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def require_private(self) -> None:
        """Raise `NotAllowed` where a secret would travel in clear."""
        if self.address.scheme != "https" and not is_loopback(self.address.host):
            raise NotAllowed(
                "Passwords and tokens are not sent over plain HTTP.", f"Use the {self.peer}'s https address."
            )

    def get(self, path: str, pairs: Sequence[tuple[str, str]] = ()) -> Any:
        """The JSON at `path`, or the error that the peer names; None when it has nothing to say (204)."""
        with self.opened("GET", path, pairs) as response:
            return self._json(response)

    def text(self, path: str, media: str) -> str:
        """The text at `path`, which must come as `media`."""
        with self.opened("GET", path, accept=media) as response:
            if response.headers.get("content-type", "").partition(";")[0] != media:
                raise stranger(self.peer)
            response.read()
            return response.text

    def post(self, path: str, content: dict[str, Any]) -> Any:
        """What the peer answers to `content`."""
        self.require_private()
        with self.opened("POST", path, content=content) as response:
            return self._json(response)

    def delete(self, path: str) -> None:
        """End what is at `path`."""
        with self.opened("DELETE", path):
            return

    def leave(self, path: str) -> None:
        """Give the token back by a POST to `path`; it is forgotten here whatever the peer says, or if it is away."""
        token, self.token = self.token, None
        if token is not None:
            with suppress(httpx2.HTTPError):
                self._http.post(path, headers={"Authorization": f"Bearer {token}"}, timeout=LEAVE_WITHIN)

    def events(self, path: str, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, Any]]:
        """Server-sent events as they come: (name, JSON)."""
        with self.opened("GET", path, pairs, accept="text/event-stream") as response:
            if response.headers.get("content-type", "").partition(";")[0] != "text/event-stream":
                raise stranger(self.peer)
            for event in httpx2.EventSource(response):
                try:
                    yield event.event, json.loads(event.data)
                except json.JSONDecodeError:
                    raise stranger(self.peer) from None

    @contextmanager
    def opened(
        self,
        method: str,
        path: str,
        pairs: Sequence[tuple[str, str]] = (),
        *,
        content: dict[str, Any] | None = None,
        accept: str = "application/json",
    ) -> Iterator[httpx2.Response]:
        """A response whose status is a success. Raises `Unreachable`, or the error that the peer names."""
        headers = {"Accept": accept}
        if self.token is not None:
            self.require_private()
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with self._http.stream(
                method, path, params=httpx2.QueryParams([*pairs]), json=content, headers=headers
            ) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response, self.peer)
                yield response
        except httpx2.TimeoutException:
            raise Unreachable(f"The {self.peer} does not answer in time.", "Try again in a while.") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _unreachable(error, self.peer) from None

    def _json(self, response: httpx2.Response) -> Any:
        response.read()
        try:
            return response.json() if response.content else None
        except ValueError:
            raise stranger(self.peer) from None


def read(reading: Callable[[], T], peer: Peer = "hub") -> T:
    """What `reading` takes from the peer's JSON; JSON of another shape is no Carina's."""
    try:
        return reading()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise stranger(peer) from None


def _unreachable(error: BaseException, peer: Peer) -> Unreachable:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return Unreachable(f"The {peer} cannot be reached at this address.")
    return Unreachable(
        "The certificate at this address is not one that this machine trusts for it.",
        "Check the address; SSL_CERT_FILE can name the file of another certificate authority.",
    )


def stranger(peer: Peer = "hub") -> Unreachable:
    """What answers is something else."""
    return Unreachable(f"What answers at this address is no Carina {peer}.", "Check the address.")


def error_of(response: httpx2.Response, peer: Peer = "hub") -> CarinaError:
    """The error of an answer that is no success."""
    if response.headers.get("content-type", "").partition(";")[0] != "application/problem+json":
        return stranger(peer)
    try:
        return error_named(response.json(), peer)
    except ValueError:
        return stranger(peer)


def error_named(problem: Any, peer: Peer = "hub") -> CarinaError:
    """The error of problem details (RFC 9457); a word that this client does not know becomes a `CarinaError`."""
    try:
        word, detail, hint = str(problem["error"]), str(problem["detail"]), str(problem["hint"])
    except (KeyError, TypeError):
        return stranger(peer)
    kind = _ERRORS.get(word, CarinaError)
    if kind is NotSignedIn:
        return kind(detail, _SIGN_IN[peer])
    if kind is PermitDenied:
        return PermitDenied(detail, hint, str(problem.get("reason", "")))
    return kind(detail, hint)


_SIGN_IN: dict[Peer, str] = {
    "hub": "Run `carina login`, or give `carina.connect` an account or a token.",
    "node": "The visit is over; open the permit again.",
}


def _subclasses(kind: type[CarinaError]) -> Iterator[type[CarinaError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


_ERRORS = {
    error_word(kind): kind
    for kind in _subclasses(CarinaError)
    if kind.__module__ == errors.__name__ and kind is not errors.Withheld
}
