"""The evidence of a dataset: what was done to its instances and why, and how well its persons hide. It names nobody.

Like the report of `carina deid` it holds counts and constant words only; it is signed with the node's key. It is for
the site: its figures are exact, so it does not leave the node by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import chain
from typing import Any

from sqlalchemy import Connection, and_, func, select

from carina.deid.evidence.anonymity import CLINICAL, Person, all_sets, band, joined
from carina.deid.evidence.quasi import EXACT, SIZE_BAND, WEIGHT_BAND
from carina.deid.evidence.report import DATASET_FORM as FORM
from carina.deid.evidence.report import digest_of
from carina.deid.rules import table
from carina.errors import NotFound
from carina.model.clock import stamp
from carina.node import datasets, snapshots
from carina.node.datasets import Dataset
from carina.node.site import Node
from carina.storage.cohort import membership_digest
from carina.storage.members import Members, instances_within, series_within
from carina.storage.schema import action_sets, clinical, instance_versions, instances, patients, series, studies

_SIZE, _WEIGHT = "00101020", "00101030"  # Patient's Size, m; Patient's Weight, kg
_CODE, _SCHEME = "00080100", "00080102"  # Code Value, Coding Scheme Designator


def evidence(node: Node, iri: str, number: int | None = None) -> dict[str, Any]:
    """The evidence of a dataset as it is now, or of its snapshot `number`, and the signature of its digest.

    Raises `NotFound` for an unknown dataset or snapshot.
    """
    dataset = datasets.get(node, iri)
    members, digest = _members(node, dataset, number)
    with node.engine.connect() as connection:
        membership = digest or membership_digest(connection, [dataset.project], dataset.query)
        report = {
            "form": FORM,
            "node": node.id,
            "dataset": {"iri": iri, "project": dataset.project, "version": number or "live", "sha256": membership},
            "at": stamp(),
            "made_with": _made_with(node, connection, members),
            "pixels": _by(connection, members, instance_versions.c.review),
            "actions": _actions(connection, members),
            **_people(connection, members),
        }
    signature = node.signing.sign({"what": FORM, "sha256": digest_of(report)})
    return {"evidence": report, "key": dict(node.signing.public_jwk), "signature": signature.decode()}


def _members(node: Node, dataset: Dataset, number: int | None) -> tuple[Members, str]:
    """What belongs to it; for a snapshot also its digest."""
    if number is None:
        return Members(dataset.project, query=dataset.query), ""
    taken = next((one for one in snapshots.listed(node, dataset.iri) if one.number == number), None)
    if taken is None:
        raise NotFound("The dataset has no such snapshot.")
    return Members(dataset.project, dataset=dataset.iri, number=number), taken.digest


def _made_with(node: Node, connection: Connection, members: Members) -> dict[str, Any]:
    named = {project.profile.digest: project.profile for project in node.projects.values()}
    profiles = [
        {
            "sha256": digest,
            "name": named[digest].name if digest in named else None,
            "options": list(named[digest].options) if digest in named else None,
            "instances": count,
        }
        for digest, count in _by(connection, members, instance_versions.c.profile_digest).items()
    ]
    return {
        "carina": version("carina"),
        "engines": _by(connection, members, instance_versions.c.engine),
        "profiles": profiles,
        "table": {"standard": "DICOM PS3.15 Table E.1-1", "edition": table.EDITION, "sha256": table.DIGEST},
    }


def _by(connection: Connection, members: Members, column: Any) -> dict[str, int]:
    """How many instances of the members there are by a column of their versions."""
    counted = select(column, func.count()).select_from(_versions()).where(instances_within(members))
    return {str(value): int(count) for value, count in connection.execute(counted.group_by(column).order_by(column))}


def _versions() -> Any:
    """Instances, each with the version that is current."""
    current = and_(
        instance_versions.c.project == instances.c.project,
        instance_versions.c.uid == instances.c.uid,
        instance_versions.c.content == instances.c.content,
    )
    return instances.join(instance_versions, current)


def _actions(connection: Connection, members: Members) -> dict[str, Any]:
    """Elements by action and reason, summed over all instances of which they were counted."""
    by_set = _by(connection, members, func.coalesce(instance_versions.c.actions, ""))
    sums: Counter[str] = Counter()
    for digest, count in by_set.items():
        kept = connection.execute(select(action_sets.c.actions).where(action_sets.c.digest == digest)).scalar() or {}
        sums.update({name: number * count for name, number in kept.items()})
    elements = []
    for name, number in sorted(sums.items()):
        action, _, reason = name.partition(" ")
        elements.append({"action": action, "reason": reason, "elements": number})
    return {"instances": sum(count for digest, count in by_set.items() if digest), "elements": elements}


def _people(connection: Connection, members: Members) -> dict[str, Any]:
    """How many there are, and how well they hide among each other."""
    with_images = joined(chain(_facts(connection, members), _exact_facts(connection, members)))
    table_rows = joined(_diagnoses(connection, members))
    persons = [{**facts, **table_rows.get(patient, {})} for patient, facts in with_images.items()]
    counted = {
        "instances": select(func.count()).select_from(instances).where(instances_within(members)),
        "series": select(func.count()).select_from(series).where(series_within(members)),
    }
    return {
        "holds": {
            "patients": len(persons),
            **{name: int(connection.execute(query).scalar_one()) for name, query in counted.items()},
        },
        "anonymity": {
            "joint_with_clinical_table": bool(table_rows),
            "sets": [found.to_json() for found in all_sets(persons, clinical=bool(table_rows))],
        },
    }


def _facts(connection: Connection, members: Members) -> Iterable[tuple[str, Person]]:
    """Of each series of the members what stays of its person there."""
    of_study = and_(studies.c.project == series.c.project, studies.c.study_uid == series.c.study_uid)
    of_patient = and_(patients.c.project == studies.c.project, patients.c.patient == studies.c.patient)
    wanted = (
        select(studies.c.patient, patients.c.sex, studies.c.age_years, studies.c.header, series.c.body_part)
        .add_columns(series.c.manufacturer, series.c.device)
        .select_from(series.join(studies, of_study).join(patients, of_patient))
        .where(series_within(members))
    )
    for row in connection.execute(wanted):
        yield (
            row.patient,
            {
                "sex": row.sex or "",
                "age": "" if row.age_years is None else str(row.age_years),
                "size": band(_first(row.header, _SIZE), SIZE_BAND),
                "weight": band(_first(row.header, _WEIGHT), WEIGHT_BAND),
                "body_part": row.body_part or "",
                "manufacturer": row.manufacturer or "",
                "device": row.device or "",
            },
        )


def _exact_facts(connection: Connection, members: Members) -> Iterable[tuple[str, Person]]:
    """Of each series the attributes that count as they stay: those of its first instance."""
    first = (
        select(instances.c.project, instances.c.series_uid, func.min(instances.c.uid).label("uid"))
        .where(instances_within(members))
        .group_by(instances.c.project, instances.c.series_uid)
        .subquery()
    )
    named = {name: [f"{tag:08X}" for tag in tags] for name, tags in EXACT.items()}
    columns = [instances.c.header[tag].label(tag) for tags in named.values() for tag in tags]
    of_series = and_(series.c.project == first.c.project, series.c.series_uid == first.c.series_uid)
    of_study = and_(studies.c.project == series.c.project, studies.c.study_uid == series.c.study_uid)
    itself = and_(instances.c.project == first.c.project, instances.c.uid == first.c.uid)
    wanted = select(studies.c.patient, *columns).select_from(
        first.join(instances, itself).join(series, of_series).join(studies, of_study)
    )
    for row in connection.execute(wanted).mappings():
        said = {name: [_said(row[tag]) for tag in tags] for name, tags in named.items()}
        yield row["patient"], {name: ";".join(filter(None, texts)) for name, texts in said.items()}


def _said(element: Mapping[str, Any] | None) -> str:
    """The values of an element of DICOM JSON; of coded ones their codes."""
    values = (element or {}).get("Value") or []
    return ";".join(
        f"{_first(value, _SCHEME)}:{_first(value, _CODE)}" if isinstance(value, dict) else str(value).strip()
        for value in values
        if value is not None
    )


def _diagnoses(connection: Connection, members: Members) -> Iterable[tuple[str, Person]]:
    """What the clinical table says of the members' persons."""
    columns = [clinical.c[name] for name in CLINICAL]
    wanted = select(clinical.c.patient, *columns).where(clinical.c.project == members.project)
    for row in connection.execute(wanted).mappings():
        yield row["patient"], {name: "" if row[name] is None else str(row[name]) for name in CLINICAL}


def _first(header: Mapping[str, Any], tag: str) -> str:
    values = header.get(tag, {}).get("Value") or [""]
    return str(values[0])
