"""Volumes in other programs' terms, series of several volumes, images of several frames, and pictures of them."""

from __future__ import annotations

import base64
import builtins
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom import Dataset
from tests.unit.interfaces.client.slices import enhanced, slice_at, stack

from carina.errors import BadInput, BadSettings, InvalidInstance
from carina.interfaces.client.figure import figure, letters, window_of
from carina.interfaces.client.reading import volume_of, volumes_of
from carina.interfaces.client.show import Figure

SAGITTAL = [0, 1, 0, 0, 0, -1]


def block(name: str) -> Any:
    """What makes `import name` fail, as where it is not installed."""
    found = builtins.__import__

    def refuse(wanted: str, *rest: Any, **more: Any) -> Any:
        if wanted.split(".", maxsplit=1)[0] == name:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return found(wanted, *rest, **more)

    return refuse


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def leave_out(name: str) -> None:
        for loaded in [each for each in sys.modules if each.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setattr(builtins, "__import__", block(name))

    yield leave_out


def test_the_affine_is_from_column_row_slice_to_right_front_head() -> None:
    volume = volume_of(stack())
    x, y, z = volume.position(2, 1, 3)
    assert np.allclose(volume.affine @ (3, 1, 2, 1), (-x, -y, z, 1))
    sagittal = volume_of([slice_at([x, 5, 7], x + 1, ImageOrientationPatient=SAGITTAL) for x in range(3)])
    x, y, z = sagittal.position(1, 2, 3)
    assert np.allclose(sagittal.affine @ (3, 2, 1, 1), (-x, -y, z, 1))


def test_a_nifti_image_has_the_values_the_affine_and_no_names(tmp_path: Path) -> None:
    volume = volume_of(stack())
    volume.to_nifti(tmp_path / "ct.nii.gz")
    image = nibabel.load(tmp_path / "ct.nii.gz")
    assert image.shape == (4, 3, 3)
    assert np.array_equal(image.get_fdata()[3, 2, 1], volume.array[1, 2, 3])
    for affine, code in (image.header.get_sform(coded=True), image.header.get_qform(coded=True)):
        assert np.allclose(affine, volume.affine)
        assert code == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["descrip"].item() == b"Carina HU"
    assert not image.header.extensions


def test_simpleitk_knows_the_same_places(tmp_path: Path) -> None:
    volume = volume_of([slice_at([x, 5, 7], x + 1, ImageOrientationPatient=SAGITTAL) for x in range(3)])
    image = volume.to_sitk()
    assert image.GetSize() == (4, 3, 3)
    assert np.allclose(image.TransformIndexToPhysicalPoint((3, 2, 1)), volume.position(1, 2, 3))
    assert image.GetPixel(3, 2, 1) == volume.array[1, 2, 3]
    for name in ("ct.nrrd", "ct.mha", "ct.nii", "ct.nii.gz"):
        assert volume.save(tmp_path / name) == tmp_path / name
        again = SimpleITK.ReadImage(tmp_path / name)
        assert np.allclose(again.TransformIndexToPhysicalPoint((3, 2, 1)), volume.position(1, 2, 3), atol=1e-5)
        assert np.array_equal(SimpleITK.GetArrayFromImage(again), volume.array)
    with pytest.raises(BadInput, match="format"):
        volume.save(tmp_path / "ct.png")


@pytest.mark.parametrize(
    ("name", "extra", "call"),
    [
        ("nibabel", "images", "to_nifti"),
        ("SimpleITK", "sitk", "to_sitk"),
        ("PIL", "images", "_repr_html_"),
    ],
)
def test_a_part_that_is_not_installed_is_named(name: str, extra: str, call: str, without: Any) -> None:
    volume = volume_of(stack())
    without(name)
    with pytest.raises(BadSettings) as refused:
        getattr(volume, call)()
    assert refused.value.hint == f"Install it with: pip install 'carina[{extra}]'"


def test_reading_needs_the_images_part(without: Any) -> None:
    datasets = stack()
    without("numpy")
    with pytest.raises(BadSettings, match="not installed") as refused:
        volume_of(datasets)
    assert "carina[images]" in refused.value.hint


def test_stored_values_are_those_of_the_file() -> None:
    volume = volume_of(stack(), "stored")
    assert volume.array[0, 0, 0] == 100
    assert volume.unit == ""
    with pytest.raises(BadInput, match="no such units"):
        volume_of(stack(), "HU")  # type: ignore[arg-type]
    with pytest.raises(InvalidInstance, match="values of PET"):
        volume_of(stack(), "SUV")


def test_a_volume_says_where_it_comes_from() -> None:
    datasets = stack()
    volume = volume_of(datasets, node="https://node.example.org", dataset="urn:x")
    assert (volume.source.node, volume.source.dataset) == ("https://node.example.org", "urn:x")
    assert volume.source.study == datasets[0].StudyInstanceUID
    assert volume.source.series == datasets[0].SeriesInstanceUID
    assert volume.modality == "CT"


def echoes(order: list[int]) -> list[Dataset]:
    found = [slice_at([0, 0, z], 1 + z + 10 * echo, EchoTime=4.6 * (echo + 1)) for echo in (0, 1) for z in range(3)]
    return [found[place] for place in order]


def test_echoes_come_apart_each_with_its_key() -> None:
    first, second = volumes_of(echoes([5, 0, 3, 1, 4, 2]))
    assert (first.key, second.key) == ((("EchoTime", 4.6),), (("EchoTime", 9.2),))
    assert first.array[:, 0, 0].tolist() == [100 - 1024, 200 - 1024, 300 - 1024]
    assert second.array[:, 0, 0].tolist() == [1100 - 1024, 1200 - 1024, 1300 - 1024]


def test_a_value_that_differs_from_slice_to_slice_tells_no_volumes_apart() -> None:
    again = [slice_at([0, 0, z], 1 + z + 10 * turn, TriggerTime=z + 10 * turn) for turn in (0, 1) for z in range(3)]
    with pytest.raises(InvalidInstance, match="at the same place"):
        volumes_of(again)
    with pytest.raises(InvalidInstance, match="at the same place"):
        volumes_of([*echoes([0, 1, 2, 3, 4, 5]), slice_at([0, 0, 1], 77, EchoTime=13.8)])


def test_one_volume_has_no_key() -> None:
    (only,) = volumes_of(stack())
    assert only.key == ()


def test_a_hole_is_named_by_its_place() -> None:
    with pytest.raises(InvalidInstance) as refused:
        volume_of([slice_at([0, 0, z], z + 1) for z in (0, 1, 3, 4)])
    assert "between slices 2 and 3 of 4" in refused.value.hint


def test_the_frames_of_an_enhanced_image_are_slices() -> None:
    dataset = enhanced([30.0, 10.0, 20.0], slopes=[1, 2, 3])
    volume = volume_of([dataset])
    assert volume.spacing == (10, 0.5, 0.8)
    assert volume.origin == (-10, 20, 10)
    assert volume.array[:, 0, 0].tolist() == [2 * 12 - 5, 3 * 24 - 5, 1 * 0 - 5]
    assert volume.frames == (2, 3, 1)
    assert volume.instances == (dataset.SOPInstanceUID,) * 3
    assert volume.unit == "HU"


def test_nuclear_medicine_and_dose_step_along_their_normal() -> None:
    dataset = enhanced([0.0, 0.0, 0.0])
    del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
    dataset.PixelSpacing = [2, 2]
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [1, 2, 3], [1, 0, 0, 0, 1, 0]
    dataset.DetectorInformationSequence = [detector]
    dataset.SpacingBetweenSlices, dataset.SliceVector = -4, [1, 2, 3]
    dataset.FrameIncrementPointer = 0x00540080
    volume = volume_of([dataset])
    assert (volume.spacing, volume.origin) == ((4, 2, 2), (1, 2, -5))
    assert volume.frames == (3, 2, 1)
    del dataset.DetectorInformationSequence, dataset.SliceVector, dataset.FrameIncrementPointer
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [1, 2, 3], [1, 0, 0, 0, 1, 0]
    dataset.GridFrameOffsetVector, dataset.DoseGridScaling, dataset.DoseUnits = [0, 3, 6], 0.5, "GY"
    dose = volume_of([dataset])
    assert (dose.spacing, dose.origin, dose.unit) == ((3, 2, 2), (1, 2, 3), "Gy")
    assert dose.array[1, 0, 0] == 6


def test_a_header_that_cannot_be_read_or_kept_is_refused() -> None:
    with pytest.raises(InvalidInstance, match="header of an image"):
        volume_of(stack(Rows=None))
    giant = slice_at([0, 0, 0], Rows=65535, Columns=65535)
    with pytest.raises(InvalidInstance, match=r"larger than the memory|cannot be decoded"):
        volume_of([giant], size=100_000)


def test_a_mosaic_is_no_slice() -> None:
    with pytest.raises(InvalidInstance, match="mosaics"):
        volume_of(stack(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]))


def test_a_picture_is_upright_with_letters_and_true_proportions() -> None:
    volume = volume_of(stack())  # axial
    assert letters(volume, (0, 1, 2)) == ("A", "L", "P", "R")
    assert letters(volume, (1, 0, 2)) == ("H", "L", "F", "R")
    assert letters(volume, (2, 0, 1)) == ("H", "P", "F", "A")
    html = figure(volume)
    found = re.search(r'src="data:image/png;base64,([^"]+)" alt="([^"]+)"', html)
    assert found is not None
    assert found[2] == "Three middle planes of a volume: axial, coronal, sagittal."
    picture = Image.open(BytesIO(base64.b64decode(found[1])))
    # axial 1.5 × 3.2 mm, coronal 7.5 × 3.2, sagittal 7.5 × 1.5, the longest side 240 pixels, 20 of margin
    assert picture.size == (240 + 102 + 48 + 6 * 20, 240 + 2 * 20)
    assert "3 × 3 × 4" in html and "2.5 × 0.5 × 0.8" in html and "CT HU" in html
    assert volume.source.series in html
    assert "http" not in html  # nothing is fetched


def test_a_picture_is_windowed_as_its_values_ask() -> None:
    assert window_of(volume_of(stack())).name == "mediastinum"
    window = window_of(volume_of(stack(RescaleType="US")))
    assert -1024 <= window.center - window.width / 2 < window.center + window.width / 2 <= 1300


def test_a_notebook_shows_a_widget_that_holds_its_voxels(without: Any) -> None:
    volume = volume_of(stack())
    widget = volume.show()
    (layer,) = widget.volumes
    assert layer.url is None and layer.path is None
    assert nibabel.Nifti1Image.from_bytes(bytes(layer.data)).shape == (4, 3, 3)
    widget.close()
    without("ipyniivue")
    shown = volume.show()
    assert isinstance(shown, Figure)
    assert shown._repr_html_() == volume._repr_html_()


def test_the_widget_has_no_address_to_ask() -> None:
    """Its program names hosts in comments only: nothing that fetches by itself."""
    import ipyniivue

    program = (Path(ipyniivue.__file__).parent / "static" / "widget.js").read_text(encoding="utf-8")
    assert not re.findall(
        r"(?:fetch|importScripts|WebSocket|open|src\s*=|import)\s*\(?\s*[\"'`](?:https?:|wss?:|//)", program
    )
