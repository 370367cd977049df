"""A sample cohort as folders of files, as if a scanner had exported them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from carina.errors import BadSettings, Full
from carina.sample import cohort
from carina.sample.cohort import SampleStudy
from carina.sample.sites import Site

_FOLDERS = {
    "GE": ("PA{patient:06}/ST{study:06}/SE{series:06}", "IM{file:06}"),
    "SIEMENS": ("{patient:08X}/{study:08X}", "{file:08X}"),
    "Philips": ("DICOM/PAT{patient:03}_{study}", "IM_{file:04}"),
    "HOLOGIC": ("MG{patient:04}/{study}", "Breast_{file:03}.dcm"),
}
_ELSEWHERE = ("P{patient:05}S{study:02}", "{file:06}.DCM")


@dataclass(frozen=True)
class Report:
    """What was written."""

    folder: Path
    patients: int
    studies: int
    instances: int
    bytes: int

    def __str__(self) -> str:
        return (
            f"{self.patients} patients, {self.studies} studies, {self.instances} instances "
            f"({self.bytes / 1e6:.0f} MB) and clinical.csv in {self.folder}"
        )


def stream(study: SampleStudy) -> Iterator[bytes]:
    """The study's instances as Part 10 files, made one at a time as they are asked for.

    Raises `BadSettings` when the libraries of the `demo` extra are not installed.
    """
    missing = [name for name in ("numpy", "PIL", "pydicom", "highdicom") if find_spec(name) is None]
    if missing:
        raise BadSettings(
            f"The sample generator needs {', '.join(missing)}, not installed here.",
            "Install it with `pip install 'carina[demo]'`.",
        )
    from carina.sample.instances import instances

    return instances(study)


def write_study(folder: Path, study: SampleStudy) -> list[Path]:
    """The study's files beneath `folder`, in the folder names its machine's maker uses; the paths written."""
    place, name = _names(study)
    written = []
    for number, data in enumerate(stream(study), start=1):
        values = {"patient": study.patient.number, "study": study.index + 1, "series": 1, "file": number}
        path = folder / place.format(**values) / name.format(**values)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            hint = "Free some room on the disk, or choose another folder."
            raise Full("A file of the sample could not be written.", hint) from error
        written.append(path)
    return written


def write_cohort(folder: Path, site: Site, seed: int = 1, count: int = cohort.PATIENTS) -> Report:
    """A site's whole cohort beneath `folder`: `images/` and `clinical.csv`. Files of the same name are replaced."""
    people = cohort.patients(site, seed, count)
    studies = instances = size = 0
    for person in people:
        for study in cohort.studies(person):
            paths = write_study(folder / "images", study)
            studies += 1
            instances += len(paths)
            size += sum(path.stat().st_size for path in paths)
    (folder / "clinical.csv").write_text(cohort.clinical_csv(people), encoding="utf-8")
    return Report(folder, len(people), studies, instances, size)


def _names(study: SampleStudy) -> tuple[str, str]:
    for maker, names in _FOLDERS.items():
        if study.scanner.manufacturer.startswith(maker):
            return names
    return _ELSEWHERE
