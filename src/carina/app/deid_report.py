"""The report of a run of the folder tool: counted, signed, written; and checked again by whoever got it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from carina.app.deid_pool import Pool
from carina.app.deid_records import CLEAN, TEXT, Records
from carina.deid.evidence.anonymity import CLINICAL, all_sets, joined
from carina.deid.evidence.report import DATASET_FORM, Counted, digest_of, report_of
from carina.deid.profile import Profile
from carina.errors import BadInput, InvalidMessage
from carina.federation.signing import SigningKey, public_key, thumbprint, verify
from carina.model.keys import derive

_SURVEY = 50  # files of which a worker is asked at once
_OTHER = (
    "Do not rely on it: ask its maker for the report as it was written, and for the name of the key that signed it."
)


def counted_report(
    records: Records, pool: Pool, profile: Profile, project: str, clinical: Iterable[tuple[str, Mapping[str, str]]] = ()
) -> dict[str, Any]:
    """The report of all that stands in the output folder.

    clinical   facts of a clinical table, by the person's pseudonym; persons without images do not count
    """
    targets = list(records.targets())
    firsts = [next(files) for _, files in groupby(targets, key=lambda target: target.rsplit("/", 1)[0])]
    facts = [
        (target.split("/", 1)[0], fact)
        for start in range(0, len(firsts), _SURVEY)
        for target, fact in zip(
            firsts[start : start + _SURVEY], pool.survey(firsts[start : start + _SURVEY]), strict=True
        )
    ]
    rows = list(clinical)
    here = {patient for patient, _ in facts}
    persons = joined([*facts, *((patient, row) for patient, row in rows if patient in here)])
    looks = records.looks()
    counted = Counted(
        outcomes=records.outcomes(),
        actions=records.actions(),
        people={
            "patients": len(here),
            "studies": len({first.rsplit("/", 2)[0] for first in firsts}),
            "series": len(firsts),
            "instances": len(targets),
        },
        pixels={"searched": looks[TEXT] + looks[CLEAN], "with_text": looks[TEXT], "places": looks["boxes"]},
        anonymity=all_sets(list(persons.values()), clinical=bool(rows)),
        clinical=bool(rows),
        about=pool.about,
    )
    return report_of(profile, project, counted)


def clinical_facts(
    path: Path, key: bytes, project: str, issuer: str, strip: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    """Of each row of a clinical table, the pseudonym and what stays of the person. Raises `InvalidTable`."""
    from carina.deid.clinical import deidentify_rows
    from carina.deid.pseudonyms import ProjectKeys
    from carina.model.ids import project_id

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput("The clinical table is no UTF-8 text.") from None
    keys = ProjectKeys.of(key, project_id(project))
    for row in deidentify_rows(text, keys, default_issuer=issuer, strip_leading_zeros=strip):
        yield row.patient, {name: str(getattr(row, name) or "") for name in CLINICAL}


def write_report(path: Path, report: Mapping[str, Any], key: bytes) -> None:
    """Write the report with its signature: of its digest, by a key derived from the key file's master."""
    signing = SigningKey.from_seed(derive(key, "report"))
    signature = signing.sign({"report_sha256": digest_of(report)}).decode()
    signed = {"report": report, "key": signing.public_jwk, "signature": signature}
    aside = path.with_name(f".new-{path.name}")
    aside.write_text(json.dumps(signed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)


def read_report(path: Path, key: bytes | None = None) -> tuple[dict[str, Any], str]:
    """A report of a run, or a node's evidence of a dataset, whose signature holds; and the name of the key that signed.

    key   a key file's master that must have signed it; None takes the key that the file names

    Raises `BadInput` if the file is neither, `InvalidMessage` if it was changed or is another key's.
    """
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
        is_dataset = "evidence" in signed
        report, jwk = signed["evidence" if is_dataset else "report"], signed["key"]
        signature = signed["signature"].encode()
        if not isinstance(report, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput("This is no report of a de-identification.") from None
    digest = digest_of(report)
    expected = {"what": DATASET_FORM, "sha256": digest} if is_dataset else {"report_sha256": digest}
    try:
        jwk = SigningKey.from_seed(derive(key, "report")).public_jwk if key is not None else public_key(jwk)
        if verify(signature, jwk) == expected:
            return report, thumbprint(jwk)
    except InvalidMessage as error:
        raise InvalidMessage("The report is not signed with the key that it should be.", _OTHER, error.reason) from None
    raise InvalidMessage("The report was changed after it was signed.", _OTHER, "forged")
