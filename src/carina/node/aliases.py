"""Merged identifiers: which (issuer, identifier) now means which other one.

They identify people, so they rest sealed in the node's folder (`aliases`), never in the records. A merge holds for what
is taken in after it; what was archived under the old identifier keeps its pseudonym.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from carina.deid.person import Person, person
from carina.deid.pseudonyms import ProjectKeys, patient_key
from carina.errors import Conflict, InvalidTable, NotFound
from carina.model.keys import derive
from carina.node import tombstones
from carina.node.site import Node, Project
from carina.storage.files import write_durably
from carina.storage.sealed import seal, unseal

COLUMNS = ("old_issuer", "old_id", "new_issuer", "new_id")
_CONTEXT = "aliases"


def load(node: Node, project: Project) -> dict[Person, Person]:
    """Each old person with the one it finally means, by the project's rules; empty when nothing was ever merged."""
    return resolve(_ruled(_read(node), project))


def merge(node: Node, old: Person, new: Person, actor: str) -> None:
    """From now on `old` means `new`; an empty issuer is the one that a project assumes.

    Raises `Conflict` if `old` means someone else already, or a loop would arise.
    """
    known = _read(node)
    _add(known, old, new)
    _keep(node, known, actor, "aliases-merged")


def import_table(node: Node, text: str, actor: str) -> int:
    """Add the merges of a CSV text with the columns `COLUMNS`, all or none; how many identifiers are merged now.

    Raises `InvalidTable`, which names a line but no value, and `Conflict` as `merge` does.
    """
    known = _read(node)
    for line, old, new in _rows(text):
        try:
            _add(known, old, new)
        except Conflict as error:
            raise Conflict(f"Line {line}: {error.message}", error.hint) from None
    _keep(node, known, actor, "aliases-merged")
    return len(known)


def count(node: Node) -> int:
    """How many identifiers are merged into another one."""
    return len(_read(node))


def separate(node: Node, old: Person, actor: str) -> None:
    """`old` stands for itself again. Raises `NotFound` if it was not merged."""
    known = _read(node)
    if known.pop(old, None) is None:
        raise NotFound("This identifier is not merged into another one.")
    _keep(node, known, actor, "aliases-separated")


def group(node: Node, project: Project, one: Person) -> set[Person]:
    """All who mean the same person as `one` in a project: whoever it was merged into, and all others merged there."""
    ends = load(node, project)
    last = ends.get(one, one)
    return {last, one, *(old for old, end in ends.items() if end == last)}


def forget(node: Node, actor: str, forgotten: Callable[[Project, Person], bool]) -> int:
    """Take out the merges of whoever is forgotten in every project; how many there were."""
    if not node.projects or not (known := _read(node)):
        return 0
    gone = [old for old in known if all(_is_gone(project, old, forgotten) for project in node.projects.values())]
    for old in gone:
        del known[old]
    if gone:
        _keep(node, known, actor, "aliases-forgotten")
    return len(gone)


def _is_gone(project: Project, old: Person, forgotten: Callable[[Project, Person], bool]) -> bool:
    one = person(old.issuer, old.identifier, project.issuer, project.strip_leading_zeros)
    return one is not None and forgotten(project, one)


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


def _add(known: dict[Person, Person], old: Person, new: Person) -> None:
    if old == new:
        raise Conflict("Both identifiers are the same.")
    if known.get(old, new) != new:
        raise Conflict("The old identifier is merged into another one already.", "Separate it first.")
    known[old] = new


def _ruled(known: Mapping[Person, Person], project: Project) -> list[tuple[Person, Person]]:
    """The pairs as the project names persons: with its issuer, and without leading zeros if it says so."""
    pairs = []
    for pair in known.items():
        old, new = (person(one.issuer, one.identifier, project.issuer, project.strip_leading_zeros) for one in pair)
        if old is not None and new is not None and old != new:
            pairs.append((old, new))
    return pairs


def _rows(text: str) -> Iterable[tuple[int, Person, Person]]:
    """Each line's number and pair."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if sorted(header) != sorted(COLUMNS):
            raise InvalidTable("The table's first line is wrong.", f"It names the columns {', '.join(COLUMNS)}.")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InvalidTable(f"Line {reader.line_num} of the table does not have {len(header)} cells.")
            named = dict(zip(header, cells, strict=True))
            old = person(named["old_issuer"], named["old_id"])
            new = person(named["new_issuer"], named["new_id"])
            if old is None or new is None:
                raise InvalidTable(f"Line {reader.line_num} of the table lacks an identifier.")
            yield reader.line_num, old, new
    except csv.Error:
        raise InvalidTable(f"The table is no CSV: line {reader.line_num} cannot be read.") from None


def _keep(node: Node, known: Mapping[Person, Person], actor: str, action: str) -> None:
    """Replace the list durably, unless it has a loop under some project's rules: a crash leaves the old or the new."""
    resolve(known.items())
    for project in node.projects.values():
        _require_remembered(node, project, resolve(_ruled(known, project)))
    rows = [[old.issuer, old.identifier, new.issuer, new.identifier] for old, new in known.items()]
    write_durably(_path(node), seal(_key(node), json.dumps(rows).encode(), _CONTEXT))
    node.audit.append(action, actor, "aliases", count=len(known))


def _require_remembered(node: Node, project: Project, ends: Mapping[Person, Person]) -> None:
    """Raise `Conflict` where someone forgotten would come back as, or take with them, someone who is not."""
    keys = ProjectKeys.of(node.keys.pseudonym, project.id)
    named = {one: (project.id, patient_key(keys, one)) for pair in ends.items() for one in pair}
    with node.engine.connect() as connection:
        gone = tombstones.forgotten(node, connection, set(named.values()))
    if any((named[old] in gone) != (named[end] in gone) for old, end in ends.items()):
        raise Conflict("One of the persons is forgotten here.", "Leave them out, or lift it first: forget --lift.")


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
