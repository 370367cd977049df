"""The DICOMweb service as a foreign client sees it: dicomweb-client, unmodified, over HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import pytest
import requests  # noqa: TID251  the client's own library
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom.data import get_testdata_file
from tests.archive import READER, SENDER, archive, served, take_in
from tests.support import ct

from carina.node.site import Node


class Archive(NamedTuple):
    node: Node
    reader: DICOMwebClient
    sender: DICOMwebClient
    originals: list[bytes]


def client(url: str, secret: str) -> DICOMwebClient:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {secret}"
    session.trust_env = False
    return DICOMwebClient(f"{url}/dicom-web", session=session)


def test_file(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


test_file.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Two patients with a CT of three slices each, one of them with a second series, and a compressed MR."""
    files = [ct("A", number=number) for number in (1, 2, 3)] + [ct("B", number=number) for number in (1, 2, 3)]
    files += [ct("B", series=2), compressed()]
    with archive(tmp_path_factory.mktemp("archive"), files) as node, served(node) as url:
        reader, sender = client(url, READER), client(url, SENDER)
        yield Archive(node, reader, sender, files)
        for each in (reader, sender):
            each._session.close()


def compressed() -> bytes:
    """An MR slice in JPEG 2000 that says it is original."""
    dataset = pydicom.dcmread(io.BytesIO(test_file("MR_small_jp2klossless.dcm")))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def place(held: Archive, modality: str = "CT") -> tuple[str, str, str]:
    [found, *_] = held.reader.search_for_instances(search_filters={"Modality": modality, "InstanceNumber": "1"})
    return found["0020000D"]["Value"][0], found["0020000E"]["Value"][0], found["00080018"]["Value"][0]


def test_studies_are_found_and_counted(held: Archive) -> None:
    studies = held.reader.search_for_studies()
    assert len(studies) == 3
    counts = sorted(study["00201208"]["Value"][0] for study in studies)
    assert counts == [1, 3, 4]


def test_a_study_is_found_by_modality_date_range_and_pseudonym(held: Archive) -> None:
    [study] = held.reader.search_for_studies(search_filters={"ModalitiesInStudy": "MR"})
    again = held.reader.search_for_studies(search_filters={"PatientID": study["00100020"]["Value"][0]})
    assert again == [study]
    assert held.reader.search_for_studies(search_filters={"StudyDate": "19000101-19000102"}) == []
    assert len(held.reader.search_for_studies(search_filters={"PatientID": "P*"})) == 3


def test_paging_brings_each_instance_once(held: Archive) -> None:
    whole = held.reader.search_for_instances()
    paged = [one for offset in (0, 3, 6) for one in held.reader.search_for_instances(limit=3, offset=offset)]
    assert [one["00080018"] for one in paged] == [one["00080018"] for one in whole]
    assert len(whole) == 8


def test_series_and_instances_are_found_below_their_study(held: Archive) -> None:
    [study] = [one for one in held.reader.search_for_studies() if one["00201208"]["Value"] == [4]]
    uid = study["0020000D"]["Value"][0]
    series = held.reader.search_for_series(uid)
    assert sorted(one["00201209"]["Value"][0] for one in series) == [1, 3]
    assert len(held.reader.search_for_instances(uid)) == 4
    assert len(held.reader.search_for_instances(uid, series[0]["0020000E"]["Value"][0])) in (1, 3)


def test_fields_are_included_when_asked_for(held: Archive) -> None:
    one_ct = {"Modality": "CT"}
    plain = held.reader.search_for_instances(limit=1, search_filters=one_ct)[0]
    asked = held.reader.search_for_instances(limit=1, search_filters=one_ct, fields=["SliceThickness"])[0]
    assert "00180050" not in plain
    assert asked["00180050"]["Value"] == [1]


def test_a_whole_study_comes_back_as_files(held: Archive) -> None:
    uid = place(held)[0]
    files = held.reader.retrieve_study(uid)
    assert len(files) == len(held.reader.search_for_instances(uid))
    assert {file.StudyInstanceUID for file in files} == {uid}
    assert all(file.PatientName != "Garcia^Maria" for file in files)


def test_an_instance_has_the_pixels_that_were_sent(held: Archive) -> None:
    file = held.reader.retrieve_instance(*place(held))
    originals = [pydicom.dcmread(io.BytesIO(data)) for data in held.originals]
    assert any(np.array_equal(file.pixel_array, one.pixel_array) for one in originals if one.Modality == "CT")
    assert not any(file.SOPInstanceUID == one.SOPInstanceUID for one in originals)


def test_metadata_names_where_the_pixels_are(held: Archive) -> None:
    study, series, uid = place(held)
    metadata = held.reader.retrieve_instance_metadata(study, series, uid)
    assert metadata["00280010"]["Value"] == [32]
    [value] = held.reader.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])
    assert value == held.reader.retrieve_instance(study, series, uid).PixelData
    assert len(held.reader.retrieve_study_metadata(study)) == len(held.reader.search_for_instances(study))


def test_a_frame_is_the_pixels(held: Archive) -> None:
    place_of_one = place(held)
    [frame] = held.reader.retrieve_instance_frames(*place_of_one, [1])
    assert frame == held.reader.retrieve_instance(*place_of_one).PixelData


def test_a_compressed_frame_comes_as_stored_or_decompressed_as_accepted(held: Archive) -> None:
    where = place(held, "MR")
    [stored] = held.reader.retrieve_instance_frames(*where, [1], media_types=(("image/jp2", "1.2.840.10008.1.2.4.90"),))
    [native] = held.reader.retrieve_instance_frames(
        *where, [1], media_types=(("application/octet-stream", "1.2.840.10008.1.2.1"),)
    )
    assert stored[:4] == b"\xff\x4f\xff\x51"  # a JPEG 2000 code stream begins so
    assert native == pydicom.dcmread(io.BytesIO(compressed())).pixel_array.tobytes()


def test_a_compressed_instance_is_decompressed_for_who_asks_for_it(held: Archive) -> None:
    where = place(held, "MR")
    stored = held.reader.retrieve_instance(*where, media_types=(("application/dicom", "*"),))
    native = held.reader.retrieve_instance(*where, media_types=(("application/dicom", "1.2.840.10008.1.2.1"),))
    assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
    assert native.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert np.array_equal(stored.pixel_array, native.pixel_array)


@pytest.mark.parametrize(("media", "form"), [("image/png", "PNG"), ("image/jpeg", "JPEG")])
def test_a_frame_is_rendered_with_the_window_asked_for(held: Archive, media: str, form: str) -> None:
    where = place(held)
    data = held.reader.retrieve_instance_frames_rendered(
        *where, [1], media_types=(media,), params={"window": "-5000,10,linear", "viewport": "16,16"}
    )
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.size) == (form, (16, 16))
    assert picture.getextrema() == (255, 255)  # every value lies above the window


def test_what_is_sent_is_found_after_it_was_taken_in(held: Archive) -> None:
    sent = pydicom.dcmread(io.BytesIO(ct("C", number=7)))
    answer = held.sender.store_instances([sent])
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [sent.SOPInstanceUID]
    assert take_in(held.node) == ["archived"]
    assert len(held.reader.search_for_instances(search_filters={"InstanceNumber": "7"})) == 1
    held.node.audit.verify()
