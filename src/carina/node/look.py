"""What a researcher sees of a dataset: its studies, the series of one, and a series as slices in their order in space.

Everything is asked within a grant, so nothing outside of the dataset is shown or counted. UIDs are the pseudonymous
ones, dates the shifted ones: the archive has no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from carina.deid.words.texts import REMOVED
from carina.dicom.json import values_of
from carina.dicom.levels import tag_of
from carina.dicom.makers import OTHER
from carina.dicom.query import Match, Query
from carina.dicom.voi import ROBUST
from carina.dicom.windows import USUAL, Preset, tells_apart
from carina.errors import NotFound
from carina.node.authorise import Grant
from carina.node.documents import VIDEO, document_of, is_video
from carina.node.overlays import NO_SOURCE, Overlay, overlays
from carina.node.retrieve import find, place
from carina.node.shown import OWN, SOME_DAMAGED, Shown, Values, shown
from carina.node.site import Node
from carina.node.stack import Slice, Stack, stacked
from carina.storage.locate import Located
from carina.storage.search import Found

_NO_MAKER = ("", OTHER)


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
class Look:
    """A series to look at. `plane`: axial, coronal, sagittal, oblique, or empty; `usual`: name of the first window.

    letters   at the top, right, bottom and left: of each slice, or one for all of them, or none
    spacing   mm per row and per column, or None; `aspect`: of a pixel, height by width
    kind      grey, colour or none
    rate      frames a second of a film, or None
    values    what stored values mean, where browsers may have them
    notes     sentences of what is missing or odd
    document  pdf, video, report or waveform where there are no pictures, and the `sentence` that says so
    first     an instance of it, of which the header can be shown
    """

    series: SeriesSeen
    slices: tuple[Slice, ...]
    plane: str
    windows: tuple[Preset, ...]
    usual: str
    letters: tuple[tuple[str, str, str, str], ...] = ()
    spacing: tuple[float, float] | None = None
    aspect: float = 1.0
    kind: str = "grey"
    rate: float | None = None
    values: Values | None = None
    notes: tuple[str, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    document: str = ""
    sentence: str = ""
    first: str = ""


def studies(node: Node, grant: Grant, limit: int, offset: int = 0, wanted: Sequence[Match] = ()) -> list[StudySeen]:
    """The dataset's studies that are as wanted, from `offset` on, at most `limit`, by date."""
    found = find(node, grant, Query("study", tuple(wanted), include_all=True, limit=limit, offset=offset))
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
    instances = place(node, grant, seen.uid, series.uid)
    stack = stacked(node, instances)
    if not stack.slices:
        first = instances[0]
        document, sentence = VIDEO if is_video(first.transfer_syntax_uid) else document_of(first.sop_class_uid)
        return Look(series, (), "", (), "", kind="none", document=document, sentence=sentence, first=first.uid)
    seen_as = as_shown(node, instances, stack)
    laid, lost = overlays(node, grant, seen.uid, series.uid, stack.system)
    notes = (*stack.notes, *seen_as.notes, *((NO_SOURCE,) if lost else ()))
    return Look(
        series,
        stack.slices,
        stack.plane,
        seen_as.windows,
        _usual(series, seen_as.windows),
        letters=stack.letters,
        spacing=stack.spacing,
        aspect=stack.aspect,
        kind=seen_as.kind,
        rate=seen_as.rate,
        values=seen_as.values if stack.alike else None,
        notes=notes,
        overlays=laid,
        first=instances[0].uid,
    )


def as_shown(node: Node, instances: Sequence[Located], stack: Stack) -> Shown:
    """Windows and values of the slice in the middle; of another where that one cannot be read."""
    by_uid: dict[str, Located] = {one.uid: one for one in instances}
    count = len(stack.slices)
    for at in dict.fromkeys((count // 2, count // 4, 3 * count // 4, 0, count - 1)):
        one = stack.slices[at]
        found = shown(node, by_uid[one.uid], one.frame)
        if found.kind != "none":
            return found if at == count // 2 else replace(found, notes=(*found.notes, SOME_DAMAGED))
    middle = stack.slices[count // 2]
    return shown(node, by_uid[middle.uid], middle.frame)


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: the numbers of its slices, from 0; its tiles are squares of `tile` pixels."""

    slices: tuple[int, ...]
    columns: int
    rows: int
    tile: int
    page: int
    pages: int


def sheet_of(count: int, page: int = 0) -> Sheet:
    """30 slices at most: evenly chosen, or those of a page, from 1."""
    pages = max(1, -(-count // 30))
    at = min(max(page, 1), pages)
    if page:
        chosen = tuple(range((at - 1) * 30, min(count, at * 30)))
    else:
        chosen = tuple(range(count)) if count <= 30 else tuple(round(n * (count - 1) / 29) for n in range(30))
    columns = max(1, min(6, len(chosen)))
    return Sheet(chosen, columns, max(1, -(-len(chosen) // columns)), 160, at, pages)


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


def _usual(series: SeriesSeen, windows: Sequence[Preset]) -> str:
    """The header's window, else the preset of the body part; one of the range of values where that shows nothing."""
    named = {one.name: one for one in windows}
    if "full" not in named:
        return OWN.name if OWN.name in named else ""
    told = next((one for one in windows if one.name.startswith(("own-", "table-"))), None)
    wanted = told or named.get(USUAL.get((series.modality, series.body_part), ""))
    if wanted is not None and tells_apart(wanted, named["full"]):
        return OWN.name if told else wanted.name
    return ROBUST if ROBUST in named else "full"
