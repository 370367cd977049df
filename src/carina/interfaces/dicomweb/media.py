"""Media types and what a client accepts, RFC 9110 section 12.5.1 and PS3.18 section 8.7."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from starlette.requests import Request

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
OCTETS = "application/octet-stream"
RELATED = "multipart/related"
ANY = "*/*"
DEFAULT_SYNTAX = "1.2.840.10008.1.2.1"  # Explicit VR Little Endian: what is meant where none is named

_JPEG, _JLS, _JP2, _JPX, _JPHC = "image/jpeg", "image/jls", "image/jp2", "image/jpx", "image/jphc"
_IMAGES = {
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.57": _JPEG,
    "1.2.840.10008.1.2.4.70": _JPEG,
    "1.2.840.10008.1.2.4.80": _JLS,
    "1.2.840.10008.1.2.4.81": _JLS,
    "1.2.840.10008.1.2.4.90": _JP2,
    "1.2.840.10008.1.2.4.91": _JP2,
    "1.2.840.10008.1.2.4.92": _JPX,
    "1.2.840.10008.1.2.4.93": _JPX,
    "1.2.840.10008.1.2.4.201": _JPHC,
    "1.2.840.10008.1.2.4.202": _JPHC,
    "1.2.840.10008.1.2.4.203": _JPHC,
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""The media type of a compressed frame, PS3.18 table 8.7.3-5."""

MADE = {_JLS: "1.2.840.10008.1.2.4.80", _JP2: "1.2.840.10008.1.2.4.90", "image/dicom-rle": "1.2.840.10008.1.2.5"}
"""The transfer syntax in which frames are compressed for who asks for one of these; nothing is lost."""


@dataclass(frozen=True)
class Media:
    """A media type or range, with its parameters; names in small letters."""

    type: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def inner(self) -> str:
        """What is asked for: of a multipart answer, the type of its parts."""
        if self.type in (RELATED, "multipart/*"):
            return self.parameters.get("type", ANY).lower()
        return self.type

    @property
    def multipart(self) -> bool:
        """Whether the answer is in parts; a range such as `*/*` leaves that open and is taken to be."""
        return self.type in (RELATED, "multipart/*")

    @property
    def syntax(self) -> str:
        """The transfer syntax asked for; `*` is the stored one."""
        wanted = self.parameters.get("transfer-syntax")
        return wanted if wanted is not None else "*" if self.inner == ANY else DEFAULT_SYNTAX


def parse_media(text: str) -> Media:
    """`multipart/related; type="application/dicom"; boundary=x` as `Media`."""
    name, *rest = _split(text, ";")
    parameters = {}
    for item in rest:
        key, _, value = item.partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"')
    return Media(name.strip().lower(), parameters)


def accepted(request: Request) -> list[Media]:
    """What the client accepts, best first: the parameter `accept` if there is one (8.3.3.1), else the header."""
    named = request.query_params.get("accept") if request.scope["query_string"] else None
    return list(ranked(named or request.headers.get("accept") or ANY))


@lru_cache(maxsize=256)
def ranked(text: str) -> tuple[Media, ...]:
    """The media ranges of a list, best first; those that are not wanted left out."""
    ranges = [parse_media(item) for item in _split(text, ",") if item.strip()]
    weighed = [(_weight(item), item) for item in ranges]
    return tuple(item for weight, item in sorted(weighed, key=lambda pair: -pair[0]) if weight > 0)


def _weight(media: Media) -> float:
    try:
        return float(media.parameters.get("q", "1"))
    except ValueError:
        return 0.0


def _split(text: str, mark: str) -> Iterator[str]:
    """Parts between marks that are not in quotes."""
    quoted, start = False, 0
    for place, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif letter == mark and not quoted:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def fits(wanted: str, offered: str) -> bool:
    """Whether a range such as `image/*` covers a type."""
    return wanted in (ANY, offered) or (wanted.endswith("/*") and offered.startswith(wanted[:-1]))


@dataclass(frozen=True)
class FrameAnswer:
    """How a frame is given: as stored, without compression, or newly compressed in the transfer syntax `made`; as which
    media type; in parts or alone."""

    stored: bool
    media: str
    multipart: bool
    made: str | None = None


def choose_frames(
    ranges: Iterable[Media],
    syntax: str,
    *,
    native_possible: bool,
    alone: bool,
    can_make: Callable[[str], bool] = lambda _: False,
) -> FrameAnswer | None:
    """How to give frames that are stored in `syntax`; None when the client accepts nothing that can be given.

    native_possible   whether they can be decompressed
    alone             whether a single frame is asked for, so that the answer need not have parts
    can_make          whether they can be compressed in a transfer syntax
    """
    compressed = _IMAGES.get(syntax)
    for media in ranges:
        if not media.multipart and media.type != ANY and not alone:
            continue
        multipart = media.multipart or media.type == ANY
        as_stored = compressed is not None and media.syntax in ("*", syntax)
        if compressed is not None and as_stored_image(media, compressed, syntax):
            return FrameAnswer(True, compressed, multipart)
        made = MADE.get(media.inner)
        if made is not None and media.parameters.get("transfer-syntax", made) == made and can_make(made):
            return FrameAnswer(False, media.inner, multipart, made)
        if not fits(media.inner, OCTETS):
            continue
        if as_stored:
            return FrameAnswer(True, OCTETS, multipart)
        if native_possible and media.syntax in ("*", DEFAULT_SYNTAX):
            return FrameAnswer(False, OCTETS, multipart)
    return None


def as_stored_image(media: Media, compressed: str, syntax: str) -> bool:
    """Whether `media` asks for the stored image type; with none named, a type's every syntax is meant."""
    return fits(media.inner, compressed) and media.parameters.get("transfer-syntax", "*") in ("*", syntax)
