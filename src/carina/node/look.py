"""What a researcher sees of a dataset: its studies, the series of one, and a series as slices in their order in space.

Everything is asked within a grant, so nothing outside of the dataset is shown or counted. UIDs are the pseudonymous
ones, dates the shifted ones: the archive has no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from carina.deid.words.texts import REMOVED
from carina.dicom.geometry import Position, order_of, position_of
from carina.dicom.json import values_of
from carina.dicom.levels import tag_of
from carina.dicom.makers import OTHER
from carina.dicom.parse import parse
from carina.dicom.query import Match, Query
from carina.dicom.rendering import value_range
from carina.dicom.windows import PRESETS, USUAL, Preset, whole_range
from carina.errors import InvalidInstance, NotFound
from carina.node.authorise import Grant
from carina.node.retrieve import find, find_instances, read
from carina.node.site import Node
from carina.storage.index import StoredInstance
from carina.storage.search import Found

MOST_SLICES = 20_000  # of one series that are looked at
_NO_MAKER = ("", OTHER)
OWN = Preset("own", "As the image says", 0, 0)
"""The window that the header names; without one, each slice's own range."""


@dataclass(frozen=True)
class SeriesSeen:
    """One series. `images`: instances that are members of the dataset."""

    uid: str
    modality: str
    number: int | None
    description: str
    body_part: str
    images: int
    maker: str


@dataclass(frozen=True)
class StudySeen:
    """One study with its series. `date`: YYYYMMDD, shifted; `patient`: a pseudonym."""

    uid: str
    patient: str
    date: str
    description: str
    sex: str
    age: str
    modalities: tuple[str, ...]
    series: tuple[SeriesSeen, ...]

    @property
    def images(self) -> int:
        """Instances of all its series."""
        return sum(one.images for one in self.series)

    @property
    def body_parts(self) -> tuple[str, ...]:
        """Each once, in order of the series."""
        return tuple(dict.fromkeys(one.body_part for one in self.series if one.body_part))


@dataclass(frozen=True)
class Slice:
    """One frame of one instance, and where it lies."""

    uid: str
    frame: int
    position: Position | None


@dataclass(frozen=True)
class Look:
    """A series to look at. `plane`: axial, coronal, sagittal, oblique, or empty; `usual`: name of the first window."""

    series: SeriesSeen
    slices: tuple[Slice, ...]
    plane: str
    windows: tuple[Preset, ...]
    usual: str


def studies(node: Node, grant: Grant, limit: int, offset: int = 0) -> list[StudySeen]:
    """The dataset's studies from `offset` on, at most `limit`, by date."""
    found = find(node, grant, Query("study", include_all=True, limit=limit, offset=offset))
    return _with_series(node, grant, found)


def study(node: Node, grant: Grant, uid: str) -> StudySeen:
    """One study, or `NotFound`, also when it is not in the dataset."""
    found = _with_series(node, grant, find(node, grant, Query("study", (_is("StudyInstanceUID", [uid]),))))
    if not found:
        raise NotFound("The dataset has no such study.", "Choose one from the dataset's list.")
    return found[0]


def look(node: Node, grant: Grant, seen: StudySeen, series_uid: str) -> Look:
    """A series of a study as slices, by position, else by number. `NotFound` when the study has no such series."""
    series = next((one for one in seen.series if one.uid == series_uid), None)
    if series is None:
        raise NotFound("The study has no such series.", "Choose one from the study's page.")
    instances = [one for one in find_instances(node, grant, seen.uid, series.uid) if one.frames]
    slices, plane = in_order(instances)
    windows = _windows(node, series, instances, slices)
    return Look(series, tuple(slices), plane, windows, _usual(series, instances, windows))


def in_order(instances: Sequence[StoredInstance]) -> tuple[list[Slice], str]:
    """Every frame, by position along the slices' normal when all have one and lie parallel, else as numbered."""
    slices = [
        Slice(one.uid, frame, position_of(one.header, frame))
        for one in instances
        for frame in range(1, min(one.frames, MOST_SLICES) + 1)
    ][:MOST_SLICES]
    order, plane = order_of([one.position for one in slices])
    return [slices[number] for number in order], plane


def _with_series(node: Node, grant: Grant, found: Sequence[Found]) -> list[StudySeen]:
    if not found:
        return []
    wanted = Query("series", (_is("StudyInstanceUID", [one.study_uid for one in found]),), include_all=True)
    of_study: dict[str, list[SeriesSeen]] = {}
    for row in find(node, grant, wanted):
        of_study.setdefault(row.study_uid, []).append(_series(row))
    return [_study(one, tuple(of_study.get(one.study_uid, ()))) for one in found]


def _study(found: Found, series: tuple[SeriesSeen, ...]) -> StudySeen:
    text = partial(_text, found.header)
    return StudySeen(
        uid=found.study_uid,
        patient=found.patient,
        date=text("StudyDate"),
        description=text("StudyDescription"),
        sex=text("PatientSex"),
        age=text("PatientAge"),
        modalities=tuple(dict.fromkeys(one.modality for one in series)),
        series=series,
    )


def _series(found: Found) -> SeriesSeen:
    text = partial(_text, found.header)
    number = text("SeriesNumber")
    images = text("NumberOfSeriesRelatedInstances")
    return SeriesSeen(
        uid=str(found.series_uid),
        modality=text("Modality"),
        number=int(number) if number.lstrip("-").isdecimal() else None,
        description=text("SeriesDescription"),
        body_part=text("BodyPartExamined").upper(),
        images=int(images) if images.isdecimal() else 0,
        maker=" ".join(part for part in (text("Manufacturer"), text("ManufacturerModelName")) if part not in _NO_MAKER),
    )


def _text(header: dict[str, Any], keyword: str) -> str:
    """The element's first value; nothing where de-identification took it away."""
    value = str(next(iter(values_of(header, tag_of(keyword))), "")).strip()
    return "" if value == REMOVED else value


def _is(keyword: str, values: Sequence[str]) -> Match:
    return Match(tag_of(keyword), "UI", "one-of", tuple(values))


def _windows(
    node: Node, series: SeriesSeen, instances: Sequence[StoredInstance], slices: Sequence[Slice]
) -> tuple[Preset, ...]:
    """What a person can choose: nothing for colour. The whole range is that of the slice in the middle."""
    if not slices:
        return ()
    middle = slices[len(slices) // 2]
    instance = next(one for one in instances if one.uid == middle.uid)
    try:
        ends = value_range(parse(read(node, instance)), middle.frame)
    except (InvalidInstance, NotFound):
        return (OWN,)
    return () if ends is None else (OWN, *PRESETS.get(series.modality, ()), whole_range(*ends))


def _usual(series: SeriesSeen, instances: Sequence[StoredInstance], windows: Sequence[Preset]) -> str:
    names = [one.name for one in windows]
    says = any("00281050" in one.header or "00283010" in one.header for one in instances)
    wanted = OWN.name if says else USUAL.get((series.modality, series.body_part), "full")
    return wanted if wanted in names else OWN.name
