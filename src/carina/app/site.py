"""Build a node from its settings, without starting anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from carina.deid.evidence.reveal import WayBack
from carina.deid.profile import load_profile
from carina.errors import BadSettings
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey
from carina.model.ids import NodeId, ProjectId, project_id
from carina.model.instance import Instrument, Peer, Source
from carina.model.keys import KeyRing, derive
from carina.node.site import Node, Policy, Project
from carina.settings import NodeSettings, load_node, read_keys
from carina.storage.audit import AuditTrail
from carina.storage.database import check_keys, open_engine, upgrade
from carina.storage.instances import FileInstances
from carina.storage.sealed import SealedFolder


@contextlib.contextmanager
def open_node(folder: Path, settings: NodeSettings | None = None) -> Iterator[Node]:
    """The node in `folder`, its records up to date. Raises `BadSettings` or `WrongKey`; nothing falls back."""
    settings = settings or load_node(folder)
    ring = read_keys(settings.keys, folder)
    projects = _projects(settings)
    engine = open_engine(settings.records or f"sqlite:///{folder.resolve() / 'records.sqlite'}")
    with contextlib.ExitStack() as stack:
        stack.callback(engine.dispose)
        upgrade(engine, "node")
        check_keys(engine, ring)
        way_back = _way_back(folder, ring) if settings.deid.map else None
        if way_back is not None:
            stack.callback(way_back.close)
        yield Node(
            id=NodeId(settings.id),
            title=settings.title,
            institution=settings.institution,
            country=settings.country,
            public_url=settings.public_url,
            threshold=settings.smallest_count,
            largest_instance=settings.largest_instance,
            folder=folder,
            keys=ring,
            signing=SigningKey.from_seed(ring.signing),
            permit_key=PermitKey.from_master(ring.permits),
            projects=projects,
            project_of=_project_of(settings, projects),
            engine=engine,
            spool=SealedFolder(folder / "spool", ring.storage),
            quarantine=SealedFolder(folder / "quarantine", ring.storage),
            instances=FileInstances(folder / "store"),
            audit=AuditTrail(engine),
            instruments=tuple(Instrument(**item.model_dump()) for item in settings.instruments),
            policy=Policy(
                countersign=settings.access.permits == "countersign",
                actions=settings.access.actions,
                longest_days=settings.access.longest_days,
            ),
            pseudonymised=frozenset(Source(item.kind, item.name) for item in settings.sources if item.pseudonymised),
            samples=settings.pixels.sample,
            way_back=way_back,
            peers=_peers(settings),
            quiet=settings.archive.quiet,
            most_waiting=settings.archive.most_waiting,
            journal=journal_of(settings, folder),
        )


def _peers(settings: NodeSettings) -> dict[str, Peer]:
    made = {item.ae_title: Peer(**{**item.model_dump(), "may": frozenset(item.may)}) for item in settings.peers}
    if len(made) < len(settings.peers):
        raise BadSettings("An AE title stands twice among the peers of node.toml.")
    return made


def journal_of(settings: NodeSettings, folder: Path) -> Path:
    """The file of who is forgotten: where the settings say, beside the key file, or beside the node's folder."""
    if settings.archive.forgotten is not None:
        return folder / settings.archive.forgotten
    kind, _, name = settings.keys.partition(":")
    place = (folder / name).resolve() if kind == "file" else folder.resolve()
    return place.with_name(f"{place.stem if kind == 'file' else place.name}.forgotten")


def _way_back(folder: Path, ring: KeyRing) -> WayBack:
    return WayBack(folder / "way-back.sqlite", derive(ring.storage, "way-back"))


def _projects(settings: NodeSettings) -> dict[ProjectId, Project]:
    made = {}
    for item in settings.projects:
        name = project_id(item.id)
        if name in made:
            raise BadSettings(f"The project '{name}' stands twice in node.toml.")
        made[name] = Project(name, item.title, load_profile(item.profile), item.issuer, item.strip_leading_zeros)
    return made


def _project_of(settings: NodeSettings, projects: dict[ProjectId, Project]) -> dict[Source, ProjectId]:
    made = {}
    for item in settings.sources:
        source, project = Source(item.kind, item.name), project_id(item.project)
        if project not in projects:
            raise BadSettings(f"The source '{source}' names a project that node.toml does not have.")
        if source in made:
            raise BadSettings(f"The source '{source}' stands twice in node.toml.", "A source belongs to one project.")
        made[source] = project
    return made
