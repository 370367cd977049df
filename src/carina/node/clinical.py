"""Clinical tables: diagnoses of the persons whose images a project holds, or will hold.

The text is read, made pseudonymous and let go in memory; only pseudonymous rows reach the disk.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select

from carina.deid.clinical import ClinicalRow, deidentify_rows
from carina.deid.pseudonyms import ProjectKeys
from carina.errors import NotFound
from carina.model.ids import PatientKey, ProjectId
from carina.node import aliases, tombstones
from carina.node.site import Node
from carina.storage.schema import clinical as table
from carina.storage.schema import patients

_AT_ONCE = 500  # rows or persons of one statement


@dataclass(frozen=True)
class ClinicalReport:
    """What an import did.

    without_images  persons of the table whose rows wait for their images
    forgotten       persons of the table who are forgotten: nothing of them was taken in
    """

    persons: int
    rows: int
    without_images: int
    forgotten: int = 0


def import_table(node: Node, project: ProjectId, text: str, actor: str = "operator") -> ClinicalReport:
    """Take a CSV text in, whole or not at all; columns: docs/how-to/clinical-data.md.

    What the table says of a person replaces what earlier ones said; persons it does not name stay as they are. Raises
    `InvalidTable`, which names lines and columns but no value, and `NotFound` for a project this node does not have.
    """
    if project not in node.projects:
        raise NotFound("This node has no such project.")
    rules = node.projects[project]
    rows = deidentify_rows(
        text,
        ProjectKeys.of(node.keys.pseudonym, project),
        aliases.load(node, rules),
        default_issuer=rules.issuer,
        strip_leading_zeros=rules.strip_leading_zeros,
    )
    persons = sorted({row.patient for row in rows})
    return _replace(node, actor, project, rows, persons)


def _replace(
    node: Node, actor: str, project: ProjectId, rows: list[ClinicalRow], persons: list[PatientKey]
) -> ClinicalReport:
    """Write the rows in one transaction, but those of persons who are forgotten."""
    known = 0
    with node.engine.begin() as connection:
        gone = tombstones.forgotten(node, connection, [(project, one) for one in persons])
        persons = [one for one in persons if (project, one) not in gone]
        rows = [row for row in rows if (project, row.patient) not in gone]
        for start in range(0, len(persons), _AT_ONCE):
            some = persons[start : start + _AT_ONCE]
            theirs = (patients.c.project == project) & patients.c.patient.in_(some)
            known += len(connection.execute(select(patients.c.patient).where(theirs)).all())
            connection.execute(delete(table).where(table.c.project == project, table.c.patient.in_(some)))
        for start in range(0, len(rows), _AT_ONCE):
            values = [{"project": project, **asdict(row)} for row in rows[start : start + _AT_ONCE]]
            connection.execute(insert(table), values)
        said = {"persons": len(persons), "rows": len(rows), "forgotten": len(gone)}
        node.audit.append("clinical-imported", actor, project, connection=connection, **said)
    return ClinicalReport(len(persons), len(rows), len(persons) - known, len(gone))
