"""Build a hub and run it: its web site, and the broker as its child."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from starlette.applications import Starlette

from carina.app.node import end, wait_for_end
from carina.app.processes import only_one, start_logs, stop_event
from carina.federation.brokerkeys import broker_name, broker_seed
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey
from carina.hub.centre import Hub
from carina.hub.nodes import require_reachable
from carina.interfaces import listener
from carina.interfaces.api.hub import api_routes
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import Rules, middleware, networks
from carina.interfaces.nats.broker import Broker, prepare
from carina.interfaces.nats.hub_exchange import run_exchange, search
from carina.interfaces.nats.transport import NatsTransport
from carina.interfaces.web.hub import hub_frame, hub_pages
from carina.model.cohort import Query
from carina.model.ids import HubId
from carina.model.keys import derive
from carina.model.search import NodeAnswer
from carina.settings import HubSettings, load_hub, read_keys
from carina.storage.audit import AuditTrail
from carina.storage.database import check_keys, open_engine, upgrade

log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_hub(folder: Path, settings: HubSettings | None = None) -> Iterator[Hub]:
    """The hub in `folder`, its records up to date. Raises `BadSettings` or `WrongKey`; nothing falls back."""
    settings = settings or load_hub(folder)
    ring = read_keys(settings.keys, folder)
    site = prepare(folder / "broker", host=settings.broker.host, port=settings.broker.port, names=settings.broker_names)
    seed = broker_seed(derive(ring.signing, "nkey", settings.id))
    engine = open_engine(settings.records or f"sqlite:///{folder.resolve() / 'records.sqlite'}")
    try:
        upgrade(engine, "hub")
        check_keys(engine, ring)
        yield Hub(
            id=HubId(settings.id),
            title=settings.title,
            url=settings.public_url,
            threshold=settings.smallest_count,
            answer_within=settings.answer_within,
            folder=folder,
            signing=SigningKey.from_seed(ring.signing),
            permit_key=PermitKey.from_master(ring.permits),
            engine=engine,
            audit=AuditTrail(engine),
            transport=NatsTransport(address=site.local, ca=site.ca, seed=seed, hub=settings.id, me=settings.id),
            broker=f"{settings.broker_names[0]}:{site.port}" if settings.broker_names else site.local,
            broker_ca=site.ca,
            nkey=broker_name(seed),
        )
    finally:
        engine.dispose()


def serve(folder: Path) -> None:
    """Run the hub until SIGINT, SIGTERM, or the end of the process that started this one and asked for that."""
    start_logs()
    settings = load_hub(folder)
    with only_one(folder), open_hub(folder, settings) as hub:
        require_reachable(hub)
        bound = listener.bind(settings.listen.host, settings.listen.port, "web site")
        site = prepare(
            folder / "broker", host=settings.broker.host, port=settings.broker.port, names=settings.broker_names
        )
        broker = Broker(site, hub.id, hub.nkey)
        listener.run(_serve(hub, settings, broker, bound))


async def _serve(hub: Hub, settings: HubSettings, broker: Broker, bound: socket.socket) -> None:
    stop = stop_event()
    server = listener.server(application(hub, settings))
    tasks = [asyncio.create_task(server.serve([bound])), asyncio.create_task(run_exchange(hub, broker))]
    log.info("hub-started", extra={"hub": hub.id})
    try:
        await wait_for_end(stop, tasks)
    finally:
        await end([server], tasks)
        log.info("hub-ended", extra={"hub": hub.id})


def application(hub: Hub, settings: HubSettings) -> Starlette:
    """The hub's web site and JSON interface."""
    rules = Rules(hub.url, trusted_proxies=networks(settings.trusted_proxies))
    identity = Identity(LocalAccounts(hub.engine, hub.id), hub.id, rules.secure)
    error_page = hub_frame(hub, identity).error

    def ask(query: Query) -> AsyncIterator[NodeAnswer]:
        return search(hub, query, hub.answer_within)

    limit = RateLimit(times=settings.searches_a_minute, seconds=60)
    return Starlette(
        routes=[*api_routes(hub, identity, ask, limit), *hub_pages(hub, identity, ask, limit)],
        middleware=middleware(rules, identity, error_page),
        exception_handlers=exception_handlers(error_page),
    )
