"""The report of a de-identification: what was done and why, in counts and constant words. It identifies nobody.

It has no date and no name of a file: the same input, profile and key give the same report.
docs/reference/deid-report.md describes its fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from carina.deid.evidence.anonymity import Anonymity
from carina.deid.profile import Profile
from carina.deid.rules import table
from carina.errors import BadInput
from carina.model.instance import Reason

FORM = "carina-deid-report/1"
DATASET_FORM = "carina-dataset-evidence/1"
"""Of a node's evidence of a dataset."""
WRITTEN = "released"
DUPLICATE, UNREADABLE = "duplicate", "unreadable"
NOT_COPIED = {
    "directory": "DICOM directories (DICOMDIR) are not copied: they name files and persons.",
    DUPLICATE: "Another file has given the same instance.",
    UNREADABLE: "The file cannot be opened or read.",
    str(Reason.NOT_DICOM): Reason.NOT_DICOM.sentence,
}
"""Outcomes of files that are no DICOM instances, or none of their own, each with what it means."""


@dataclass(frozen=True)
class Counted:
    """What a report counts.

    outcomes   files by what became of them: `WRITTEN`, a word of `NOT_COPIED`, or a `Reason`
    actions    elements of the files written, by `action reason`
    people     how many patients, studies, series and instances were written
    pixels     images searched for text, those in which some was found, and the places blanked
    """

    outcomes: Mapping[str, int]
    actions: Mapping[str, int]
    people: Mapping[str, int]
    pixels: Mapping[str, int]
    anonymity: Sequence[Anonymity] = ()
    clinical: bool = False
    about: Mapping[str, str] = field(default_factory=dict)


def report_of(profile: Profile, project: str, counted: Counted) -> dict[str, Any]:
    """The report as JSON values."""
    reasons = {reason.value: reason.sentence for reason in Reason}
    withheld = {name: count for name, count in counted.outcomes.items() if name in reasons and name not in NOT_COPIED}
    return {
        "form": FORM,
        "made_with": {
            "carina": version("carina"),
            **dict(sorted(counted.about.items())),
            "table": {"standard": "DICOM PS3.15 Table E.1-1", "edition": table.EDITION, "sha256": table.DIGEST},
        },
        "project": project,
        "profile": {
            "name": profile.name,
            "options": list(profile.options),
            "review": profile.review,
            "sha256": profile.digest,
        },
        "files": {
            "given": sum(counted.outcomes.values()),
            "written": counted.outcomes.get(WRITTEN, 0),
            "withheld": _counts(withheld),
            "not_copied": _counts({name: counted.outcomes[name] for name in NOT_COPIED if name in counted.outcomes}),
        },
        "written": dict(counted.people),
        "pixels": dict(counted.pixels),
        "actions": [_action(name, count) for name, count in sorted(counted.actions.items())],
        "anonymity": {
            "joint_with_clinical_table": counted.clinical,
            "sets": [found.to_json() for found in counted.anonymity],
        },
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _action(name: str, count: int) -> dict[str, Any]:
    action, _, reason = name.partition(" ")
    return {"action": action, "reason": reason, "elements": count}


def canonical(report: Mapping[str, Any]) -> bytes:
    """The bytes of which a report's digest is made: JSON, keys sorted, no spaces, UTF-8."""
    return json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(report: Mapping[str, Any]) -> str:
    """SHA-256 of the report, hex: what is signed."""
    return hashlib.sha256(canonical(report)).hexdigest()


def lines_of(report: Mapping[str, Any]) -> Iterable[str]:
    """The report, or a node's evidence of a dataset, for people. Raises `BadInput` if it is neither."""
    lines = {FORM: _lines, DATASET_FORM: _dataset_lines}.get(str(report.get("form")))
    if lines is None:
        raise BadInput("This is no report of a de-identification, or one of a later form.")
    try:
        return list(lines(report))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise BadInput("The report lacks what it must have.") from None


def _lines(report: Mapping[str, Any]) -> Iterable[str]:
    made, profile, files = report["made_with"], report["profile"], report["files"]
    people, pixels = report["written"], report["pixels"]
    yield f"Carina {made['carina']}, engine {made['engine']}, DICOM PS3.15 edition {made['table']['edition']}"
    yield f"Profile {profile['name']} ({profile['sha256'][:16]}…), project {report['project']}"
    for option in profile["options"]:
        yield f"  {option}"
    yield f"  readers of images in which text was found: {profile['review']}"
    yield f"{files['written']:>9} of {files['given']} files written"
    yield f"          {people['patients']} patients, {people['studies']} studies, {people['series']} series"
    for name, count in files["withheld"].items():
        yield f"{count:>9} withheld: {name}. {Reason(name).sentence}"
    for name, count in files["not_copied"].items():
        yield f"{count:>9} not copied: {name}. {NOT_COPIED[name]}"
    yield f"{pixels['searched']:>9} images searched for text"
    yield f"{pixels['with_text']:>9} images in which text was blanked, at {pixels['places']} places"
    yield from _element_lines(report["actions"])
    yield from _anonymity_lines(report["anonymity"])


def _dataset_lines(report: Mapping[str, Any]) -> Iterable[str]:
    made, dataset, holds = report["made_with"], report["dataset"], report["holds"]
    engines = ", ".join(f"engine {name} ({count} instances)" for name, count in made["engines"].items())
    yield f"Carina {made['carina']}, {engines}, DICOM PS3.15 edition {made['table']['edition']}"
    yield f"Dataset {dataset['iri']}, version {dataset['version']} ({dataset['sha256'][:16]}…)"
    yield f"  of project {dataset['project']} at node {report['node']}, {report['at']}"
    for profile in made["profiles"]:
        name = profile["name"] or "not in use any more"
        yield f"Profile {name} ({profile['sha256'][:16]}…), {profile['instances']} instances"
        for option in profile["options"] or ():
            yield f"  {option}"
    yield f"{holds['instances']:>9} instances, {holds['patients']} patients, {holds['series']} series"
    for who, count in report["pixels"].items():
        yield f"{count:>9} instances whose pixels were searched for text by: {who}"
    yield from _element_lines(report["actions"]["elements"])
    yield from _anonymity_lines(report["anonymity"])


def _element_lines(actions: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield "Elements by action and reason"
    for item in sorted(actions, key=lambda item: -item["elements"]):
        yield f"{item['elements']:>9} {item['action']}  {item['reason']}"


def _anonymity_lines(found: Mapping[str, Any]) -> Iterable[str]:
    yield "Persons who can be told apart by what stays of them"
    for item in found["sets"]:
        names = ", ".join(item["attributes"])
        yield f"{item['unique']:>9} of {item['persons']} alone, smallest group {item['k']}: {names}"
