"""The researcher's client: `carina.connect(url)` → `Client`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import quote

from carina.errors import BadInput, InvalidQuery, NotSignedIn, SignInFailed, Unreachable
from carina.interfaces.api.documents import (
    answer_from_json,
    dataset_from_json,
    variable_from_json,
)
from carina.interfaces.client.access import Access
from carina.interfaces.client.connection import Connection, error_named, origin, read, stranger
from carina.interfaces.client.result import SearchResult, gathered
from carina.interfaces.client.tokens import saved_token
from carina.model.cohort import All, Between, OneOf, Query, from_pairs, to_pairs
from carina.model.dataset import DatasetDescription
from carina.model.search import NodeAnswer
from carina.model.variables import RANGES, Variable

SERVICE = "carina-hub"

Term: TypeAlias = "str | int | Iterable[str] | tuple[int | None, int | None]"


def connect(url: str, *, account: str | None = None, password: str | None = None, token: str | None = None) -> Client:
    """A client of the hub at `url`.

    With `account` and `password` it signs in. Without them it uses `token`, else the environment's CARINA_TOKEN, else
    the token that `carina login` kept; with none of these it sees what everyone may see.

    Raises `Unreachable` (nothing there, or no Carina hub), `SignInFailed`, `TooMany`, `NotAllowed` (secrets over plain
    HTTP), `BadInput` (no address).
    """
    hub = origin(url)
    if account is None:
        token = token or os.environ.get("CARINA_TOKEN") or saved_token(str(hub))
    elif token is not None:
        raise BadInput("Both an account and a token are given.", "Give one of them.")
    elif password is None:
        raise SignInFailed("The account is given without its password.")
    connection = Connection(hub)
    if token is not None or account is not None:
        connection.require_private()
    client = Client(connection)
    try:
        client.info()  # what is no hub sees no secret
        if account is not None and password is not None:
            client.sign_in(account, password)
        else:
            connection.token = token
    except BaseException:
        client.close()
        raise
    return client


class Client(Access):
    """One hub: its catalogue and search, and a person's requests, permits and runs (`Access`).

    Use it in a `with` block, or call `close`.
    """

    @property
    def url(self) -> str:
        """The hub's address."""
        return str(self._connection.address)

    @property
    def token(self) -> str | None:
        """What the client shows the hub; a secret."""
        return self._connection.token

    def info(self) -> dict[str, Any]:
        """The hub's description of itself (GA4GH service-info). Raises `Unreachable` when it is no Carina hub."""
        value = self._connection.get("/api")
        if read(lambda: value["type"]["artifact"]) != SERVICE:
            raise stranger()
        return dict(value)

    def sign_in(self, account: str, password: str) -> None:
        """Begin a session. Raises `SignInFailed`, or `TooMany` after several failures."""
        self._connection.token = None
        value = self._connection.post("/api/session", {"name": account, "password": password})
        self._connection.token = read(lambda: str(value["token"]))

    def sign_out(self) -> None:
        """End the session; the token is worth nothing afterwards. One that has ended already is no error."""
        with suppress(NotSignedIn):
            self._connection.delete("/api/session")
        self._connection.token = None

    def datasets(self) -> list[DatasetDescription]:
        """All published datasets."""
        value = self._connection.get("/api/datasets")
        return read(lambda: [dataset_from_json(item) for item in value["datasets"]])

    def dataset(self, iri: str) -> DatasetDescription:
        """One published dataset, or `NotFound`."""
        value = self._connection.get(f"/api/datasets/{quote(iri, safe=':')}")
        return read(lambda: dataset_from_json(value))

    def variables(self) -> list[Variable]:
        """What a search may ask for, with its values."""
        value = self._connection.get("/api/variables")
        return read(lambda: [variable_from_json(item) for item in value["variables"]])

    def search(self, query: Query | None = None, **terms: Term) -> SearchResult:
        """Counts per node: `search(modality="CT", age=(40, 60))`. Waits for all nodes, as long as the hub does.

        A term is a value, several values of which one must hold, or (low, high) with None for an open side.
        Raises `InvalidQuery` that names unknown terms, `NotSignedIn`.
        """
        asked = cohort(query, terms)
        return gathered(asked, self.search_iter(asked))

    def search_iter(self, query: Query | None = None, **terms: Term) -> Iterator[NodeAnswer]:
        """Each node's answer as it comes; else as `search`."""
        for name, value in self._connection.events("/api/search", to_pairs(cohort(query, terms))):
            if name == "answer":
                yield read(partial(answer_from_json, value))
            elif name == "problem":
                raise error_named(value)
            elif name == "total":
                return
        raise Unreachable("The hub broke the search off.", "Try again.")

    def close(self) -> None:
        """Close the connections. The session stays, until it ends by itself or by `sign_out`."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<carina.Client of {self.url}>"


def cohort(query: Query | None, terms: dict[str, Term]) -> Query:
    """The query that `search`'s arguments mean. Raises `InvalidQuery` when they mean none, or two."""
    if query is not None and terms:
        raise InvalidQuery("Both a query and terms are given.", "Give one of them.")
    if query is not None:
        return query
    return All(tuple(_term(name, value) for name, value in terms.items()))


def _term(name: str, value: Term) -> OneOf | Between:
    if isinstance(value, int) and not isinstance(value, bool):
        return Between(name, value, value)
    if isinstance(value, str):
        parsed = from_pairs([(name, value)], RANGES)
        if isinstance(parsed, All) and len(parsed.parts) == 1 and isinstance(parsed.parts[0], OneOf | Between):
            return parsed.parts[0]
        raise InvalidQuery(f"'{name}' has no value.")
    values = tuple(value) if isinstance(value, Iterable) else ()
    if name in RANGES and len(values) == 2 and all(side is None or isinstance(side, int) for side in values):
        low, high = values
        return Between(name, low, high)  # type: ignore[arg-type]
    if name not in RANGES and values and all(isinstance(item, str) and item for item in values):
        return OneOf(name, tuple(str(item) for item in values))
    raise InvalidQuery(
        f"'{name}' has a value that cannot be searched for.",
        "Give a text, several texts, a whole number, or (low, high).",
    )
