"""What DICOMweb offers here: each resource with its method, its media types and its parameters.

Routes are made of these, the description of the service is, and `docs/conformance.md` lists them; a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from carina.interfaces.dicomweb.media import DICOM, DICOM_JSON, MADE, OCTETS

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
FRAMES = INSTANCE + "/frames/{frames}"

_FILES = (f'multipart/related; type="{DICOM}"',)
_OCTETS = (f'multipart/related; type="{OCTETS}"', OCTETS)
_PICTURES = ("image/jpeg", "image/png")
_FRAMES = (*_OCTETS, "image/jpeg", "image/jphc", "image/jpx", *sorted(MADE))
_SEARCH = (
    "includefield",
    "limit",
    "offset",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
    "{attribute}",
)
_DRAW = ("window", "viewport", "quality")
_URI = ("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax", "frameNumber")
_URI_DRAW = ("windowCenter", "windowWidth", "rows", "columns", "region", "imageQuality")


@dataclass(frozen=True)
class Resource:
    """One method of one address template.

    name        of the transaction, in the words of PS3.18
    media       types that an answer can have, the usual one first
    parameters  of the query; `accept` goes with each
    """

    path: str
    name: str
    media: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    method: str = "GET"


SEARCHES = tuple(
    Resource(path, f"Search for {what}", (DICOM_JSON,), _SEARCH)
    for path, what in (
        ("/studies", "Studies"),
        ("/series", "Series"),
        ("/instances", "Instances"),
        (f"{STUDY}/series", "Series of a Study"),
        (f"{STUDY}/instances", "Instances of a Study"),
        (f"{SERIES}/instances", "Instances of a Series"),
    )
)
OBJECTS = (
    Resource(STUDY, "Retrieve Study", _FILES),
    Resource(SERIES, "Retrieve Series", _FILES),
    Resource(INSTANCE, "Retrieve Instance", (*_FILES, DICOM)),
)
METADATA = (
    Resource(f"{STUDY}/metadata", "Retrieve Study Metadata", (DICOM_JSON,)),
    Resource(f"{SERIES}/metadata", "Retrieve Series Metadata", (DICOM_JSON,)),
    Resource(f"{INSTANCE}/metadata", "Retrieve Instance Metadata", (DICOM_JSON,)),
)
PIXELS = Resource(FRAMES, "Retrieve Frames", _FRAMES)
BULK_DATA = Resource(f"{INSTANCE}/bulkdata/{{path:path}}", "Retrieve Bulk Data", _OCTETS)
RENDERED = (
    Resource(f"{STUDY}/rendered", "Retrieve Rendered Study", _PICTURES, _DRAW),
    Resource(f"{SERIES}/rendered", "Retrieve Rendered Series", _PICTURES, _DRAW),
    Resource(f"{INSTANCE}/rendered", "Retrieve Rendered Instance", _PICTURES, _DRAW),
    Resource(f"{FRAMES}/rendered", "Retrieve Rendered Frames", _PICTURES, _DRAW),
)
THUMBNAILS = (
    Resource(f"{STUDY}/thumbnail", "Retrieve Study Thumbnail", _PICTURES, _DRAW),
    Resource(f"{SERIES}/thumbnail", "Retrieve Series Thumbnail", _PICTURES, _DRAW),
    Resource(f"{INSTANCE}/thumbnail", "Retrieve Instance Thumbnail", _PICTURES, _DRAW),
    Resource(f"{FRAMES}/thumbnail", "Retrieve Frame Thumbnail", _PICTURES, _DRAW),
)
WADO_URI = Resource("/wado", "Retrieve by WADO-URI", (*_PICTURES, DICOM), (*_URI, *_URI_DRAW))
STORE = (
    Resource("/studies", "Store Instances", (DICOM_JSON,), method="POST"),
    Resource(STUDY, "Store Instances of a Study", (DICOM_JSON,), method="POST"),
)
READING = (*SEARCHES, *OBJECTS, *METADATA, PIXELS, BULK_DATA, *RENDERED, *THUMBNAILS, WADO_URI)
