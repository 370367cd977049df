"""Parts of a node beside its images: records, hubs, permits, jobs, clock, back-up, audit trail. See `overview`."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, text

from carina.model.clock import now, parse_stamp, stamp
from carina.node.growth import records_size
from carina.node.membership import list_hubs
from carina.node.part import Part
from carina.node.saying import named, say, say_count
from carina.node.site import Node
from carina.storage import trail as trails
from carina.storage.schema import node_jobs, node_tables, permit_states
from carina.storage.schema import permits as held

CONTACT = timedelta(minutes=5)  # without a word of a hub
LIST = timedelta(minutes=5)  # age of a hub's list of permits
LATELY = timedelta(days=1)  # that an analysis failed
BACKUP = timedelta(days=30)  # age of the last export
APART = 10.0  # s between two clocks
NEW_ROWS = 1000  # of a trail that is checked whenever it is looked at
_audit = node_tables.tables["audit"]


def records(node: Node) -> Part:
    """The database."""
    name, link = named("Records"), "/system#storage"
    megabytes = f"{records_size(node) / 1e6:.1f}"
    with node.engine.connect() as connection:
        if node.engine.dialect.name == "postgresql":
            version = connection.execute(text("SHOW server_version")).scalar_one()
            said = say("PostgreSQL {version}, {megabytes} MB.", version=version.split()[0], megabytes=megabytes)
        else:
            version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
            said = say("SQLite {version}, {megabytes} MB.", version=version, megabytes=megabytes)
    return Part(name, "good", said, "", link)


def hubs(node: Node, at: datetime, *, served: bool = True) -> Part:
    """The federations; `served`: whether a hub's silence says anything, as it does while the node runs."""
    name, link = named("Hubs"), "/hubs"
    found = list_hubs(node)
    if not found:
        return Part(name, "good", say("No hub is joined."), "", link)
    hint = say("The node connects again by itself. Ask the hub's operator if this lasts.")
    with node.engine.connect() as connection:
        lists = {row.hub: row.received_at for row in connection.execute(select(permit_states))}
    for hub in found if served else ():
        if hub.last_contact is None:
            return Part(name, "warn", say("{hub} has not been heard yet.", hub=hub.title), hint, link)
        silent = at - parse_stamp(hub.last_contact)
        if silent > CONTACT:
            minutes = int(silent.total_seconds() // 60)
            said = say("{hub} was last heard {minutes} minutes ago.", hub=hub.title, minutes=minutes)
            return Part(name, "warn", said, hint, link)
        if hub.id in lists and at - parse_stamp(lists[hub.id]) > LIST:
            minutes = int((at - parse_stamp(lists[hub.id])).total_seconds() // 60)
            said = say("The list of permits of {hub} is {minutes} minutes old.", hub=hub.title, minutes=minutes)
            return Part(name, "warn", said, say("Permits of this hub open nothing until a new list comes."), link)
    return Part(name, "good", say_count(len(found), "{count} hub is joined.", "{count} hubs are joined."), "", link)


def permits(node: Node, at: datetime) -> Part:
    """Those that wait for a data manager's signature."""
    name, link = named("Permits"), "/permits"
    joined = [hub.id for hub in list_hubs(node)]
    waits = (held.c.state == "waiting", held.c.expires_at > stamp(at), held.c.hub.in_(joined))
    count = 0
    if node.policy.countersign and joined:
        with node.engine.connect() as connection:
            count = int(connection.execute(select(func.count()).select_from(held).where(*waits)).scalar_one())
    if not count:
        return Part(name, "good", say("No permit waits for a signature."), "", link)
    return Part(name, "warn", say_count(count, *_TO_SIGN), say("Sign or decline them."), link)


_TO_SIGN = ("{count} permit waits for a signature.", "{count} permits wait for a signature.")


def jobs(node: Node, at: datetime) -> Part:
    """What runs, and what failed in the last day."""
    name, link = named("Analyses"), "/asked"
    states = select(node_jobs.c.state, func.count()).group_by(node_jobs.c.state)
    open_ones = states.where(node_jobs.c.state.in_(("taken", "running")))
    lost = states.where(node_jobs.c.state == "failed", node_jobs.c.finished_at >= stamp(at - LATELY))
    with node.engine.connect() as connection:
        counts = {state: int(number) for state, number in connection.execute(open_ones)}
        failed = sum(int(number) for _, number in connection.execute(lost))
    if failed:
        hint = say("Its page says why; what runs too long or needs too much memory is bounded by the settings.")
        return Part(name, "warn", say_count(failed, *_LOST), hint, link)
    running = sum(counts.values())
    if not running:
        return Part(name, "good", say("No analysis runs."), "", link)
    return Part(name, "good", say_count(running, "{count} analysis runs.", "{count} analyses run or wait."), "", link)


_LOST = ("{count} analysis failed in the last day.", "{count} analyses failed in the last day.")


def clock(node: Node) -> Part:
    """This machine's clock beside those of the hubs, by their newest lists of permits."""
    name, link = named("Clock"), "/hubs"
    titles = {hub.id: hub.title for hub in list_hubs(node)}
    with node.engine.connect() as connection:
        rows = connection.execute(select(permit_states).where(permit_states.c.hub.in_(titles))).all()
    apart = {row.hub: (parse_stamp(row.received_at) - parse_stamp(row.issued_at)).total_seconds() for row in rows}
    if not apart:
        return Part(name, "good", say("No hub's message has told its time yet."), "", link)
    hub, seconds = max(apart.items(), key=lambda one: abs(one[1]))
    if abs(seconds) > APART:
        hint = say("Let both follow a time server; messages that are far from the present are refused.")
        said = say("The clock is {seconds} s apart from that of {hub}.", seconds=round(abs(seconds)), hub=titles[hub])
        return Part(name, "warn", said, hint, link)
    return Part(name, "good", say("The clock is within {seconds} s of the hubs'.", seconds=round(APART)), "", link)


def backup(node: Node, images: int, at: datetime) -> Part:
    """When the node was last exported, by its audit trail."""
    name, link = named("Back-up"), "/audit?action=node-exported"
    hint = say("Make one: carina node export FOLDER FILE.")
    with node.engine.connect() as connection:
        made = select(func.max(_audit.c.at)).where(_audit.c.action == "node-exported")
        last = connection.execute(made).scalar()
        first = connection.execute(select(_audit.c.at).order_by(_audit.c.seq).limit(1)).scalar()
    if last is None:
        old = images and first is not None and at - parse_stamp(first) > BACKUP
        return Part(name, "warn" if old else "good", say("No export of the node is recorded."), hint, link)
    days = (at - parse_stamp(last)).days
    said = say_count(days, "The last export is {count} day old.", "The last export is {count} days old.")
    return Part(name, "warn" if at - parse_stamp(last) > BACKUP else "good", said, hint, link)


def trail(node: Node) -> Part:
    """The audit trail, by its last check that came to an end; one that is short is checked now."""
    name, link = named("Audit trail"), "/audit"
    known = trails.last_verdict(node.engine)
    if known is None or (known.state == "whole" and known.total < NEW_ROWS):
        known = trails.glance(node.engine, NEW_ROWS)
    if known.state == "broken":
        said = say("The audit trail is broken at row {number}: it was changed, removed or moved.", number=known.seq + 1)
        return Part(name, "bad", said, say("Compare with a back-up; see the page of the trail."), link)
    if known.state == "running":
        hint = say("Check it whole: carina node audit FOLDER.")
        said = say("Checked up to row {checked} of {count}.", count=known.total, checked=known.seq)
        return Part(name, "good", said, hint, link)
    minutes = int((now() - parse_stamp(known.at)).total_seconds() // 60)
    if not minutes:
        return Part(name, "good", say("Whole up to row {row}, just checked.", row=known.seq), "", link)
    said = say_count(minutes, *_CHECKED, row=known.seq)
    return Part(name, "good", said, "", link)


_CHECKED = (
    "Whole up to row {row}, checked {count} minute ago.",
    "Whole up to row {row}, checked {count} minutes ago.",
)
