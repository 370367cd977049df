"""What a node's records tell of faults: work that stands still, what waits in quarantine, and its hubs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from shlex import quote

from sqlalchemy import Engine, func, select

from carina.app.doctor_serving import is_served
from carina.app.surroundings import broker_answers, hub_answers
from carina.model.clock import now, parse_stamp
from carina.model.instance import Reason
from carina.node.membership import WITHDRAWN
from carina.node.part import Part
from carina.node.remedies import REMEDIES
from carina.settings import NodeSettings
from carina.storage.schema import arrivals, hubs, node_tables, quarantine

PATIENCE = timedelta(minutes=15)  # that an image waits for a worker, or a hub is silent


def records(engine: Engine, folder: Path, settings: NodeSettings) -> Iterator[Part]:
    """All of it; the records are of this version."""
    yield from _people(engine, folder)
    yield from _waiting(engine, folder, settings.archive.most_waiting)
    yield from _quarantine(engine, folder)
    yield from _hubs(engine, folder)


def _people(engine: Engine, folder: Path) -> Iterator[Part]:
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(node_tables.tables["accounts"])).scalar_one()
    if not count:
        hint = f"Run: carina node account add {quote(str(folder))} NAME"
        yield Part("accounts", "warn", "Nobody can sign in: there is no account.", hint)


def _waiting(engine: Engine, folder: Path, most: int) -> Iterator[Part]:
    """Whether workers keep up."""
    with engine.connect() as connection:
        wanted = select(func.count(), func.min(arrivals.c.received_at)).where(arrivals.c.state == "received")
        count, oldest = connection.execute(wanted).one()
    if not count:
        yield Part("workers", "good", "Nothing waits for the workers.")
        return
    waited = now() - parse_stamp(oldest)
    told = f"{count} images wait, the first for {waited.total_seconds() / 60:.0f} minutes"
    if count >= most:
        hint = "Senders are told to come again. Raise `workers`, or find in the log what stops them."
        yield Part("workers", "bad", f"As many images wait as may: {told}.", hint)
    elif waited < PATIENCE:
        yield Part("workers", "good", f"{told}.")
    elif is_served(folder):
        hint = "Look into the log for what stops them; a disk that is full does. Raise `workers` if they only lag."
        yield Part("workers", "bad", f"The workers do not keep up, or do not work: {told}.", hint)
    else:
        yield Part(
            "workers", "warn", f"{told}, for no server runs.", f"Start it: carina node serve {quote(str(folder))}"
        )


def _quarantine(engine: Engine, folder: Path) -> Iterator[Part]:
    with engine.connect() as connection:
        counts = select(quarantine.c.reason, func.count()).where(quarantine.c.state == "waiting")
        heaps = connection.execute(counts.group_by(quarantine.c.reason).order_by(func.count().desc())).all()
    for word, count in heaps:
        reason = Reason(word)
        hint = f"{REMEDIES[reason].advice} See: carina node quarantine list {quote(str(folder))} --reason {word}"
        yield Part("quarantine", "warn", f"{count} wait as {word}: {reason.sentence}", hint)
    if not heaps:
        yield Part("quarantine", "good", "Nothing waits in it.")


def _hubs(engine: Engine, folder: Path) -> Iterator[Part]:
    with engine.connect() as connection:
        known = connection.execute(select(hubs)).all()
    if not known:
        yield Part("hub", "good", "No hub is joined: the node is for this site only, until carina node join.")
    for hub in known:
        if hub.state != "joined":
            hint = f"Ask its operator for an invitation, then: carina node join {quote(str(folder))}"
            yield Part("hub", "warn", f"{hub.id}: {WITHDRAWN[hub.state]}", hint)
            continue
        yield from hub_answers(hub.url)
        yield broker_answers(hub.broker, hub.broker_ca)
        if is_served(folder) and (hub.last_contact is None or now() - parse_stamp(hub.last_contact) > PATIENCE):
            hint = "Look into the log for broker-unreachable; ask the hub's operator whether the node is still known."
            yield Part("hub", "warn", f"{hub.id} has not been heard since {hub.last_contact or 'it was joined'}.", hint)
