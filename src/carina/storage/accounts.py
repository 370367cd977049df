"""Local accounts, their sessions, and tokens for programs and senders. Secrets are kept as digests only."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    bindparam,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from carina.errors import BadInput, Conflict, NotFound, SignInFailed, TooMany
from carina.model.clock import now, stamp
from carina.model.permit import Action
from carina.model.principal import EVERYTHING, Principal, Role, Service
from carina.storage.prepared import Prepared
from carina.storage.schema import node_tables

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 1000
SESSION = timedelta(hours=12)
WINDOW = timedelta(minutes=15)  # in which failures count
FAILURES_PER_NAME = 5
FAILURES_PER_ADDRESS = 20
TOKEN_PREFIX = "carina_"  # noqa: S105 - what every token begins with, so that scanners recognise one
HOLDER = "token:"
"""What the subject of every token's principal begins with."""
SERVICE_ACTIONS: tuple[Action, ...] = ("view", "retrieve")
"""What a service's token may be for."""
MOST_DATASETS = 100  # that one token is bound to

_NAME = re.compile(r"[a-z0-9._-]{2,64}")
_ROLES: frozenset[str] = frozenset(get_args(Role))
_hasher = PasswordHasher()  # argon2id, the library's parameters; `check_needs_rehash` follows them
_accounts = node_tables.tables["accounts"]
_sessions = node_tables.tables["sessions"]
_tokens = node_tables.tables["tokens"]
_attempts = node_tables.tables["attempts"]


@dataclass(frozen=True)
class Account:
    """A person who may sign in."""

    name: str
    display_name: str
    roles: frozenset[Role]
    created_at: str
    disabled: bool


@dataclass(frozen=True)
class Token:
    """A program's or sender's secret, which itself is not kept.

    account   whose it is; None for a sender's or service's
    service   what one with the role `service` may do, and with which datasets; None for all others
    """

    name: str
    account: str | None
    roles: frozenset[Role]
    created_at: str
    expires_at: str | None
    revoked: bool
    service: Service | None = None

    @property
    def state(self) -> Literal["good", "expired", "revoked"]:
        """Whether it still opens anything."""
        if self.revoked:
            return "revoked"
        return "good" if self.expires_at is None or self.expires_at > stamp() else "expired"


# --- accounts -----------------------------------------------------------------------------------------------------


def add_account(engine: Engine, name: str, password: str, roles: Collection[str], display_name: str = "") -> None:
    """Make an account. Raises `BadInput` for a name, password or role that will not do, `Conflict` for a taken name."""
    row = {
        "name": account_name(name),
        "display_name": display_name[:200],
        "password_hash": _hasher.hash(_acceptable(password)),
        "roles": _roles_of_people(roles),
        "created_at": stamp(),
        "disabled": False,
    }
    with engine.begin() as connection:
        _insert_new(connection, insert(_accounts), row, "There is an account of this name already.")


def set_password(engine: Engine, name: str, password: str) -> None:
    """Give the account another password and end its sessions. Raises `BadInput` or `NotFound`."""
    hashed = _hasher.hash(_acceptable(password))
    _change_account(engine, name, password_hash=hashed)


def set_disabled(engine: Engine, name: str, disabled: bool) -> None:
    """Shut the account out, its sessions and tokens too, or let it in again. Raises `NotFound`."""
    _change_account(engine, name, disabled=disabled)


def list_accounts(engine: Engine) -> list[Account]:
    """All accounts, by name."""
    with engine.connect() as connection:
        rows = connection.execute(select(_accounts).order_by(_accounts.c.name))
        return [Account(row.name, row.display_name, frozenset(row.roles), row.created_at, row.disabled) for row in rows]


def check_password(engine: Engine, name: str, password: str, bucket: str, *, issuer: str = "") -> Principal:
    """The person of this name and password.

    bucket      the address that asks; 20 failures in 15 minutes shut it out, 5 shut out the name
    issuer      the id of the hub or node that vouches

    Raises `SignInFailed`, the same and after the same work whether name or password is wrong, or `TooMany`.
    """
    buckets = (_bucket("name", name), _bucket("address", bucket))
    with engine.begin() as connection:
        _count_attempt(connection, *buckets)
        row = connection.execute(select(_accounts).where(_accounts.c.name == name)).one_or_none()
    right = _verify(row.password_hash if row else _dummy(), password)
    if row is None or not right or row.disabled:
        raise SignInFailed("Name or password is wrong.")
    with engine.begin() as connection:
        connection.execute(delete(_attempts).where(_attempts.c.bucket == buckets[0]))
        newest = select(func.max(_attempts.c.id)).where(_attempts.c.bucket == buckets[1]).scalar_subquery()
        connection.execute(delete(_attempts).where(_attempts.c.id == newest))  # this one was no failure
        if _hasher.check_needs_rehash(row.password_hash):
            again = update(_accounts).where(_accounts.c.name == name, _accounts.c.password_hash == row.password_hash)
            connection.execute(again.values(password_hash=_hasher.hash(_normal(password))))
    return Principal(row.name, issuer, frozenset(row.roles), row.display_name)


def _change_account(engine: Engine, name: str, **values: Any) -> None:
    with engine.begin() as connection:
        if connection.execute(update(_accounts).where(_accounts.c.name == name).values(**values)).rowcount == 0:
            raise NotFound("There is no account of this name.")
        connection.execute(delete(_sessions).where(_sessions.c.account == name))


def _count_attempt(connection: Connection, of_name: str, of_address: str) -> None:
    """Note an attempt before its password is checked, so that many at once cannot pass together."""
    connection.execute(delete(_attempts).where(_attempts.c.at < stamp(now() - WINDOW)))
    for bucket, most in ((of_name, FAILURES_PER_NAME), (of_address, FAILURES_PER_ADDRESS)):
        number = select(func.count()).select_from(_attempts).where(_attempts.c.bucket == bucket)
        if connection.execute(number).scalar_one() >= most:
            raise TooMany("There were too many failed sign-ins.", "Wait fifteen minutes and try again.")
    at = stamp()
    connection.execute(insert(_attempts), [{"bucket": bucket, "at": at} for bucket in (of_name, of_address)])


def _bucket(kind: str, text: str) -> str:
    """A digest: what people type into the field of a name may be a password."""
    return f"{kind}:{_digest(text)}"


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, _normal(password)[:LONGEST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return False


@cache
def _dummy() -> str:
    """What the password of an unknown name is compared with, for the same time."""
    return _hasher.hash(secrets.token_urlsafe(16))


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password.encode(errors="replace").decode())


def _acceptable(password: str) -> str:
    normal = _normal(password)
    if not SHORTEST_PASSWORD <= len(normal) <= LONGEST_PASSWORD:
        raise BadInput(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.",
            "Choose a longer one; four or more random words do well.",
        )
    return normal


# --- sessions -----------------------------------------------------------------------------------------------------


def open_session(engine: Engine, account: str) -> tuple[str, str]:
    """A new session of 12 hours: the cookie's secret, and the word that its forms must carry (CSRF)."""
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    row = {"digest": _digest(secret), "account": account, "csrf": csrf, "expires_at": stamp(now() + SESSION)}
    with engine.begin() as connection:
        connection.execute(delete(_sessions).where(_sessions.c.expires_at < stamp()))
        connection.execute(insert(_sessions), row)
    return secret, csrf


def session(engine: Engine, secret: str, *, issuer: str = "") -> tuple[Principal, str] | None:
    """Whose session this is and its CSRF word; None when it is unknown, over, or the account's way is shut."""
    mine = and_(_sessions.c.digest == _digest(secret), _sessions.c.expires_at > stamp())
    joined = select(_accounts, _sessions.c.csrf).join(_sessions, _sessions.c.account == _accounts.c.name)
    with engine.connect() as connection:
        row = connection.execute(joined.where(mine, _accounts.c.disabled.is_(False))).one_or_none()
    if row is None:
        return None
    return Principal(row.name, issuer, frozenset(row.roles), row.display_name), row.csrf


def close_session(engine: Engine, secret: str) -> None:
    """End the session; nothing happens when there is none."""
    with engine.begin() as connection:
        connection.execute(delete(_sessions).where(_sessions.c.digest == _digest(secret)))


# --- tokens -------------------------------------------------------------------------------------------------------


def add_token(
    engine: Engine,
    name: str,
    roles: Collection[str],
    account: str | None = None,
    days: int | None = None,
    *,
    service: Service | None = None,
) -> str:
    """A new token's secret, which is shown once and not kept.

    account     whose it is: it may do no more than the account, and nothing when that is shut out
    days        until it ends; None: until it is revoked
    service     of the role `service`, which stands alone: what it may do, and with which datasets

    Raises `BadInput`, `NotFound` for the account, `Conflict` when the name is or was in use.
    """
    if days is not None and not 1 <= days <= 3650:
        raise BadInput("A token lasts 1 to 3650 days.")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = {
        "digest": _digest(secret),
        "name": account_name(name),
        "account": account,
        "roles": _known_roles(roles),
        "created_at": stamp(),
        "expires_at": None if days is None else stamp(now() + timedelta(days=days)),
        "revoked": False,
        **_binding(roles, service),
    }
    with engine.begin() as connection:
        if account is not None and not connection.execute(select(_accounts).where(_accounts.c.name == account)).first():
            raise NotFound("There is no account of this name.")
        _insert_new(connection, insert(_tokens), row, "There is, or was, a token of this name.")
    return secret


def _binding(roles: Collection[str], service: Service | None) -> dict[str, list[str] | None]:
    """The columns that say what a service may do; `BadInput` where there is nothing, or nobody to do it."""
    if ("service" in roles) != (service is not None) or (service is not None and set(roles) != {"service"}):
        raise BadInput("Only a token of the role service, and of no other, is bound to actions and datasets.")
    if service is None:
        return {"actions": None, "datasets": None}
    if not service.actions or not service.actions <= set(SERVICE_ACTIONS):
        raise BadInput("A service's token is for nothing.", f"Choose among {', '.join(SERVICE_ACTIONS)}.")
    if not 1 <= len(service.datasets) <= MOST_DATASETS or (
        EVERYTHING in service.datasets and len(service.datasets) > 1
    ):
        raise BadInput(
            "A service's token is bound to no dataset, or to too many.",
            f"Name 1 to {MOST_DATASETS} datasets, or {EVERYTHING} alone for the whole archive.",
        )
    return {"actions": sorted(service.actions), "datasets": sorted(service.datasets)}


def _service(row: Any) -> Service | None:
    """What a row of `tokens` says of a service; one of that role without rights has none."""
    if "service" not in row.roles:
        return None
    return Service(frozenset(row.actions or ()), frozenset(row.datasets or ()))


def token(engine: Engine, secret: str, *, issuer: str = "") -> Principal | None:
    """Who holds this secret, as `token:NAME`; None when it is unknown, over, revoked, or its account is shut out."""
    if not secret.startswith(TOKEN_PREFIX):
        return None
    found = _HELD.ask(engine, {"is_digest": _digest(secret), "at": stamp()})
    row = _Held(*found[0]) if found else None
    if row is None or (row.account is not None and row.disabled is not False):
        return None
    roles = frozenset(row.roles) if row.account is None else frozenset(row.roles) & frozenset(row.owner_roles or ())
    return Principal(f"{HOLDER}{row.name}", issuer, roles, row.name, service=_service(row))


def has_ended(engine: Engine, subject: str) -> bool:
    """Whether the token of the principal `token:NAME` was revoked, is over, or has lost its account since."""
    return bool(_ENDED.ask(engine, {"is_name": subject.removeprefix(HOLDER), "at": stamp()}))


def revoke_token(engine: Engine, name: str) -> None:
    """End the token. Raises `NotFound`."""
    with engine.begin() as connection:
        if connection.execute(update(_tokens).where(_tokens.c.name == name).values(revoked=True)).rowcount == 0:
            raise NotFound("There is no token of this name.")


def list_tokens(engine: Engine) -> list[Token]:
    """All tokens, by name."""
    with engine.connect() as connection:
        rows = connection.execute(select(_tokens).order_by(_tokens.c.name))
        return [
            Token(
                row.name, row.account, frozenset(row.roles), row.created_at, row.expires_at, row.revoked, _service(row)
            )
            for row in rows
        ]


_LASTS: ColumnElement[bool] = and_(
    _tokens.c.revoked.is_(False), or_(_tokens.c.expires_at.is_(None), _tokens.c.expires_at > bindparam("at"))
)
_WITH_OWNER = _tokens.join(_accounts, _tokens.c.account == _accounts.c.name, isouter=True)


class _Held(NamedTuple):
    """What `_HELD` finds."""

    name: str
    account: str | None
    roles: list[Role]
    actions: list[str] | None
    datasets: list[str] | None
    owner_roles: list[Role] | None
    disabled: bool | None


_HELD = Prepared(
    select(
        _tokens.c.name,
        _tokens.c.account,
        _tokens.c.roles,
        _tokens.c.actions,
        _tokens.c.datasets,
        _accounts.c.roles.label("owner_roles"),
        _accounts.c.disabled,
    )
    .select_from(_WITH_OWNER)
    .where(_tokens.c.digest == bindparam("is_digest"), _LASTS)
)
_ENDED = Prepared(
    select(_tokens.c.name)
    .select_from(_WITH_OWNER)
    .where(_tokens.c.name == bindparam("is_name"), or_(not_(_LASTS), _accounts.c.disabled.is_(True)))
)


def account_name(name: str) -> str:
    """The name, if it is one that an account may have. Raises `BadInput`."""
    if not _NAME.fullmatch(name):
        raise BadInput("This name will not do.", "Use 2 to 64 small letters, digits, dots, hyphens and underscores.")
    return name


def _known_roles(roles: Collection[str]) -> list[str]:
    if not roles or not _ROLES.issuperset(roles):
        raise BadInput("A role is missing or unknown.", f"The roles are {', '.join(sorted(_ROLES))}.")
    return sorted(set(roles))


def _roles_of_people(roles: Collection[str]) -> list[str]:
    if "service" in roles:
        raise BadInput("No person is a service.", "Make a token of that role.")
    return _known_roles(roles)


def _insert_new(connection: Connection, statement: Any, row: dict[str, Any], taken: str) -> None:
    try:
        connection.execute(statement, row)
    except IntegrityError:
        raise Conflict(taken) from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
