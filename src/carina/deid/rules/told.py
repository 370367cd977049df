"""The rules of a profile as records, for people to read: the tables' rows, the defaults by VR, the safe list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_description

from carina.deid.profile import SAFE_PRIVATE
from carina.deid.rules import contents, private, table
from carina.deid.rules.compile import rules_of
from carina.deid.rules.listed import FIRST_TAG, ORDER, TITLES, rows_by_tag
from carina.deid.rules.rule import Place, Rule
from carina.deid.rules.unlisted import DEVICE_TITLES, MEASURED
from carina.deid.words import codes
from carina.deid.words.texts import TECHNICAL
from carina.deid.words.values import dictionary_vr


@dataclass(frozen=True)
class Told:
    """One rule.

    part     table, content, technique (what a word list or a list of measurements lets stay), default or private
    subject  a tag pattern, a code with its scheme, a VR, or a creator with its tag
    name     what the standard calls it; of the safe list its source
    """

    part: str
    subject: str
    name: str
    action: str
    reason: str


def told_rules(options: tuple[str, ...]) -> Iterator[Told]:
    """All rules of these options, where the type in an IOD is not known: there the reason names the choice."""
    rules = rules_of(options)
    for row in table.ROWS:
        if row.tag == "PRIVATE":
            yield _told("table", row.tag, row.name, rules.private("", 0x00111001, "UN"))
            continue
        tag = int(row.tag.replace("xxxx", "3000").replace("xx", "00"), 16)
        rule = rules.rule(tag, dictionary_vr(tag) or _vr_by_name(row.name), Place())
        yield _told("table", row.tag, row.name, rule)
    for item in contents.ITEMS:
        option = next((option for option in ORDER if option in options and option in item.options), None)
        action = item.basic if option is None else item.options[option]
        reason = f"PS3.15 E.3.4-1: {item.basic}" if option is None else f"PS3.15 E.3.4-1, {TITLES[option]}: {action}"
        yield Told("content", f"({item.code}, {item.scheme}) {item.value_type}", item.meaning, action, reason)
    for tag in sorted({*TECHNICAL, *DEVICE_TITLES, *MEASURED}):
        rule = rules.rule(tag, (dictionary_vr(tag) or "").split(" or ")[0], Place())
        yield _told("technique", f"{tag:08X}", dictionary_description(tag), rule)
    for vr, tag in sorted(_examples().items()):
        yield _told("default", vr, "attributes that no table lists", rules.rule(tag, vr, Place()))
    if SAFE_PRIVATE in options:
        for entry in private.entries():
            place = f"({entry.group:04X},xx{entry.low:02X}) {entry.creator}"
            tag = entry.group << 16 | 0x1000 | entry.low
            yield _told("private", place, entry.source, rules.private(entry.creator, tag, entry.vr))


def _told(part: str, subject: str, name: str, rule: Rule) -> Told:
    return Told(part, subject, name, str(rule.action), rule.reason)


def _vr_by_name(name: str) -> str:
    """The VR of an attribute that is younger than pydicom's dictionary."""
    return "SQ" if "Sequence" in name else "DT" if "DateTime" in name else "LO"


def _examples() -> dict[str, int]:
    """For each VR one attribute of which nothing special is known."""
    special = {*rows_by_tag(), *TECHNICAL, *codes.PARTS, *MEASURED}
    found: dict[str, int] = {}
    for tag, (vr, *_) in sorted(DicomDictionary.items()):
        is_plain = tag >= FIRST_TAG and tag not in special and tag >> 24 not in (0x50, 0x60, 0x7F, 0xFF)
        if is_plain and " or " not in vr:
            found.setdefault(vr, tag)
    return found
