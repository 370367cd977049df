"""What the pages of a series show, outside and inside: the slice, window and sheet that an address names, and what the
script of the quick look needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any
from urllib.parse import quote, urlencode

from carina.dicom.windows import Preset
from carina.errors import CarinaError, NotFound
from carina.interfaces.language import gettext as _
from carina.interfaces.web import imagewords
from carina.node.authorise import Grant
from carina.node.headers import header_rows
from carina.node.look import Look, sheet_of
from carina.node.shown import OWN
from carina.node.site import Node
from carina.node.stack import Slice

BY_HAND = "custom"
"""The name of a window that is none of the look's: `center` and `width` of the address say which."""
MOST_DRAWN = 12  # segments of which outlines are drawn without asking
MOST_ROWS = 3000  # of a header on one page


@dataclass(frozen=True)
class Option:
    """A window to choose, by its name and as people read it."""

    name: str
    label: str


def quick_look(looked: Look, base: str, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What the templates show: the slice and window that the address names, or the middle and the usual.

    base    where pictures, values and the rest of this series are
    path    the study's page
    asked   `slice`, from 1; `window`, a name; `center` and `width` for one by hand; `mosaic` and `page`
    """
    count = len(looked.slices)
    number = _number(asked.get("slice", ""), count // 2 + 1, count)
    window, center, width = _window(looked, asked)
    one = looked.slices[number - 1] if count else None
    kept = {"series": looked.series.uid, "slice": str(number), **({"window": window} if window else {})}
    by_hand = {"center": center, "width": width} if window == BY_HAND else {}
    title = looked.series.description or looked.series.modality
    return {
        "series": looked.series,
        "title": title,
        "count": count,
        "number": number,
        "drawable": looked.kind != "none",
        "uid": one.uid if one else looked.first,
        "where": where(looked, one) if one else "",
        "windows": [Option(each.name, _label(each)) for each in looked.windows],
        "window": window,
        "center": center,
        "width": width,
        "src": picture(base, one, window, center, width) if one else "",
        "letters": _letters(looked, number - 1) if count else ("",) * 4,
        "overlays": looked.overlays,
        "drawn": sum(len(overlay.segments) for overlay in looked.overlays) <= MOST_DRAWN,
        "notes": looked.notes,
        "document": looked.sentence,
        "rate": round(looked.rate) if looked.rate else None,
        "mosaic": f"{path}?{urlencode(kept | by_hand | {'mosaic': '1'})}",
        "one": f"{path}?{urlencode(kept | by_hand)}",
        "here": list((kept | by_hand).items()),
        "sheet": _sheet(looked, base, path, kept, asked) if asked.get("mosaic") == "1" and count > 1 else None,
        "data": _data(looked, base),
    }


def where(looked: Look, one: Slice) -> str:
    """`axial, −123.5 mm`; nothing when the images do not say where they lie."""
    if one.position is None or not looked.plane:
        return ""
    return f"{_(looked.plane)}, {imagewords.millimetres(one.position.distance)}"


def picture(base: str, one: Slice, window: str, center: str = "", width: str = "") -> str:
    """Where the node draws a slice."""
    shape = ",linear-exact" if window == BY_HAND and float(width) < 1 else ""  # PS3.3 section C.11.2.1.2.1
    name = f"{center},{width}{shape}" if window == BY_HAND else window
    asked = f"?window={quote(name, safe=',')}" if name else ""
    return f"{base}/frames/{one.uid}/{one.frame}.png{asked}"


def _number(text: str, usual: int, count: int) -> int:
    """A slice's number, within the series."""
    number = int(text) if text.isdecimal() and 0 < len(text) < 7 else usual
    return min(max(number, 1), max(count, 1))


def _window(looked: Look, asked: Mapping[str, str]) -> tuple[str, str, str]:
    """Name, centre and width of the window that the address names, or of the usual one."""
    names = {one.name: one for one in looked.windows}
    center, width = (_amount(asked.get(name, "")) for name in ("center", "width"))
    if asked.get("window") == BY_HAND and names and center and width and float(width) > 0:
        return BY_HAND, center, width
    one = names.get(asked.get("window", "")) or names.get(looked.usual)
    if one is None:
        return "", "", ""
    numbers = one if one.width else names.get("own-1")
    return (one.name, _plain(numbers.center), _plain(numbers.width)) if numbers else (one.name, "", "")


def _amount(text: str) -> str:
    """A number as the pictures' address takes it; empty for anything else."""
    try:
        value = float(text) if 0 < len(text) <= 24 else float("nan")
    except ValueError:
        return ""
    return _plain(value) if isfinite(value) and abs(value) < 1e12 else ""


def _plain(value: float) -> str:
    return f"{float(f'{value:.9g}'):.9f}".rstrip("0").rstrip(".")


def _label(window: Preset) -> str:
    """A window in words; centre and width of those that are named by them."""
    plain = window.name == OWN.name or window.name.startswith(("table-", "suv-"))
    return _(window.label) if plain else imagewords.window_label(window)


def _letters(looked: Look, index: int) -> Sequence[str]:
    """Top, right, bottom, left of a slice."""
    if not looked.letters:
        return ("",) * 4
    return tuple(looked.letters[index if len(looked.letters) > 1 else 0])


def _sheet(looked: Look, base: str, path: str, kept: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, Any]:
    """A sheet of slices: some of all, evenly chosen, or page by page."""
    page = _number(asked.get("page", ""), 0, 10**6) if asked.get("page") else 0
    sheet = sheet_of(len(looked.slices), page)
    window = "" if kept.get("window", "") == BY_HAND else kept.get("window", "")
    query = {"window": window, **({"page": str(sheet.page)} if page else {})}
    plain = {name: value for name, value in kept.items() if name != "slice"}
    return {
        "src": f"{base}/mosaic.jpg?{urlencode(query)}",
        "address": f"{path}?{urlencode(plain | {'mosaic': '1'})}",
        "tiles": [
            {"number": slice_ + 1, "address": f"{path}?{urlencode(plain | {'slice': str(slice_ + 1)})}"}
            for slice_ in sheet.slices
        ],
        "columns": sheet.columns,
        "rows": sheet.rows,
        "width": sheet.columns * sheet.tile,
        "height": sheet.rows * sheet.tile,
        "page": sheet.page,
        "pages": sheet.pages,
        "all": bool(page),
    }


def _data(looked: Look, base: str) -> dict[str, Any]:
    """What the script needs to know.

    `slices`: index of the UID, frame, distance (mm) or None, index of the letters, how many frames follow each
    other so; for a series may have thousands of frames of one instance.
    """
    uids: dict[str, int] = {}
    letters = list(dict.fromkeys(tuple(one) for one in looked.letters))
    slices: list[list[Any]] = []
    for number, one in enumerate(looked.slices):
        at, distance = uids.setdefault(one.uid, len(uids)), None if one.position is None else one.position.distance
        which = letters.index(tuple(looked.letters[number])) if len(letters) > 1 else 0
        last = slices[-1] if slices else None
        if last and distance is None and last[2:4] == [None, which] and (last[0], last[1] + last[4]) == (at, one.frame):
            last[4] += 1
        else:
            slices.append([at, one.frame, None if distance is None else round(distance, 2), which, 1])
    values = None if looked.values is None else asdict(looked.values)
    windows = [{"name": one.name, "center": one.center, "width": one.width} for one in looked.windows]
    return {
        "base": base,
        "uid": looked.series.uid,
        "uids": list(uids),
        "slices": slices,
        "plane": _(looked.plane) if looked.plane else "",
        "letters": letters,
        "spacing": looked.spacing,
        "aspect": looked.aspect,
        "values": values,
        "windows": windows,
    }


@dataclass(frozen=True)
class Header:
    """Rows of a header that are shown, of `count`. `why_not`: error of a header that is not shown."""

    rows: Sequence[Any]
    count: int
    why_not: CarinaError | None = None


def header_shown(node: Node, grant: Grant, place: tuple[str, str, str], sought: str, *, whole: bool) -> Header:
    """The header of an instance, by the UIDs of its study, its series and its own; only rows with all of the words.

    whole  see `node.headers.header_rows`
    """
    try:
        rows = header_rows(node, grant, *place, whole=whole)
    except NotFound as error:
        return Header((), 0, error)
    words = sought.lower().split()
    found = [one for one in rows if all(word in _text(one) for word in words)]
    return Header(found[:MOST_ROWS], len(rows))


def _text(row: Any) -> str:
    return f"{row.tag[:4]},{row.tag[4:]} {row.tag} {row.keyword} {row.name} {row.value}".lower()
