"""Who asks: request → `Principal`.

The seam is `IdentityProvider`, four calls that say who a secret belongs to; `LocalAccounts` asks this service's own
records, `MemoryAccounts` is its twin in memory. `Identity` is what routes use: it reads the cookie or the token.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import Response

from carina.errors import NotAllowed, NotSignedIn, SignInFailed, TooMany
from carina.model.principal import Principal, Role
from carina.storage import accounts

T = TypeVar("T")
STAFF: frozenset[Role] = frozenset({"operator", "data-manager"})


_SIGN_IN = "This needs you to sign in."


@dataclass(frozen=True)
class Session:
    """A person who has signed in. `secret` is the cookie's or the client's; `csrf` goes into forms."""

    principal: Principal
    secret: str = field(repr=False)
    csrf: str = field(repr=False)


class IdentityProvider(Protocol):
    """Who vouches for people and senders. Calls may wait; `Identity` runs them in threads."""

    def sign_in(self, name: str, password: str, address: str) -> Session:
        """A new session, or `SignInFailed`, or `TooMany` after too many failures by this name or address."""

    def session(self, secret: str) -> Session | None:
        """The session that has this secret, if it has not ended."""

    def sign_out(self, secret: str) -> None:
        """End the session; one that has ended already is no error."""

    def token(self, secret: str) -> Principal | None:
        """Whom a long-lived token stands for, if it is in force."""


@dataclass(frozen=True)
class LocalAccounts:
    """Accounts, sessions and tokens in this service's own records. `service` is its id, the issuer of its people."""

    engine: Engine
    service: str

    def sign_in(self, name: str, password: str, address: str) -> Session:
        """`IdentityProvider.sign_in`."""
        principal = accounts.check_password(self.engine, name, password, address, issuer=self.service)
        secret, csrf = accounts.open_session(self.engine, principal.subject)
        return Session(principal, secret, csrf)

    def session(self, secret: str) -> Session | None:
        """`IdentityProvider.session`."""
        found = accounts.session(self.engine, secret, issuer=self.service)
        return None if found is None else Session(found[0], secret, found[1])

    def sign_out(self, secret: str) -> None:
        """`IdentityProvider.sign_out`."""
        accounts.close_session(self.engine, secret)

    def token(self, secret: str) -> Principal | None:
        """`IdentityProvider.token`."""
        return accounts.token(self.engine, secret, issuer=self.service)


@dataclass
class MemoryAccounts:
    """The twin in memory: names with passwords, and tokens, as given; forgets all sessions with the process."""

    people: dict[str, tuple[str, Principal]]
    tokens: dict[str, Principal] = field(default_factory=dict)
    failures_allowed: int = 5
    window: float = 900.0
    _sessions: dict[str, Session] = field(default_factory=dict, repr=False)
    _failures: list[tuple[float, str]] = field(default_factory=list, repr=False)

    def sign_in(self, name: str, password: str, address: str) -> Session:
        """`IdentityProvider.sign_in`."""
        since = time.monotonic() - self.window
        if sum(1 for at, who in self._failures if who == name and at > since) >= self.failures_allowed:
            raise TooMany("Too many attempts to sign in have failed.", "Wait a quarter of an hour and try again.")
        known, principal = self.people.get(name, ("", None))
        if principal is None or not hmac.compare_digest(known.encode(), password.encode()):
            self._failures.append((time.monotonic(), name))
            raise SignInFailed("The name or the password is wrong.")
        session = Session(principal, secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        self._sessions[session.secret] = session
        return session

    def session(self, secret: str) -> Session | None:
        """`IdentityProvider.session`."""
        return self._sessions.get(secret)

    def sign_out(self, secret: str) -> None:
        """`IdentityProvider.sign_out`."""
        self._sessions.pop(secret, None)

    def token(self, secret: str) -> Principal | None:
        """`IdentityProvider.token`."""
        return self.tokens.get(secret)


@dataclass(frozen=True)
class Identity:
    """What routes ask. Cookies carry the service's id, since browsers do not keep ports apart.

    secure   the public address is https: cookies are `Secure` and have the `__Host-` prefix
    """

    provider: IdentityProvider
    service: str
    secure: bool

    @property
    def cookie(self) -> str:
        """Name of the session's cookie."""
        return f"{'__Host-' if self.secure else ''}carina-{self.service}"

    @property
    def form_cookie(self) -> str:
        """Name of the cookie that guards forms of people who have not signed in."""
        return f"{self.cookie}-form"

    async def who(self, request: HTTPConnection) -> Principal | None:
        """Whoever asks, or None. A request with `Authorization` is judged by that alone, never by its cookie."""
        state = request.state
        if not hasattr(state, "principal"):
            secret = bearer(request)
            if secret is not None:
                state.principal = await run_in_threadpool(self._holder, secret)
            elif request.headers.get("authorization") is not None:
                state.principal = None
            else:
                session = await self.session(request)
                state.principal = None if session is None else session.principal
        principal: Principal | None = state.principal
        return principal

    async def judged(self, request: HTTPConnection, then: Callable[[Principal], T]) -> T:
        """What `then` makes of whoever asks; raises `NotSignedIn` for nobody.

        A program's token is looked up and judged in one thread, since each change to another costs as much as either.
        """
        secret = None if hasattr(request.state, "principal") else bearer(request)
        if secret is None:
            return await run_in_threadpool(then, await self.identify(request))
        request.state.principal, made = await run_in_threadpool(self._judged, secret, then)
        return made

    def _judged(self, secret: str, then: Callable[[Principal], T]) -> tuple[Principal, T]:
        principal = self._holder(secret)
        if principal is None:
            raise NotSignedIn(_SIGN_IN)
        return principal, then(principal)

    async def identify(self, request: HTTPConnection, roles: Set[Role] = frozenset()) -> Principal:
        """Whoever asks, if they have one of `roles` (none named: anyone signed in).

        Raises `NotSignedIn` or `NotAllowed`.
        """
        principal = await self.who(request)
        if principal is None:
            raise NotSignedIn(_SIGN_IN)
        if roles and not principal.roles & roles:
            raise NotAllowed("Your account may not do this.")
        return principal

    async def session(self, request: HTTPConnection) -> Session | None:
        """The session of the request's cookie, if it has one that has not ended."""
        state = request.state
        if not hasattr(state, "session"):
            secret = request.cookies.get(self.cookie)
            state.session = await run_in_threadpool(self.provider.session, secret) if secret else None
        session: Session | None = state.session
        return session

    async def sign_in(self, request: HTTPConnection, name: str, password: str) -> Session:
        """A new session for the right name and password; `SignInFailed` or `TooMany` else."""
        address = request.client.host if request.client else "unknown"
        return await run_in_threadpool(self.provider.sign_in, name, password, address)

    async def sign_out(self, request: HTTPConnection) -> None:
        """End the session of the request's token or cookie."""
        secret = bearer(request) or request.cookies.get(self.cookie)
        if secret:
            await run_in_threadpool(self.provider.sign_out, secret)

    def remember(self, response: Response, session: Session) -> None:
        """Give the browser its cookie: this host only, out of scripts' reach, gone with the browser."""
        response.set_cookie(self.cookie, session.secret, path="/", secure=self.secure, httponly=True, samesite="lax")
        response.delete_cookie(self.form_cookie, path="/", secure=self.secure, httponly=True, samesite="lax")

    def forget(self, response: Response) -> None:
        """Take the cookie back."""
        response.delete_cookie(self.cookie, path="/", secure=self.secure, httponly=True, samesite="lax")

    def _holder(self, secret: str) -> Principal | None:
        principal = self.provider.token(secret)
        if principal is None:
            session = self.provider.session(secret)
            principal = None if session is None else session.principal
        return principal


def bearer(request: HTTPConnection) -> str | None:
    """The secret of `Authorization: Bearer …` (RFC 6750 section 2.1), if that is how the request identifies itself."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None
