"""Whether an instance may pass, by its header as it came; and under which rules, pseudonym and marks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from carina.deid.engine.handling import Handling
from carina.deid.engine.marks import Marks, marks_of
from carina.deid.engine.needles import Needle
from carina.deid.engine.verify import reread, sought
from carina.deid.facts import text
from carina.deid.person import Person, merged, person_of
from carina.deid.pixels.findings import Findings, Need
from carina.deid.pixels.routes import pixel_need
from carina.deid.profile import FULL_DATES, MODIFIED_DATES, UIDS, VISUAL_FEATURES
from carina.deid.pseudonyms import patient_key, shift_days
from carina.deid.rules.compile import RuleSet, rules_of
from carina.dicom.kinds import why_withheld
from carina.dicom.parse import PIXELS, needs_pixels
from carina.errors import InvalidInstance, Withheld
from carina.model.instance import Reason

_INSTANCE, _STUDY, _SERIES = "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"
_PSEUDONYM = re.compile(r"P[A-Z2-7]{16}", re.ASCII)


@dataclass(frozen=True)
class Admission:
    """How one instance passes.

    days     by which its dates move; 0 where they stay
    review   who looked at its pixels: "none", "machine" or "reader"
    """

    rules: RuleSet
    pseudonym: str
    days: int = field(repr=False)
    marks: Marks
    review: str

    @property
    def options(self) -> tuple[str, ...]:
        """Those of its rules."""
        return self.rules.options


def options_of(handling: Handling) -> tuple[str, ...]:
    """The profile's options; what is pseudonymous already keeps its UIDs and dates."""
    options = set(handling.profile.options)
    if handling.pseudonymised:
        options = options - {MODIFIED_DATES} | {FULL_DATES, UIDS}
    return tuple(sorted(options))


def admit(
    dataset: Dataset, handling: Handling, aliases: Mapping[Person, Person], findings: Findings | None
) -> Admission:
    """How an instance passes; raises `Withheld` where it may not."""
    if not all(text(dataset, keyword) for keyword in (_INSTANCE, _STUDY, _SERIES)):
        raise Withheld(Reason.MISSING_IDENTITY, "The instance lacks its own UID, its study's or its series'.")
    if needs_pixels(text(dataset, "SOPClassUID")) and not any(keyword in dataset for keyword in PIXELS):
        raise InvalidInstance("The DICOM file is damaged: an image without its pixels.")
    person = merged(person_of(dataset, handling.default_issuer, handling.strip_leading_zeros), aliases)
    options = options_of(handling)
    reason = why_withheld(dataset, options) or _why_pixels_wait(dataset, options, findings)
    if reason is not None:
        raise Withheld(reason, reason.sentence)
    marks = marks_of(dataset, options, findings, pseudonymised=handling.pseudonymised)
    if VISUAL_FEATURES in options and marks.faces != "NO":
        raise Withheld(Reason.CONTENT_NOT_CHECKED, "It may show a face, and faces are not removed here.")
    pseudonym, days = str(patient_key(handling.keys, person)), shift_days(handling.keys, person)
    if handling.pseudonymised:
        _require_pseudonymised(dataset)
        days = 0
        if _PSEUDONYM.fullmatch(person.identifier):
            pseudonym = person.identifier
    review = findings.by if findings is not None else "none"
    return Admission(rules_of(options), pseudonym, days, marks, review)


def _why_pixels_wait(dataset: Dataset, options: tuple[str, ...], findings: Findings | None) -> Reason | None:
    """Whether the pixels must be searched first, or the search has found more than its boxes cover."""
    if findings is None:
        return Reason.PIXELS_NOT_CHECKED if pixel_need(dataset, options) is Need.ALL else None
    return Reason.TEXT_IN_PIXELS if findings.by == "machine" and not findings.proven else None


def _require_pseudonymised(dataset: Dataset) -> None:
    if text(dataset, "PatientIdentityRemoved").upper() != "YES":
        raise Withheld(
            Reason.NOT_PSEUDONYMISED,
            "It does not say that its person's identity was removed.",
            "Send it as an ordinary source, or set Patient Identity Removed (0012,0062) where it was de-identified.",
        )


def require_clean(data: bytes, needles: frozenset[Needle], uids: frozenset[str], admission: Admission) -> None:
    """Read a clean file again; raise `Withheld` where something of its original is left.

    needles, uids   what the original names, see `verify`
    """
    retains_uids = UIDS in admission.options
    wanted = sought(needles, admission.options, frozenset((admission.pseudonym,)), admission.days)
    left = reread(data, wanted, frozenset() if retains_uids else uids)
    if left:
        raise Withheld(Reason.IDENTIFIERS_LEFT, f"After de-identification something was left: {left[0]}.")
