"""What the index keeps beside the clean header, read before the header loses it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from carina.deid.pseudonyms import ProjectKeys, device_key, shift_date
from carina.dicom.makers import maker
from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance
from carina.model.instance import Facts, Instrument, RawInstance, Source

OLDEST = 90
"""Ages above are told as this one: so few people are older that an age points at them."""

_AGE = re.compile(r"(\d{3})([DWMY])", re.ASCII)
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_DEVICE_SERIAL_NUMBER = 0x00181000
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}


def facts_of(dataset: Dataset, keys: ProjectKeys, days: int) -> Facts:
    """The facts of an instance; `days` is its person's shift."""
    sex = text(dataset, "PatientSex").upper()
    manufacturer = text(dataset, "Manufacturer")
    serial, station = text(dataset, "DeviceSerialNumber"), text(dataset, "StationName")
    study_date = text(dataset, "StudyDate")
    return Facts(
        sex=sex if sex in ("F", "M", "O") else None,
        age_years=_age(dataset, study_date),
        manufacturer=maker(manufacturer) if manufacturer else None,
        device=device_key(keys, manufacturer, serial, station) if serial or station else None,
        study_date=shift_date(study_date, days),
    )


def instrument_of(raw: RawInstance, source: Source, instruments: Sequence[Instrument]) -> str | None:
    """The identifier of the first instrument all of whose marks the instance has; None if there is none.

    The marks themselves go no further. Raises `InvalidInstance` for bytes that cannot be read.
    """
    if not instruments:
        return None
    with quiet():
        try:
            header = read_partial(BytesIO(raw.data), lambda tag, vr, length: tag > _DEVICE_SERIAL_NUMBER, force=True)
            station, serial = text(header, "StationName"), text(header, "DeviceSerialNumber")
        except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
            raise InvalidInstance("The DICOM file is damaged: its header cannot be read.") from None
    sender = source.name if source.kind == "aet" else ""
    for item in instruments:
        marks = ((item.station_name, station), (item.device_serial_number, serial), (item.ae_title, sender))
        if all(wanted in ("", found) for wanted, found in marks):
            return item.identifier
    return None


def text(dataset: Dataset, keyword: str) -> str:
    """The text of an attribute at the root, without blanks around it; empty unless it is a single text."""
    value = dataset.get(keyword)
    return value.strip(" \0") if isinstance(value, str) else ""


def whole_years(birth: date, then: date) -> int | None:
    """Age in whole years, `OLDEST` at most; None if `then` is before birth or no one lived so long."""
    years = then.year - birth.year - ((then.month, then.day) < (birth.month, birth.day))
    return min(years, OLDEST) if 0 <= years <= 130 else None


def _age(dataset: Dataset, study_date: str) -> int | None:
    found = _AGE.fullmatch(text(dataset, "PatientAge"))
    if found is not None:
        return min(int(int(found[1]) / _PER_YEAR[found[2]]), OLDEST)
    birth, then = _day(text(dataset, "PatientBirthDate")), _day(study_date)
    return whole_years(birth, then) if birth and then else None


def _day(value: str) -> date | None:
    found = _DATE.fullmatch(value)
    try:
        return date(*(int(part) for part in found.groups())) if found else None
    except ValueError:
        return None
