"""What ails a node: its settings, keys, folder, records and surroundings, looked at one by one.

It works where the node itself cannot be opened, changes nothing, and says of each fault what it means and what to do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from sqlalchemy import Engine, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from carina.app import surroundings
from carina.app.around import around
from carina.app.doctor_records import records
from carina.app.doctor_serving import addresses, certificates, is_served, listeners
from carina.app.site import journal_of, open_node
from carina.deid.pixels.finder import finder_version
from carina.deid.profile import load_profile
from carina.errors import BadSettings, CarinaError, FinderUnavailable
from carina.interfaces.web.assets import wrong_assets
from carina.model.keys import KeyRing, check_value, key_names
from carina.node.overview import overview
from carina.node.part import Part
from carina.node.pixels import CLEAN_PIXELS
from carina.settings import NodeSettings, load_node, read_keys
from carina.storage.database import open_engine, revisions
from carina.storage.schema import node_tables

VIEWER = "carina_viewer"
_OPENED = ("settings", "keys", "records")  # what must be well before the node itself can be opened
_LOOKED_AT = ("Workers", "Quarantine", "Disk", "Records", "Hubs")  # parts of the overview that are told here anyway
_KEPT = ("spool", "quarantine", "store")  # folders of the node's folder
_key_checks = node_tables.tables["key_checks"]


@dataclass(frozen=True)
class _Patient:
    """A node's folder and settings."""

    folder: Path
    settings: NodeSettings


def examine(folder: Path) -> list[Part]:
    """All that was looked at, in the order in which it is best mended."""
    try:
        settings = load_node(folder)
    except BadSettings as error:
        found = [Part("settings", "bad", error.message, error.hint)]
        return [*found, *surroundings.disk(folder), surroundings.clock()]
    node = _Patient(folder, settings)
    looks: tuple[tuple[str, Callable[[], Iterator[Part]]], ...] = (
        ("settings", partial(_settings, node)),
        ("folder", partial(_folder, node)),
        ("disk", partial(_disk, node)),
        ("keys and records", partial(_keys_and_records, node)),
        ("listeners", partial(listeners, folder, settings)),
        ("addresses", partial(addresses, settings)),
        ("certificate", partial(certificates, folder, settings)),
        ("sources", partial(_sources, node)),
        ("installation", partial(_installed, node)),
        ("system", _system),
    )
    found = [part for name, look in looks for part in _whole(name, look)]
    if any(part.state == "bad" for part in found if part.name in _OPENED):
        return found
    return [*found, *_whole("overview", partial(_overview, node))]


def _overview(node: _Patient) -> Iterator[Part]:
    """While a server runs: what the console's overview has beside what was looked at here."""
    if not is_served(node.folder):
        return
    nearby = replace(around(node.folder, node.settings), certificates=())  # those were looked at
    with open_node(node.folder, node.settings) as opened:
        seen = overview(opened, nearby)
    others = [part for part in seen.parts if part.name not in _LOOKED_AT]
    yield from (part for part in seen.wanting if part in others)
    if all(part.state == "good" for part in others):
        yield Part("overview", "good", "The console's overview has nothing else that wants anybody.")


def _whole(name: str, look: Callable[[], Iterator[Part]]) -> list[Part]:
    """What a look found; one that fails is a finding too, and keeps none of the others from being done."""
    found: list[Part] = []
    try:
        found.extend(look())
    except CarinaError as error:
        found.append(Part(name, "bad", error.message, error.hint))
    except OSError as error:
        found.append(Part(name, "bad", f"It could not be looked at: {error.strerror}.", "Check the rights there."))
    return found


def _settings(node: _Patient) -> Iterator[Part]:
    projects = [item.id for item in node.settings.projects]
    wrong = False
    for project in node.settings.projects:
        try:
            load_profile(project.profile)
        except CarinaError as error:
            wrong = True
            yield Part("settings", "bad", f"The profile of project '{project.id}': {error.message}", error.hint)
    for source in node.settings.sources:
        if source.project not in projects:
            wrong = True
            hint = "Name a project of node.toml, or add it under [[projects]]."
            yield Part("settings", "bad", f"A source names the project '{source.project}', which is not there.", hint)
    if not projects:
        wrong = True
        yield Part("settings", "warn", "There is no project.", "Add one to node.toml under [[projects]].")
    if not wrong:
        yield Part("settings", "good", "node.toml is valid.")


def _folder(node: _Patient) -> Iterator[Part]:
    """Owner and rights of the folder and of what lies in it."""
    places = [node.folder, *(node.folder / name for name in (*_KEPT, "records.sqlite", "node.toml"))]
    there = [place for place in places if place.exists()]
    me, wrong = os.geteuid(), False
    for place in there:
        owner = place.stat().st_uid
        if me not in (owner, 0):
            wrong = True
            hint = f"Run this as the user of the service, or: sudo chown -R {me} {quote(str(place))}"
            yield Part("folder", "bad", f"{place.name} belongs to another user (id {owner}).", hint)
        elif owner != node.folder.stat().st_uid:
            wrong = True
            hint = f"Give all of it to one user: chown -R --reference={quote(str(node.folder))} {quote(str(place))}"
            yield Part("folder", "bad", f"{place.name} belongs to another user than its folder.", hint)
        elif not os.access(place, os.R_OK | os.W_OK | (os.X_OK if place.is_dir() else 0)):
            wrong = True
            yield Part("folder", "bad", f"{place.name} may not be written.", f"Run: chmod u+rwX {quote(str(place))}")
    if node.folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        wrong = True
        hint = f"Run: chmod 700 {quote(str(node.folder))}"
        yield Part("folder", "warn", "Other users of this machine may look into the folder.", hint)
    if not wrong:
        yield Part("folder", "good", "It belongs to this user, and to no other.")


def _disk(node: _Patient) -> Iterator[Part]:
    yield from surroundings.disk(node.folder)
    devices = {(node.folder / name).stat().st_dev for name in _KEPT if (node.folder / name).exists()}
    if len(devices | {node.folder.stat().st_dev}) > 1:
        hint = "Put spool, store and quarantine on one file system: files are moved between them in one step."
        yield Part("disk", "bad", "The node's folders are on several disks.", hint)


def _keys_and_records(node: _Patient) -> Iterator[Part]:
    try:
        ring: KeyRing | None = read_keys(node.settings.keys, node.folder)
    except BadSettings as error:
        ring = None
        yield Part("keys", "bad", error.message, error.hint)
    try:
        engine = _opened(node)
    except _Unopened as error:
        yield error.part
        return
    try:
        yield from _looked_into(node, engine, ring)
    except SQLAlchemyError as error:
        hint = "Check that the database runs, its address in `records`, and its password (PGPASSWORD or ~/.pgpass)."
        yield Part("records", "bad", f"The records cannot be reached ({type(error).__name__}).", hint)
    finally:
        engine.dispose()


class _Unopened(Exception):
    """Why the records could not be opened, as a part."""

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.part = Part("records", "bad", sentence, hint)


def _opened(node: _Patient) -> Engine:
    """The engine of the records, where there are some; nothing is made."""
    address = node.settings.records
    if not address or make_url(address).get_backend_name() == "sqlite":
        file = Path(make_url(address).database or "") if address else node.folder.resolve() / "records.sqlite"
        if not file.is_file():
            raise _Unopened(
                "There are no records: records.sqlite is missing.",
                "Restore a back-up (carina node import); a new node is made in another folder.",
            )
    elif find_spec("psycopg") is None:
        raise _Unopened("The driver for PostgreSQL is not installed.", "Run: pip install 'carina[postgresql]'")
    return open_engine(address or f"sqlite:///{node.folder.resolve() / 'records.sqlite'}")


def _looked_into(node: _Patient, engine: Engine, ring: KeyRing | None) -> Iterator[Part]:
    with engine.connect() as connection:
        have, newest = revisions(connection, "node")
    if have not in newest:
        hint = "Use the version of Carina that made them, or a newer one."
        yield Part("records", "bad", "The records are of another version of Carina, or no node's.", hint)
        return
    if have != newest[0]:
        hint = "Make a back-up; the next start brings them up to date: carina node serve."
        yield Part("records", "warn", "The records are of an older version of Carina.", hint)
        return
    yield Part("records", "good", "They can be read, and are of this version.")
    if ring is not None:
        yield _fitting(engine, ring)
    yield from records(engine, node.folder, node.settings)


def _fitting(engine: Engine, ring: KeyRing) -> Part:
    """Whether the keys are those of the records."""
    with engine.connect() as connection:
        known = {row.name: row.check for row in connection.execute(select(_key_checks))}
    others = [name for name in key_names() if known.get(name) not in (None, check_value(getattr(ring, name)))]
    if others:
        hint = "Put the back-up of this node's key file in its place; nothing is lost until then."
        return Part("keys", "bad", f"The keys are not those of these records ({', '.join(others)}).", hint)
    return Part("keys", "good", "They can be read by this user only, and are those of the records.")


def _sources(node: _Patient) -> Iterator[Part]:
    """Whether folders that are sources can be read, and whether the file of who is forgotten can be written."""
    wrong = False
    for number, source in enumerate((one for one in node.settings.sources if one.kind == "folder"), 1):
        place = Path(source.name)
        if place.is_dir() and os.access(place, os.R_OK | os.X_OK):
            continue
        wrong = True
        what = "cannot be read" if place.exists() else "is not there"
        hint = "Make it, give this user the right to read it, or take it out of node.toml."
        yield Part("sources", "warn", f"Folder {number} of the sources in node.toml {what}.", hint)
    journal = journal_of(node.settings, node.folder)
    if journal.parent.is_dir() and not os.access(journal.parent, os.W_OK):
        wrong = True
        hint = f"Give this user the right to write in {journal.parent}, or choose another place: [archive] forgotten."
        yield Part("sources", "bad", "Who is forgotten cannot be noted outside of the folder.", hint)
    if not node.settings.sources:
        wrong = True
        hint = "Add one to node.toml under [[sources]]; until then all that arrives waits in quarantine."
        yield Part("sources", "warn", "No source is named.", hint)
    if not wrong:
        yield Part("sources", "good", f"{len(node.settings.sources)} named; folders among them can be read.")


def _installed(node: _Patient) -> Iterator[Part]:
    """What the node needs of this machine's Python: the text finder, the pages' files, the viewer."""
    cleaning = any(CLEAN_PIXELS in load_profile(one.profile).options for one in node.settings.projects)
    try:
        yield Part("text finder", "good", f"{finder_version()} is installed.")
    except FinderUnavailable as error:
        state = "bad" if cleaning else "warn"
        hint = "Run: pip install 'carina[node]'; until then what is to be searched for text waits."
        yield Part("text finder", "bad" if state == "bad" else "warn", error.message, hint)
    wrong = wrong_assets()
    if wrong:
        hint = "Run: make setup, or install the package again."
        yield Part("pages", "bad", f"The pages lack files of theirs: {', '.join(wrong)}.", hint)
    else:
        yield Part("pages", "good", "All files that pages load are there.")
    if find_spec(VIEWER) is None:
        hint = "Run: make viewer. Without it, images are looked at with the quick look."
        yield Part("viewer", "warn", "The viewer OHIF is not installed.", hint)
    else:
        yield Part("viewer", "good", "OHIF is installed.")


def _system() -> Iterator[Part]:
    yield surroundings.clock()
    yield surroundings.temporary()
    yield surroundings.open_files()
