"""Found a node or a hub: its folder, its commented settings, its keys, its records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from carina.app.settings_text import node_text, value_text
from carina.errors import BadSettings, Busy, Conflict
from carina.federation.signing import SigningKey, party_id
from carina.model.keys import KeyRing
from carina.settings import load_hub, load_node, write_new_keys
from carina.storage.accounts import add_account
from carina.storage.audit import AuditTrail
from carina.storage.database import check_keys, open_engine, upgrade


@dataclass(frozen=True)
class NewNode:
    """What `carina node init` must know. Ports of 0 leave the defaults of `node.toml`."""

    title: str
    institution: str
    country: str
    project: str = "main"
    project_title: str = "Cancer imaging"
    profile: str = "basic"
    issuer: str = ""
    inside_port: int = 8721
    outside_port: int = 8722
    dimse_port: int | None = 11112
    ae_title: str = "CARINA"
    console_url: str | None = None
    public_url: str | None = None
    permits: str = "countersign"
    sample: bool = True
    sources: tuple[tuple[str, str], ...] = field(default=())  # (kind, name), all of `project`
    manager: tuple[str, str] | None = None  # name and password of the first account, a data manager


@dataclass(frozen=True)
class NewHub:
    """What `carina hub init` must know. `broker_names`: by which nodes on other machines reach the broker."""

    title: str
    public_url: str
    port: int = 8700
    broker_port: int = 8701
    broker_names: tuple[str, ...] = ()


def found_node(folder: Path, keys: Path, new: NewNode) -> str:
    """Make the node's folder and return its id. A folder that is one already: `Conflict`; nothing is overwritten."""
    with _whole_or_not_at_all(folder, keys, "node.toml"):
        ring = write_new_keys(keys)
        node = party_id(SigningKey.from_seed(ring.signing).public_jwk, "n")
        _write(folder / "node.toml", _node_toml(node, new, keys))
        load_node(folder)
        _records(folder, "node", ring, new.manager)
    return node


def found_hub(folder: Path, keys: Path, new: NewHub) -> str:
    """Make the hub's folder and return its id. A folder that is one already: `Conflict`; nothing is overwritten."""
    with _whole_or_not_at_all(folder, keys, "hub.toml"):
        ring = write_new_keys(keys)
        hub = party_id(SigningKey.from_seed(ring.signing).public_jwk, "h")
        _write(folder / "hub.toml", _hub_toml(hub, new, keys))
        load_hub(folder)
        _records(folder, "hub", ring)
    return hub


@contextlib.contextmanager
def _whole_or_not_at_all(folder: Path, keys: Path, name: str) -> Iterator[None]:
    """Make the folder for what is done inside; when that fails, remove what it has made, so that one can try again."""
    if (folder / name).exists():
        raise Conflict(f"This folder has a {name} already.", "Choose another folder, or start what is there.")
    if keys.resolve().is_relative_to(folder.resolve()):
        raise BadSettings("The keys would lie inside the data folder.", "Name a place outside it with --keys.")
    if keys.exists():
        raise Busy(f"There are keys at {keys} already.", "Choose another place; keys are never overwritten.")
    known = {path for path in (folder, *folder.glob("*"), keys.parent) if path.exists()}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        yield
    except OSError as error:
        _remove_new(folder, keys, known)
        raise BadSettings("The folder cannot be made there.", f"The system says: {error.strerror}.") from None
    except BaseException:  # Ctrl-C too
        _remove_new(folder, keys, known)
        raise


def _remove_new(folder: Path, keys: Path, known: set[Path]) -> None:
    """Undo a founding that failed: the files of `folder`, `keys`, and the folders made for them."""
    for path in [*folder.glob("*"), keys]:
        if path not in known and path.exists():
            path.unlink()
    for path in (folder, keys.parent):
        if path not in known and path.exists() and not any(path.iterdir()):
            path.rmdir()


def _records(folder: Path, role: Literal["node", "hub"], ring: KeyRing, manager: tuple[str, str] | None = None) -> None:
    engine = open_engine(f"sqlite:///{folder / 'records.sqlite'}")
    try:
        upgrade(engine, role)
        check_keys(engine, ring)
        if manager is not None:
            add_account(engine, *manager, {"data-manager"})
            AuditTrail(engine).append("account-added", "operator", manager[0])
    finally:
        engine.dispose()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def _node_toml(node: str, new: NewNode, keys: Path) -> str:
    values: dict[str, Any] = {
        "id": node,
        "title": new.title,
        "institution": new.institution,
        "country": new.country,
        "keys": f"file:{keys.resolve()}",
        "smallest_count": 10,
        "inside": {"host": "127.0.0.1", "port": new.inside_port},
        "outside": {"host": "127.0.0.1", "port": new.outside_port},
        "access": {"permits": new.permits},
        "pixels": {"sample": new.sample},
        "deid": {"map": True},
        "projects": [
            {"id": new.project, "title": new.project_title, "profile": new.profile, "issuer": new.issuer},
        ],
        "sources": [{"kind": kind, "name": name, "project": new.project} for kind, name in new.sources],
    }
    addresses = {"console_url": new.console_url, "public_url": new.public_url}
    values |= {name: value for name, value in addresses.items() if value is not None}
    if new.dimse_port is not None:
        values["dimse"] = {"host": "127.0.0.1", "port": new.dimse_port, "ae_title": new.ae_title}
    return node_text(values)


def _hub_toml(hub: str, new: NewHub, keys: Path) -> str:
    host = "0.0.0.0" if new.broker_names else "127.0.0.1"  # noqa: S104  for nodes elsewhere
    names = (
        "# By which nodes reach the broker; a node that joins is told the first.\n"
        f"broker_names = [{', '.join(map(value_text, new.broker_names))}]\n"
        if new.broker_names
        else ""
    )
    return f"""# A Carina hub; docs/reference/settings.md lists all settings. Environment variables CARINA_HUB_* win.
id = {value_text(hub)}  # from the first key; never changes
title = {value_text(new.title)}

# The address people use. It stands in invitations.
public_url = {value_text(new.public_url)}

# Where the keys are: file:PATH, env:NAME or credential:NAME. Without a back-up of them no node knows this hub any more.
keys = {value_text(f"file:{keys.resolve()}")}

smallest_count = 10  # smaller counts read "fewer than 10"
answer_within = 5.0  # seconds that a search waits for nodes
{names}
# The web site. Off loopback it needs a TLS proxy; name that in trusted_proxies.
[listen]
host = "127.0.0.1"
port = {new.port}

# Where nodes connect (NATS over TLS).
[broker]
host = {value_text(host)}
port = {new.broker_port}
"""
