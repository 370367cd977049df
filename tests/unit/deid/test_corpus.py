"""Real files of many makers: each gives a clean instance or a named error, and what comes out holds no identifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from tests.support import corpus_files

from carina.deid.engine.rewrite import deidentify
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
from carina.deid.words.texts import is_ordinary
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import CarinaError
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance, RawInstance

LUNG = ProjectId("lung")
KEYS = ProjectKeys.of(b"k" * 32, LUNG)
EVERY = {"dcm_qa_nih": 100, "ny-sbu-ct": 6, "dicom-test-files": 3, "fo-dicom": 2}  # of many files one in so many


def samples() -> Iterator[bytes]:
    seen: Counter[str] = Counter()
    for path in corpus_files():
        seen[path.parent.name] += 1
        if seen[path.parent.name] % EVERY.get(path.parent.name, 1) == 0:
            yield path.read_bytes()


def uids(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from uids(item)
        elif element.VR == "UI" and isinstance(element.value, str):
            yield str(element.value)


def identifiers(dataset: Dataset) -> set[bytes]:
    """Names and identifiers long enough to mean something, and each UID that the standard has not given."""
    texts = {str(dataset.get(keyword, "")) for keyword in ("PatientID", "PatientName", "AccessionNumber")}
    texts |= {part for text in set(texts) for part in text.split("^")}
    found = {text for text in texts if len(text) >= (8 if text.isdecimal() else 4) and not is_ordinary(text.upper())}
    found |= {uid for uid in uids(dataset) if len(uid) > 12 and not uid.startswith("1.2.840.10008.")}
    return {text.encode() for text in found if text.isascii()}


def header_bytes(instance: CleanInstance) -> bytes:
    """The file without its pixels."""
    with quiet():
        dataset = pydicom.dcmread(BytesIO(instance.data))
        if "PixelData" in dataset:
            del dataset.PixelData
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def test_each_real_file_comes_out_clean_or_is_refused_by_name() -> None:
    outcomes: Counter[str] = Counter()
    profile = load_profile("basic")
    for data in samples():
        try:
            instance = deidentify(RawInstance(data), profile, KEYS, project=LUNG, default_issuer="HUS")
        except CarinaError as error:
            outcomes[getattr(error, "reason", type(error).__name__)] += 1
            continue
        outcomes["clean"] += 1
        with quiet():
            planted = identifiers(parse(data))
        left = header_bytes(instance)
        assert not [text for text in planted if text in left]
        assert parse(instance.data).PatientIdentityRemoved == "YES"
    assert outcomes["clean"] > 50, outcomes
