"""The images of one dataset at its node, under a permit: DICOMweb (PS3.18) for people who want datasets and volumes.

`Client.open` → `Archive` → `Study` → `Series` → pydicom datasets, or a `Volume`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar
from urllib.parse import quote

import httpx2

from carina.dicom.quiet import quiet
from carina.errors import (
    BadInput,
    BadSettings,
    CarinaError,
    InvalidInstance,
    NotAllowed,
    NotFound,
    NotSignedIn,
    PermitDenied,
    Unreachable,
)
from carina.interfaces.client.connection import Connection, origin, read, stranger
from carina.interfaces.dicomweb.multipart import parts

if TYPE_CHECKING:
    from pydicom import Dataset

    from carina.interfaces.client.reading import Units
    from carina.interfaces.client.segmentation import Segmentation
    from carina.interfaces.client.volume import Volume

DICOM_JSON = "application/dicom+json"
DICOM_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
LARGEST_INSTANCE = 1 << 31  # bytes
PAGE = 1000  # what is asked for at once in a search

T = TypeVar("T")


class Arrival(TypedDict):
    """How many images come, and from where: the node's address and the dataset's IRI."""

    size: int
    node: str
    dataset: str


def enter(url: str, code: str) -> Archive:
    """Show a node at `url` the one-time code of the hub. Raises `PermitDenied` in the node's words."""
    address = origin(url).join(httpx2.URL(url.strip()).path.rstrip("/") + "/")
    connection = Connection(address, "node")
    try:
        with _in_words_of_the_node():
            value = connection.post("api/enter", {"code": code})
        token, dataset, expires = read(lambda: [str(value[name]) for name in ("token", "dataset", "expires")], "node")
    except BaseException:
        connection.close()
        raise
    connection.token = token
    return Archive(connection, dataset, expires)


class Archive:
    """One dataset at its node. `dataset` is its IRI; `expires`, UTC, is when the visit ends, if the permit lasts."""

    def __init__(self, connection: Connection, dataset: str, expires: str) -> None:
        self._connection = connection
        self.dataset = dataset
        self.expires = expires

    @property
    def url(self) -> str:
        """The node's address."""
        return str(self._connection.address).rstrip("/")

    @property
    def dicomweb(self) -> str:
        """The address of the dataset's DICOMweb service, for other clients; it needs the visit's token."""
        return f"{self.url}/{self._path()}"

    @property
    def token(self) -> str | None:
        """What the client shows the node, as `Authorization: Bearer`; a secret."""
        return self._connection.token

    def studies(self) -> list[Study]:
        """All studies of the dataset."""
        return [
            Study(
                uid=_value(row, "0020000D"),
                patient=_value(row, "00100020"),
                date=_value(row, "00080020"),
                description=_value(row, "00081030"),
                modalities=tuple(_values(row, "00080061")),
                archive=self,
            )
            for row in self._search("studies", ("StudyDescription",))
        ]

    def series(self, study: str) -> list[Series]:
        """The series of a study, by their number."""
        rows = self._search(f"studies/{_uid(study)}/series", ("BodyPartExamined",))
        found = [
            Series(
                uid=_value(row, "0020000E"),
                study=study,
                modality=_value(row, "00080060"),
                number=_number(row, "00200011"),
                description=_value(row, "0008103E"),
                body_part=_value(row, "00180015"),
                size=_number(row, "00201209") or 0,
                archive=self,
            )
            for row in rows
        ]
        return sorted(found, key=lambda series: (series.number is None, series.number or 0, series.uid))

    def instances(self, study: str, series: str) -> list[Instance]:
        """The instances of a series, by their number; which says nothing of their place in space."""
        rows = self._search(f"studies/{_uid(study)}/series/{_uid(series)}/instances", ())
        found = [
            Instance(
                uid=_value(row, "00080018"),
                study=study,
                series=series,
                number=_number(row, "00200013"),
                rows=_number(row, "00280010"),
                columns=_number(row, "00280011"),
                archive=self,
            )
            for row in rows
        ]
        return sorted(found, key=lambda instance: (instance.number is None, instance.number or 0, instance.uid))

    def retrieve(self, study: str, series: str | None = None, instance: str | None = None) -> Iterator[Dataset]:
        """The DICOM objects of a study, series or instance, one after the other, as the node stores them.

        Raises `PermitDenied` when the permit is not for `retrieve`, or no longer.
        """
        names = (("studies", study), ("series", series), ("instances", instance))
        place = "".join(f"/{name}/{_uid(uid)}" for name, uid in names if uid is not None)
        parse = _parser()
        with (
            _in_words_of_the_node(),
            self._connection.opened("GET", f"{self._path()}{place}", accept=DICOM_FILES) as response,
        ):
            for data in _files(response):
                yield parse(data)

    def close(self) -> None:
        """End the visit and close the connections; the token is worth nothing afterwards."""
        self._connection.leave(f"{self._place()}/leave")
        self._connection.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<carina.Archive of {self.dataset} at {self.url}>"

    def _repr_html_(self) -> str:
        from carina.interfaces.client.tables import archive_table

        return archive_table(self)

    def _place(self) -> str:
        return f"datasets/{quote(self.dataset, safe=':')}"

    def _path(self) -> str:
        return f"{self._place()}/dicom-web"

    def _search(self, place: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
        """All rows of a search, page by page (PS3.18 section 8.3.4.4)."""
        found: list[dict[str, Any]] = []
        while True:
            pairs = [("limit", str(PAGE)), ("offset", str(len(found))), *(("includefield", name) for name in fields)]
            page = self._page(place, pairs)
            found += page
            if len(page) < PAGE:
                return found

    def _page(self, place: str, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
        address = f"{self._path()}/{place}"
        with _in_words_of_the_node(), self._connection.opened("GET", address, pairs, accept=DICOM_JSON) as response:
            response.read()
            return read(lambda: _rows(response), "node")


@dataclass(frozen=True)
class Study:
    """A study. `patient` is a pseudonym, `date` (YYYYMMDD) is moved by as many days as the patient's others."""

    uid: str
    patient: str
    date: str
    description: str
    modalities: tuple[str, ...]
    archive: Archive = field(repr=False, compare=False)

    @property
    def series(self) -> list[Series]:
        """Its series, by their number; asked of the node each time."""
        return self.archive.series(self.uid)

    @property
    def segmentations(self) -> list[Series]:
        """Its series of segmentations and structure sets, for `Series.segmentation`; asked of the node each time."""
        return [series for series in self.series if series.modality in {"SEG", "RTSTRUCT"}]

    def _repr_html_(self) -> str:
        from carina.interfaces.client.tables import study_table

        return study_table([self])


@dataclass(frozen=True)
class Series:
    """A series. `size`: its number of instances."""

    uid: str
    study: str
    modality: str
    number: int | None
    description: str
    body_part: str
    size: int
    archive: Archive = field(repr=False, compare=False)

    @property
    def instances(self) -> list[Instance]:
        """Its instances, by their number; asked of the node each time."""
        return self.archive.instances(self.study, self.uid)

    def datasets(self) -> list[Dataset]:
        """Its DICOM objects with their pixel data, in the node's order."""
        return list(self.archive.retrieve(self.study, self.uid))

    def volume(self, units: Units | None = None) -> Volume:
        """Its images as one block, slices in the order of their positions; what is none is refused with the reason.

        units  `SUV` (PET, by body weight), `stored` (before the rescale), or those of the images
        """
        from carina.interfaces.client.reading import volume_of

        return volume_of(self._arriving(), units, **self._origin())

    def volumes(self, units: Units | None = None) -> list[Volume]:
        """As `volume`, one for each time, echo or b-value that lies at the same places, each with its `key`."""
        from carina.interfaces.client.reading import volumes_of

        return volumes_of(self._arriving(), units, **self._origin())

    def segmentation(
        self, volume: Volume | None = None, *, own_grid: bool = False, instance: str | None = None
    ) -> Segmentation:
        """What a SEG or RTSTRUCT of this series marks, on the grid of `volume`, or of the images that it refers to.

        own_grid  on the grid of its own frames, without any image
        instance  SOP Instance UID, of a series with several

        Raises `NotFound` when the dataset does not have those images, `InvalidInstance` when it does not lie on them.
        """
        from carina.interfaces.client.marked import segmentation_in

        return segmentation_in(self, volume, own_grid, instance)

    def _arriving(self) -> Iterator[Dataset]:
        return self.archive.retrieve(self.study, self.uid)

    def _origin(self) -> Arrival:
        return {"size": self.size, "node": self.archive.url, "dataset": self.archive.dataset}

    def _repr_html_(self) -> str:
        from carina.interfaces.client.tables import series_table

        return series_table([self])


@dataclass(frozen=True)
class Instance:
    """One DICOM object; `rows` and `columns` of its image, if it has one."""

    uid: str
    study: str
    series: str
    number: int | None
    rows: int | None
    columns: int | None
    archive: Archive = field(repr=False, compare=False)

    def dataset(self) -> Dataset:
        """The object with its pixel data."""
        found = list(self.archive.retrieve(self.study, self.series, self.uid))
        if len(found) != 1:
            raise NotFound("The node gave no such instance.")
        return found[0]


@contextmanager
def _in_words_of_the_node() -> Iterator[None]:
    """A refusal (403) is `PermitDenied` whatever its kind: at a node only the permit counts."""
    try:
        yield
    except (PermitDenied, NotSignedIn):
        raise
    except NotAllowed as error:
        raise PermitDenied(error.message, error.hint, "") from None


def _parser() -> Callable[[bytes], Dataset]:
    """What reads a DICOM file. `BadSettings` when pydicom is not installed, before anything is fetched."""
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ModuleNotFoundError as error:
        raise images_missing(error) from None

    def parse(data: bytes) -> Dataset:
        try:
            with quiet():
                return dcmread(BytesIO(data))
        except (InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError):
            raise InvalidInstance("What the node gave cannot be read as DICOM.", "Tell its institution.") from None

    return parse


def images_missing(error: ModuleNotFoundError) -> BadSettings:
    """Images need more than the base install."""
    return BadSettings(
        f"Images need a part that is not installed ({error.name}).", "Install it with: pip install 'carina[images]'"
    )


def _files(response: httpx2.Response) -> Iterator[bytes]:
    """The parts of an answer as they come (RFC 2387); one that breaks off is an error, not a shorter series."""
    header = Message()
    header["Content-Type"] = response.headers.get("content-type", "")
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/related" or boundary is None:
        raise stranger("node")
    found = aiter(parts(_given(response.iter_bytes()), boundary, LARGEST_INSTANCE))
    while True:
        try:
            part = _at_once(anext(found))
        except StopAsyncIteration:
            return
        except BadInput:
            raise Unreachable("The node broke the images off.", "Try again.") from None
        if part.data is None:
            raise InvalidInstance("An object of the series is too large to be taken in.")
        yield part.data


async def _given(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _at_once(awaited: Awaitable[T]) -> T:
    """The result of something that never waits, since its bytes come from a blocking iterator."""
    try:
        awaited.__await__().send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise CarinaError("Reading the node's answer waited for something.")


def _rows(response: httpx2.Response) -> list[dict[str, Any]]:
    value = response.json() if response.content else []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError("no list of objects")
    return value


def _values(row: dict[str, Any], tag: str) -> list[str]:
    """An attribute's values in a row of DICOM JSON (PS3.18 annex F.2)."""
    values = row.get(tag, {}).get("Value", [])
    return [str(value) for value in values if value is not None and not isinstance(value, dict)]


def _value(row: dict[str, Any], tag: str) -> str:
    return next(iter(_values(row, tag)), "")


def _number(row: dict[str, Any], tag: str) -> int | None:
    text = _value(row, tag)
    return int(text) if text.lstrip("-").isdecimal() else None


def _uid(text: str) -> str:
    return quote(text, safe="")
