"""Merged identifiers: which (issuer, identifier) now means which other one.

They identify people, so they rest sealed in the node's folder (`aliases`), never in the records. A merge holds for what
is taken in after it; what was archived under the old identifier keeps its pseudonym.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from carina.deid.person import Person
from carina.errors import Conflict, NotFound
from carina.model.keys import derive
from carina.node.site import Node
from carina.storage.files import write_durably
from carina.storage.sealed import seal, unseal

_CONTEXT = "aliases"


def load(node: Node) -> dict[Person, Person]:
    """Each old person with the one it finally means; empty when nothing was ever merged."""
    return resolve(_read(node).items())


def merge(node: Node, old: Person, new: Person, actor: str) -> None:
    """From now on `old` means `new`. Raises `Conflict` if `old` means someone else already, or a loop would arise."""
    known = _read(node)
    if old == new:
        raise Conflict("Both identifiers are the same.")
    if known.get(old, new) != new:
        raise Conflict("The old identifier is merged into another one already.", "Separate it first.")
    known[old] = new
    resolve(known.items())
    _write(node, known)
    node.audit.append("aliases-merged", actor, "aliases", count=len(known))


def separate(node: Node, old: Person, actor: str) -> None:
    """`old` stands for itself again. Raises `NotFound` if it was not merged."""
    known = _read(node)
    if known.pop(old, None) is None:
        raise NotFound("This identifier is not merged into another one.")
    _write(node, known)
    node.audit.append("aliases-separated", actor, "aliases", count=len(known))


def resolve(pairs: Iterable[tuple[Person, Person]]) -> dict[Person, Person]:
    """Follow each chain to its end. Raises `Conflict` for a loop."""
    steps = dict(pairs)
    ends: dict[Person, Person] = {}
    for start, step in steps.items():
        seen, end = {start}, step
        while end in steps:
            if end in seen:
                raise Conflict("These merges form a loop.", "Leave out the one that leads back.")
            seen.add(end)
            end = steps[end]
        ends[start] = end
    return ends


def _path(node: Node) -> Path:
    return node.folder / "aliases"


def _key(node: Node) -> bytes:
    return derive(node.keys.storage, "aliases")


def _read(node: Node) -> dict[Person, Person]:
    path = _path(node)
    if not path.exists():
        return {}
    rows = json.loads(unseal(_key(node), path.read_bytes(), _CONTEXT))
    return {Person(a, b): Person(c, d) for a, b, c, d in rows}


def _write(node: Node, known: Mapping[Person, Person]) -> None:
    """Replace the file durably: a crash leaves the old list or the new one."""
    rows = [[old.issuer, old.identifier, new.issuer, new.identifier] for old, new in known.items()]
    sealed = seal(_key(node), json.dumps(rows).encode(), _CONTEXT)
    write_durably(_path(node), sealed)
