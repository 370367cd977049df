from __future__ import annotations

import logging
import zlib
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from tests.support import corpus, ct, part10

from carina.dicom import parse as parsing
from carina.dicom.parse import identifiers, looks_like_dicom, parse
from carina.errors import CarinaError, InvalidInstance, NotDicom, Withheld
from carina.model.instance import Reason

FOLDER = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
FILES = sorted(FOLDER.glob("*.dcm"))
ODD_SETS = ("fo-dicom", "dicom", "deid-data", "dicom-test-files", "dcmqi")


def sample(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def with_syntax(uid: str) -> bytes:
    """A slice that claims another transfer syntax."""
    meta = parse(ct()).file_meta
    meta.TransferSyntaxUID = uid
    return parsing.part10(meta, ct()[ct().index(b"\x08\x00\x05\x00CS") :])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_of_pydicom_is_read_or_refused_with_a_named_error(path: Path) -> None:
    try:
        assert len(parse(path.read_bytes())) > 0
    except (NotDicom, InvalidInstance) as error:
        assert path.name in {"MR_truncated.dcm", "rtplan_truncated.dcm", "no_meta.dcm", "badVR.dcm"}, error


@pytest.mark.parametrize("name", ODD_SETS)
def test_every_odd_real_file_is_read_or_refused_with_a_named_error(name: str) -> None:
    paths = sorted((corpus() / name).glob("*.dcm"))
    assert paths
    read = 0
    for path in paths:
        data = path.read_bytes()
        if len(data) < 2_000_000:
            try:
                parse(data)
                read += 1
            except CarinaError:
                assert looks_like_dicom(data) or name == "fo-dicom"
    assert read > len(paths) * 0.6


@pytest.mark.parametrize(
    "text", [b"", b"a", b"Name,Value\n" * 50, b"%PDF-1.7" + bytes(500), bytes(200), b"\x89PNG" * 60]
)
def test_what_is_no_dicom_is_named_so(text: bytes) -> None:
    assert not looks_like_dicom(text)
    with pytest.raises(NotDicom):
        parse(text)


def test_a_file_without_preamble_or_meta_information_is_read() -> None:
    data = ct()
    start = data.index(b"\x08\x00\x05\x00CS")
    assert parse(data[start:]).PatientID == "MRN-0001"
    assert parse(data[128:]).PatientID == "MRN-0001"
    assert parse(data[132:]).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("name", ["ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "meta_missing_tsyntax.dcm"])
def test_a_missing_transfer_syntax_is_worked_out(name: str) -> None:
    dataset = parse(sample(name))
    assert len(dataset) > 1
    assert dataset.file_meta.TransferSyntaxUID in parsing.KNOWN_TRANSFER_SYNTAXES


def test_big_endian_and_deflated_and_padded_files_are_read() -> None:
    assert parse(sample("MR_small_bigendian.dcm")).Rows == 64
    assert parse(sample("image_dfl.dcm")).Rows == 512
    assert parse(sample("MR_small_padded.dcm")).Rows == 64
    assert parse(ct() + bytes(7)).Rows == 32
    assert parse(ct() + bytes(64)).Rows == 32


def test_a_cut_anywhere_is_found_or_leaves_whole_elements() -> None:
    whole = ct()
    pixels = len(whole) - 32 * 32 * 2
    for end in [*range(140, pixels, 7), *range(pixels - 11, len(whole), 97)]:
        try:
            dataset = parse(whole[:end])
        except CarinaError:
            continue
        assert "PixelData" not in dataset
        assert all(element.value == parse(whole)[element.tag].value for element in dataset)


def test_a_cut_inside_the_pixels_is_damage() -> None:
    for whole in (ct(), sample("MR_small_RLE.dcm"), sample("JPEG2000.dcm"), sample("image_dfl.dcm")):
        with pytest.raises(InvalidInstance, match="cut short"):
            parse(whole[:-100])


def test_a_header_cut_within_an_element_is_damage() -> None:
    with pytest.raises(InvalidInstance):
        parse(ct() + b"\xe1\x7f\x10\x00O")


def test_a_value_that_is_none_of_its_kind_is_damage() -> None:
    with pytest.raises(InvalidInstance, match="no number"):
        parse(ct().replace(b"DS\x08\x00-1024.0 ", b"DS\x08\x00secrets "))


def test_an_unknown_transfer_syntax_is_withheld_as_such() -> None:
    for uid in ("1.2.840.113619.5.2", "1.2.3.4", "1.2.840.10008.1.2.4.94"):
        with pytest.raises(Withheld) as caught:
            parse(with_syntax(uid))
        assert caught.value.reason == Reason.UNKNOWN_TRANSFER_SYNTAX


def nested(depth: int) -> bytes:
    innermost = Dataset()
    innermost.StudyID = "x"
    for _ in range(depth):
        outer = Dataset()
        outer.ContentSequence = [innermost]
        innermost = outer
    innermost.SOPClassUID, innermost.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3"
    return part10(innermost, ImplicitVRLittleEndian)


def test_sequences_may_be_nested_but_not_without_end() -> None:
    assert len(parse(nested(parsing.MAX_DEPTH)).ContentSequence) == 1
    with pytest.raises(InvalidInstance, match="too deeply"):
        parse(nested(parsing.MAX_DEPTH + 1))


def test_endless_nesting_of_undefined_length_does_not_break_the_reader() -> None:
    item = b"\x40\x00\x30\xa7SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    start = ct()
    with pytest.raises(InvalidInstance):
        parse(start[: start.index(b"\x08\x00\x05\x00CS")] + item * 5000)


def test_a_deflated_file_that_grows_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_INFLATED", 10_000)
    with pytest.raises(InvalidInstance, match="grows"):
        parse(deflated(bytes(10_000_000)))


def deflated(content: bytes) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = UID("1.2")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return parsing.part10(meta, packer.compress(content) + packer.flush())


def test_a_small_deflated_file_may_grow_to_many_times_its_size_only_while_that_is_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, UID("1.2.3")
    dataset.BitsAllocated, dataset.PixelData = 8, bytes(2_000_000)
    bomb = part10(dataset, DeflatedExplicitVRLittleEndian)
    assert len(bomb) * parsing.MAX_RATIO < len(dataset.PixelData)
    assert len(parse(bomb).PixelData) == 2_000_000
    monkeypatch.setattr(parsing, "SMALL_INFLATED", 100_000)
    with pytest.raises(InvalidInstance, match="grows"):
        parse(bomb)


def test_group_zero_and_two_are_not_in_the_dataset() -> None:
    data = ct()
    start = data.index(b"\x08\x00\x05\x00CS")
    command = b"\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"
    dataset = parse(data[:start] + command + data[start:])
    assert not [tag for tag in dataset.keys() if tag.group < 8]  # noqa: SIM118
    assert dataset.PatientID == "MRN-0001"


def test_no_error_and_no_log_line_quotes_a_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(InvalidInstance) as caught:
        parse(ct(elements={"PatientName": "Secret^Person"})[:-5])
    with pytest.raises(InvalidInstance):
        parse(ct().replace(b"DS\x08\x00-1024.0 ", b"DS\x08\x00secrets "))
    parse(ct().replace(b"ISO_IR 192", b"ISO_SECRET"))
    assert "ecret" not in caplog.text.lower() + caught.value.message + str(caught.value.__cause__)


def test_uids_are_read_from_the_beginning_as_they_were_sent() -> None:
    whole = parse(ct())
    names = identifiers(ct()[:1500])
    assert (names.sop_class, names.instance) == (whole.SOPClassUID, whole.SOPInstanceUID)
    assert identifiers(ct()).study == whole.StudyInstanceUID
    assert identifiers(b"no dicom") == parsing.Identifiers()
    assert "1.2.826" not in repr(names)


def test_a_dataset_gets_its_preamble_and_meta_information_back() -> None:
    dataset = parse(ct())
    body = ct()[ct().index(b"\x08\x00\x05\x00CS") :]
    again = parse(parsing.part10(dataset.file_meta, body))
    assert again == dataset
    assert again.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
