"""Volumes of real series are those of SimpleITK and dcm2niix, and masks are those of highdicom."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from tests.support import CORPUS, corpus_files

from carina.dicom.quiet import quiet
from carina.dicom.segments import referenced_series
from carina.dicom.suv import suv_factor
from carina.errors import InvalidInstance
from carina.interfaces.client.reading import volume_of, volumes_of
from carina.interfaces.client.segmentation import segmentation_of
from carina.interfaces.client.volume import Volume

DCM2NIIX = Path(sys.executable).with_name("dcm2niix")
QUICK = ("torchio", "dcmqi", "rt-utils", "fo-dicom", "dicom", "highdicom", "dcm_qa_enh")
LONG = ("ny-sbu-ct", "dicom-test-files", "dcm_qa_nih", "dcm_qa_ts", "deid-data")

# Where another reader says otherwise, and why. Every other series must agree.
OTHERS = {"fo-dicom/00015_GH1308.dcm": ("direction", "of one slice, by the sign of a spacing between slices")}
GAP = "of one slice it takes the distance to a neighbour that is not there, and not the thickness"
TILT = "it shears a single slice by the tilt of the gantry"
NIIX = {
    "dicom/00002_3.dcm": ("affine", GAP),
    "dicom-test-files/00083_MR2_RLE.dcm": ("affine", GAP),
    "dicom-test-files/00084_MR3_RLE.dcm": ("affine", GAP),
    "dicom-test-files/00085_MR4_RLE.dcm": ("affine", GAP),
    "dicom-test-files/00105_MR-SIEMENS-DICOM-WithOverlays.dcm": ("2 images", "it makes an image of the overlay too"),
    "fo-dicom/00002_ct.dcm": ("affine", GAP),
    "fo-dicom/00003_mr.dcm": ("affine", GAP),
    "fo-dicom/00011_GH064.dcm": ("affine", GAP),
    "fo-dicom/00015_GH1308.dcm": ("affine", TILT),
    "fo-dicom/00019_GH1728.dcm": ("affine", TILT),
}
# Segmentations that highdicom does not read: it parses little endian only.
BIG_ENDIAN = {"dicom-test-files/00179_liver_expb.dcm", "dicom-test-files/00180_liver_expb_1frame.dcm"}
# Those that lie on a slide or a projection, and are no block in a patient.
FLAT = {"00002_seg_image_cr_binary.dcm"} | {
    f"{number:05d}_seg_image_sm_{kind}.dcm"
    for number, kind in enumerate(
        ("control", "control_labelmap", "control_labelmap_palette_color", "dots", "dots_tiled_full", "numbers"), 8
    )
}

Series = list[Path]


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """Real headers make pydicom warn."""
    with quiet():
        yield


@cache
def heads() -> list[tuple[Path, str, str]]:
    """Modality and Series Instance UID of each file."""
    found = []
    for path in corpus_files():
        try:
            head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality", "SeriesInstanceUID"])
            found.append((path, str(head.get("Modality")), str(head.get("SeriesInstanceUID"))))
        except Exception:  # not every file of the corpus is whole
            continue
    return found


@cache
def series() -> dict[str, Series]:
    """The CT, MR and PET series of the corpus by set and first file."""
    found: dict[tuple[str, str], Series] = defaultdict(list)
    for path, modality, uid in heads():
        if modality in {"CT", "MR", "PT"}:
            found[path.relative_to(CORPUS).parts[0], uid].append(path)
    return {f"{place}/{paths[0].name}": paths for (place, _), paths in found.items()}


def read(paths: Series) -> Iterator[pydicom.Dataset]:
    for path in paths:
        yield pydicom.dcmread(path)


def forming(sets: tuple[str, ...]) -> Iterator[tuple[str, Series, Volume]]:
    """Those that make one volume."""
    for name, paths in series().items():
        if name.split("/", 1)[0] in sets:
            try:
                yield name, paths, volume_of(read(paths))
            except InvalidInstance:
                continue


def of_sitk(paths: Series, volume: Volume) -> SimpleITK.Image:
    """The same files in the order of the volume's slices."""
    uids = {str(one.SOPInstanceUID): str(path) for path, one in zip(paths, read(paths), strict=True)}
    if len(set(volume.instances)) == 1:
        return SimpleITK.ReadImage(uids[volume.instances[0]])
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([uids[uid] for uid in volume.instances])
    return reader.Execute()


def differs(volume: Volume, image: SimpleITK.Image) -> str:
    """In what an image of SimpleITK is another one."""
    mine = volume.to_sitk()
    if image.GetDimension() != 3 or image.GetSize() != mine.GetSize():
        return "size"
    for name in ("Spacing", "Origin", "Direction"):
        theirs, ours = getattr(image, f"Get{name}")(), getattr(mine, f"Get{name}")()
        known = 2 if name == "Spacing" and volume.shape[0] == 1 else None  # of one slice, SimpleITK has no thickness
        if not np.allclose(theirs[:known], ours[:known], atol=1e-4):
            return name.lower()
    other = SimpleITK.GetArrayFromImage(image)
    return "" if np.allclose(other, volume.array, rtol=1e-5, atol=1e-4) else "values"


def compare(sets: tuple[str, ...]) -> dict[str, str]:
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    found = {}
    for name, paths, volume in forming(sets):
        try:
            found[name] = differs(volume, of_sitk(paths, volume))
        except RuntimeError:
            found[name] = "not read"
    return found


def niix(paths: Series, folder: Path) -> list[Path]:
    """What dcm2niix makes of the files."""
    source = folder / "source"
    source.mkdir(parents=True)
    for number, path in enumerate(paths):
        shutil.copyfile(path, source / f"{number}.dcm")
    command = [str(DCM2NIIX), "-b", "n", "-z", "n", "-f", "out_%s", "-o", str(folder), str(source)]
    subprocess.run(command, capture_output=True, timeout=60, check=False)
    return sorted(folder.glob("*.nii"))


def unlike_niix(volume: Volume, made: list[Path]) -> str:
    """In what dcm2niix's image is another one, both turned to the same axes."""
    if len(made) != 1:
        return f"{len(made)} images"
    mine = nibabel.as_closest_canonical(volume.to_nifti())
    other = nibabel.as_closest_canonical(nibabel.load(made[0]))
    if other.shape != mine.shape:
        return "size"
    if not np.allclose(other.affine, mine.affine, atol=1e-3):
        return "affine"
    scale = float(np.abs(volume.array).max()) or 1
    return "" if np.allclose(other.get_fdata(), mine.get_fdata(), rtol=1e-5, atol=1e-6 * scale) else "values"


def expected(known: dict[str, tuple[str, str]], names: set[str]) -> dict[str, str]:
    return {name: said for name, (said, _) in known.items() if name in names}


def test_volumes_of_real_series_are_those_of_simpleitk() -> None:
    found = compare(QUICK)
    assert len(found) >= 10
    assert {name: said for name, said in found.items() if said} == expected(OTHERS, set(found))


@pytest.mark.slow
def test_volumes_of_all_real_series_are_those_of_simpleitk() -> None:
    found = compare(QUICK + LONG)
    assert {name: said for name, said in found.items() if said} == expected(OTHERS, set(found))


def by_niix(sets: tuple[str, ...], folder: Path, least: int) -> dict[str, str]:
    return {
        name: unlike_niix(volume, niix(paths, folder / str(number)))
        for number, (name, paths, volume) in enumerate(forming(sets))
        if volume.shape[0] >= least
    }


def test_volumes_of_real_series_are_those_of_dcm2niix(tmp_path: Path) -> None:
    found = by_niix(QUICK, tmp_path, least=2)
    assert len(found) >= 8
    assert {name: said for name, said in found.items() if said} == expected(NIIX, set(found))


@pytest.mark.slow
def test_volumes_of_all_real_series_are_those_of_dcm2niix(tmp_path: Path) -> None:
    found = by_niix(QUICK + LONG, tmp_path, least=1)
    assert {name: said for name, said in found.items() if said} == expected(NIIX, set(found))


@pytest.mark.parametrize(
    ("name", "count", "keyword"),
    [
        ("dcm_qa_enh/00000_IM_0027_fMAP.dcm", 2, "EffectiveEchoTime"),
        ("dcm_qa_enh/00001_6_1.dcm", 4, "TemporalPositionIndex"),
    ],
)
def test_real_enhanced_series_come_apart_by_echo_and_time(name: str, count: int, keyword: str) -> None:
    found = volumes_of(read(series_named(name)))
    assert len(found) == count
    assert [[word for word, _ in volume.key] for volume in found] == [[keyword]] * count
    assert len({volume.key for volume in found}) == count


def series_named(name: str) -> Series:
    if name not in series():
        pytest.skip("this set is not in the corpus here")
    return series()[name]


def test_real_pet_has_plausible_uptake_by_body_weight() -> None:
    found = []
    for _name, paths, _ in forming(("dicom", "fo-dicom")):
        dataset = next(read(paths))
        if dataset.Modality == "PT" and dataset.Units == "BQML":
            volume = volume_of([dataset], "SUV")
            assert volume.unit == "SUV"
            assert np.allclose(volume.array, volume_of([dataset]).array * suv_factor(dataset), rtol=1e-5)
            found.append(float(volume.array.max()))
    assert len(found) == 3
    assert all(1 < most < 20 for most in found)


def segmentations() -> Iterator[tuple[str, pydicom.Dataset]]:
    for path, modality, _ in heads():
        if modality == "SEG" and path.name not in FLAT:
            yield f"{path.relative_to(CORPUS).parts[0]}/{path.name}", pydicom.dcmread(path)


def test_real_segmentations_are_those_of_highdicom() -> None:
    compared = 0
    for name, dataset in segmentations():
        mine = segmentation_of(dataset)
        if name in BIG_ENDIAN:
            assert mine.mask(1).sum() > 10_000
            continue
        theirs = highdicom.seg.Segmentation.from_dataset(dataset)
        numbers = [segment.number for segment in mine.segments]
        block = theirs.get_volume(segment_numbers=numbers, combine_segments=False, rescale_fractional=True)
        assert block.spatial_shape == mine.shape, name
        # highdicom counts slices against the cross product of columns and rows; the affine tells where they lie
        flip = np.dot(block.direction[:, 0], mine.lattice.direction[0]) < 0
        for place, number in enumerate(numbers):
            other = block.array[..., place].astype(float)
            assert np.allclose(other[::-1] if flip else other, mine.fraction(number), atol=1e-6), (name, number)
        corner = block.affine @ (block.spatial_shape[0] - 1 if flip else 0, 0, 0, 1)
        assert np.allclose(corner[:3], mine.lattice.origin, atol=1e-3), name
        compared += 1
    assert compared >= 8


def test_real_segmentations_lie_on_the_images_that_they_name() -> None:
    by_uid: dict[str, Series] = defaultdict(list)
    for path, modality, uid in heads():
        if modality in {"CT", "MR"}:
            by_uid[uid].append(path)
    on = 0
    for _name, dataset in segmentations():
        for uid in referenced_series(dataset):
            files = [path for path in by_uid[uid] if path.relative_to(CORPUS).parts[0] in {"dcmqi", "rt-utils"}]
            if not files:
                continue
            volume = volumes_of(read(files))[0]
            placed, own = segmentation_of(dataset, volume), segmentation_of(dataset)
            assert placed.shape == volume.shape
            assert np.array_equal(placed.affine, volume.affine)
            for segment in own.segments:
                assert placed.mask(segment.number).sum() == own.mask(segment.number).sum()
            on += 1
    assert on >= 8
