"""Who asks, from cookies and tokens."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from carina.errors import NotAllowed, NotSignedIn
from carina.interfaces.api.identity import STAFF, Identity, MemoryAccounts, bearer
from carina.model.principal import Principal

SERVICE = "n-" + "c" * 26
ROSA = Principal("rosa", SERVICE, frozenset({"data-manager"}))
SCANNER = Principal("token:scanner", SERVICE, frozenset({"sender"}))


@pytest.fixture
def identity() -> Identity:
    return Identity(MemoryAccounts({"rosa": ("right", ROSA)}, {"scanner-secret": SCANNER}), SERVICE, secure=False)


def request(**headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "client": ("127.0.0.1", 1)})


def test_one_of_the_roles_is_enough_and_another_is_not_allowed(identity: Identity) -> None:
    token = request(authorization="Bearer scanner-secret")
    assert asyncio.run(identity.identify(token)) == SCANNER
    assert asyncio.run(identity.identify(token, {"sender", "operator"})) == SCANNER
    with pytest.raises(NotAllowed) as refused:
        asyncio.run(identity.identify(token, STAFF))
    assert not isinstance(refused.value, NotSignedIn)


def test_nobody_is_asked_to_sign_in(identity: Identity) -> None:
    with pytest.raises(NotSignedIn):
        asyncio.run(identity.identify(request()))
    with pytest.raises(NotSignedIn):
        asyncio.run(identity.identify(request(cookie=f"{identity.cookie}=guess"), STAFF))


def test_a_sessions_secret_works_as_a_cookie_and_as_a_token(identity: Identity) -> None:
    secret = identity.provider.sign_in("rosa", "right", "127.0.0.1").secret
    assert asyncio.run(identity.who(request(cookie=f"{identity.cookie}={secret}"))) == ROSA
    assert asyncio.run(identity.who(request(authorization=f"Bearer {secret}"))) == ROSA


def test_the_cookie_of_another_service_on_this_host_is_none_of_ours(identity: Identity) -> None:
    secret = identity.provider.sign_in("rosa", "right", "127.0.0.1").secret
    other = Identity(identity.provider, "n-" + "d" * 26, secure=False)
    assert asyncio.run(other.who(request(cookie=f"{identity.cookie}={secret}"))) is None


def test_a_long_lived_token_is_no_cookie(identity: Identity) -> None:
    assert asyncio.run(identity.who(request(cookie=f"{identity.cookie}=scanner-secret"))) is None


@pytest.mark.parametrize(
    ("header", "secret"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Bearer", None), ("Bearer ", None), ("Basic abc", None)],
)
def test_only_a_bearer_header_has_a_secret(header: str, secret: str | None) -> None:
    assert bearer(request(authorization=header)) == secret
