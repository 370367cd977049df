"""Researchers whom a hub has handed over, on a node's outside listener.

A visit is for one dataset, and so is its cookie: `Path=/datasets/{iri}`. Several datasets of one node can be open in a
browser at once, and each address is sent the one secret that is for it. Programs send theirs as a bearer token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from carina.errors import NotAllowed, NotSignedIn, SignInFailed
from carina.interfaces.api.identity import Identity, Session, bearer
from carina.interfaces.api.rate import RateLimit, network_of
from carina.model.principal import Principal
from carina.node import visits
from carina.node.site import Node
from carina.node.visits import Visit

ENTRIES = (30, 60.0)  # codes that one address may bring to all doors together, within so many seconds


@dataclass(frozen=True)
class VisitAccounts:
    """An `IdentityProvider` of visits: nobody signs in by name and password."""

    node: Node

    def sign_in(self, name: str, password: str, address: str) -> NoReturn:
        """`IdentityProvider.sign_in`."""
        raise SignInFailed("Nobody signs in here.", "Open the images from your permit at the hub.")

    def session(self, secret: str) -> Session | None:
        """`IdentityProvider.session`."""
        visit = visits.visit(self.node, secret)
        return None if visit is None else Session(visit.principal, secret, visit.csrf)

    def sign_out(self, secret: str) -> None:
        """`IdentityProvider.sign_out`."""
        visits.leave(self.node, secret)

    def token(self, secret: str) -> Principal | None:
        """`IdentityProvider.token`."""
        visit = visits.visit(self.node, secret)
        return None if visit is None else visit.principal


@dataclass(frozen=True)
class Visitors(Identity):
    """What the routes of the outside listener ask."""

    @property
    def cookie(self) -> str:
        """Name of a visit's cookie: the same for all; each has its own path."""
        return f"{'__Secure-' if self.secure else ''}carina-{self.service}"

    def remember(self, response: Response, session: Session, path: str = "/") -> None:
        """Give the browser the cookie of a visit to what lies at `path`."""
        response.set_cookie(self.cookie, session.secret, path=path, secure=self.secure, httponly=True, samesite="lax")

    def forget(self, response: Response, path: str = "/") -> None:
        """Take it back."""
        response.delete_cookie(self.cookie, path=path, secure=self.secure, httponly=True, samesite="lax")

    async def visit(self, request: HTTPConnection) -> Visit:
        """The visit of whoever asks, to the dataset that the address names. Raises `NotSignedIn`.

        A request with `Authorization` is judged by that alone, never by its cookie.
        """
        if not hasattr(request.state, "visit"):
            cookie = None if request.headers.get("authorization") else request.cookies.get(self.cookie)
            secret = bearer(request) or cookie
            request.state.visit = await run_in_threadpool(self._visit, secret) if secret else None
        visit: Visit | None = request.state.visit
        if visit is None or visit.dataset != request.path_params["iri"]:
            raise NotSignedIn(
                "You have not been let in here, or your visit has ended.",
                "Open the images from your permit at the hub.",
            )
        return visit

    def _visit(self, secret: str) -> Visit | None:
        assert isinstance(self.provider, VisitAccounts)
        return visits.visit(self.provider.node, secret)


def visitors(node: Node, secure: bool) -> Visitors:
    """The identity of the outside listener. `secure`: it is reached by https."""
    return Visitors(VisitAccounts(node), f"{node.id}-visit", secure)


def entries() -> RateLimit:
    """How many codes one address may bring: one for the page and the API of a listener."""
    return RateLimit(*ENTRIES)


def count_entry(limit: RateLimit, request: Request) -> None:
    """Count a code that somebody brings. Raises `TooMany` when there were enough from there."""
    limit.spend(network_of(request.client.host) if request.client else "unknown")


def require_hub(node: Node, request: Request) -> None:
    """Raise `NotAllowed` for a form that a page of another site than a joined hub's, or this one's, has sent."""
    origin = request.headers.get("origin")
    own = f"{request.url.scheme}://{request.url.netloc}"
    if origin is None or origin.lower() in {own.lower(), *visits.hub_origins(node)}:
        return
    raise NotAllowed(
        "This request comes from a site that is none of this node's hubs.",
        "Open the images from your permit at the hub.",
    )
