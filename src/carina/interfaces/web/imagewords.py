"""The words of a node's pages about permits and images: last days, dates, persons, positions, windows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from carina.dicom.windows import Preset
from carina.interfaces.language import gettext as _
from carina.interfaces.language import mark
from carina.interfaces.web.words import day, decimal, fixed, number, plural, value_label
from carina.node.look import StudySeen

_SEXES = {"F": mark("female"), "M": mark("male"), "O": mark("other")}


def last_day(expires: datetime) -> date:
    """The last day of a permit, from the instant it ends."""
    return (expires - timedelta(microseconds=1)).date()


def dicom_day(text: str) -> str:
    """A DICOM date as people write it: `12 March 2019`; any other text as it is."""
    try:
        return day(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date())
    except ValueError:
        return text


def body_parts(codes: Iterable[str]) -> str:
    """`Chest, Abdomen`."""
    return ", ".join(value_label("body_part", code) for code in codes)


def study_title(study: StudySeen) -> str:
    """What a study is called: by its description, or by what it is of: `CT, SEG: Chest`."""
    if study.description:
        return study.description
    parts = body_parts(study.body_parts)
    return ": ".join(part for part in (", ".join(study.modalities), parts) if part) or _("Study")


def person(sex: str, age: str) -> str:
    """What a study says of the person: `female, 64 years`."""
    parts = [_(_SEXES[sex]) if sex in _SEXES else ""]
    if re.fullmatch(r"\d{3}[DWMY]", age):
        parts.append(_age(int(age[:3]), age[3]))
    return ", ".join(part for part in parts if part)


def _age(count: int, unit: str) -> str:
    match unit:
        case "Y":
            return plural(count, "year")
        case "M":
            return plural(count, "month")
        case "W":
            return plural(count, "week")
        case _:
            return plural(count, "day")


def millimetres(value: float) -> str:
    """A position: `−123.5 mm`."""
    return f"{fixed(round(value, 1) or 0.0, 1)} mm".replace("-", "\u2212")


def window_label(window: Preset) -> str:
    """A window as radiologists say it, by centre and width: `Lung (C −600, W 1 500)`."""
    return f"{_(window.label)} (C {_amount(window.center)}, W {_amount(window.width)})"


def _amount(value: float) -> str:
    if abs(value) >= 10 or float(value).is_integer():
        return number(round(value)).replace("-", "\u2212")
    text = decimal(value)
    return text if "e" in text else text.rstrip("0")
