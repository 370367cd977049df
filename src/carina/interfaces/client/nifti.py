"""Volumes and segmentations as images of nibabel and SimpleITK, and as files of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from carina.errors import BadInput, BadSettings

if TYPE_CHECKING:
    import nibabel
    import numpy as np
    import SimpleITK
    from numpy.typing import NDArray

    from carina.interfaces.client.segmentation import Segmentation
    from carina.interfaces.client.volume import Volume

NIFTI = (".nii", ".nii.gz")
OTHERS = (".nrrd", ".mha")


def missing(error: ModuleNotFoundError, extra: str) -> BadSettings:
    """What was asked for needs a part of the install that is not there."""
    return BadSettings(
        f"This needs a part that is not installed ({error.name}).", f"Install it with: pip install 'carina[{extra}]'"
    )


def nifti_of(
    array: NDArray[Any], affine: NDArray[np.float64], description: str, path: str | Path | None = None
) -> nibabel.Nifti1Image:
    """An array (slices, rows, columns) as NIfTI: axes columns, rows, slices, mm, sform and qform as of the scanner.

    affine       from (column, row, slice, 1) to mm, RAS
    description  at most 79 characters; it is all the text that the file holds
    """
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise missing(error, "images") from None
    made: Any = nibabel.Nifti1Image
    image: nibabel.Nifti1Image = made(array.transpose(2, 1, 0), affine)
    header: Any = image.header
    header.set_xyzt_units("mm")
    header["descrip"] = description.encode("ascii", "replace")[:79]
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    if path is not None:
        nibabel.save(image, _required(Path(path), NIFTI))
    return image


def sitk_of(
    array: NDArray[Any],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    direction: NDArray[np.float64],
) -> SimpleITK.Image:
    """An array (slices, rows, columns) as an image of SimpleITK, whose index is (column, row, slice); LPS."""
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise missing(error, "sitk") from None
    image: Any = SimpleITK.GetImageFromArray(array)
    image.SetSpacing([float(step) for step in spacing[::-1]])
    image.SetOrigin([float(value) for value in origin])
    image.SetDirection([float(value) for value in direction[::-1].T.ravel()])
    made: SimpleITK.Image = image
    return made


def save(image: Volume | Segmentation, path: Path) -> Path:
    """Write it in the format of the suffix."""
    if path.name.casefold().endswith(NIFTI):
        image.to_nifti(path)
        return path
    _required(path, OTHERS)
    made = image.to_sitk()
    import SimpleITK

    SimpleITK.WriteImage(made, str(path), useCompression=True)
    return path


def _required(path: Path, suffixes: tuple[str, ...]) -> Path:
    if not path.name.casefold().endswith(suffixes):
        raise BadInput(
            "The name of the file does not say its format.", f"Let it end in {', '.join((*NIFTI, *OTHERS))}."
        )
    return path
