"""A hub with real records, three made-up answers to every search, and its application."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette

from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey, party_id
from carina.federation.transport import MemoryExchange
from carina.hub.centre import Hub
from carina.interfaces.api.hub import api_routes
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import Rules, middleware
from carina.model.cohort import Query
from carina.model.ids import HubId, NodeId
from carina.model.search import Counts, NodeAnswer
from carina.storage.accounts import add_account
from carina.storage.audit import AuditTrail
from carina.storage.database import open_engine, upgrade

PASSWORD = "correct horse battery"
URL = "http://hub.localhost:8700"


@pytest.fixture(scope="session")
def hub_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of a hub with one researcher and one operator, to be copied."""
    path = tmp_path_factory.mktemp("hub") / "records.sqlite"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine, "hub")
    add_account(engine, "rosa", PASSWORD, {"researcher"}, "Rosa Ruiz")
    add_account(engine, "olaf", PASSWORD, {"operator"})
    engine.dispose()
    return path


@pytest.fixture
def hub(hub_records: Path, tmp_path: Path) -> Iterator[Hub]:
    shutil.copy(hub_records, tmp_path / "records.sqlite")
    engine = open_engine(f"sqlite:///{tmp_path / 'records.sqlite'}")
    signing = SigningKey.from_seed(bytes(32))
    me = HubId(party_id(signing.public_jwk, "h"))
    yield Hub(
        id=me,
        title="Test hub",
        url=URL,
        threshold=10,
        answer_within=1.0,
        folder=tmp_path,
        signing=signing,
        permit_key=PermitKey.from_master(bytes(32)),
        engine=engine,
        audit=AuditTrail(engine),
        transport=MemoryExchange(me).transport(me),
        broker="127.0.0.1:8701",
        broker_ca="",
        nkey="",
    )
    engine.dispose()


class Answers:
    """What a search brings: the answers as given, or an error after them. Remembers the queries."""

    def __init__(self) -> None:
        self.given = [
            NodeAnswer(NodeId("n-a"), "Utrecht", "NL", "counted", Counts(1057, 1180, 10), seconds=0.01),
            NodeAnswer(NodeId("n-b"), "Navarra", "ES", "below-threshold", Counts(None, None, 10)),
            NodeAnswer(NodeId("n-c"), "Sydney", "AU", "silent"),
        ]
        self.error: Exception | None = None
        self.asked: list[Query] = []

    async def __call__(self, query: Query) -> AsyncIterator[NodeAnswer]:
        self.asked.append(query)
        for answer in self.given:
            await asyncio.sleep(0)
            yield answer
        if self.error is not None:
            raise self.error


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def identity(hub: Hub) -> Identity:
    return Identity(LocalAccounts(hub.engine, hub.id), hub.id, secure=False)


@pytest.fixture
def hub_app(hub: Hub, identity: Identity, answers: Answers) -> Callable[[str], Starlette]:
    """Makes the hub's API for a public address."""

    def make(url: str = URL) -> Starlette:
        return Starlette(
            routes=api_routes(hub, identity, answers, RateLimit(60, 60)),
            middleware=middleware(Rules(url), identity),
            exception_handlers=exception_handlers(),
        )

    return make
