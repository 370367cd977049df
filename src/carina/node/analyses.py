"""What an analysis computes on the members of a dataset, before anything is withheld.

docs/reference/signal-statistics.md defines the only one there is.
"""

from __future__ import annotations

import logging
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import and_, distinct, func, select

from carina.compute import moments
from carina.compute.groups import MODALITIES
from carina.compute.signal import MONOCHROME, frame_snr
from carina.dicom import frames
from carina.dicom.levels import tag_of
from carina.dicom.parse import parse
from carina.errors import CarinaError
from carina.model.job import Moments
from carina.node.site import Node
from carina.storage.members import Members, instances_within, series_within
from carina.storage.schema import instances, series, studies

OnProgress = Callable[[int], None]
"""Told how many percent of the series are done, after each."""

_PHOTOMETRIC = tag_of("PhotometricInterpretation")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computed:
    """What came of the images.

    groups    all of them, small ones too: not for outside
    patients  distinct patients of the dataset by group, with a value or without one; `total`: in all
    series    from which a value came
    empty     series whose image has no foreground to speak of
    left_out  series whose image could not be read or decoded
    """

    groups: tuple[Moments, ...]
    patients: dict[str, int]
    total: int
    series: int
    empty: int
    left_out: int


@dataclass(frozen=True)
class _Image:
    """The central image of a series."""

    patient: str
    modality: str
    series_uid: str
    content: str


def signal_statistics(node: Node, members: Members, on_progress: OnProgress) -> Computed:
    """The signal-to-noise ratio per modality: one value per patient, the median over the patient's series.

    An image that cannot be read or decoded is left out, logged and counted.
    """
    images = list(_central_images(node, members))
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    empty = left_out = 0
    for done, image in enumerate(images, start=1):
        try:
            ratio = _ratio(node, image)
        except CarinaError as error:
            left_out += 1
            _log.warning("image-left-out", extra={"series": image.series_uid, "error": type(error).__name__})
        else:
            empty += ratio is None
            if ratio is not None:
                ratios[image.modality, image.patient].append(ratio)
        on_progress(100 * done // len(images))
    values: dict[str, list[float]] = defaultdict(list)
    for (modality, _), of_patient in ratios.items():
        values[modality].append(statistics.median(of_patient))
    groups = tuple(moments.of(modality, values[modality]) for modality in sorted(values))
    patients, total = _patients_by_modality(node, members)
    return Computed(groups, patients, total, len(images) - empty - left_out, empty, left_out)


def _patients_by_modality(node: Node, members: Members) -> tuple[dict[str, int], int]:
    """Distinct patients with a member of each modality, images or not, as the dataset's description counts them.

    Then how many there are in all.
    """
    number = func.count(distinct(studies.c.patient))
    of_study = and_(studies.c.project == series.c.project, studies.c.study_uid == series.c.study_uid)
    within = (series.c.project == members.project) & series_within(members)
    each = select(series.c.modality, number).join(studies, of_study).where(within).group_by(series.c.modality)
    every = select(number).select_from(series).join(studies, of_study).where(within)
    with node.engine.connect() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(each)}, int(connection.execute(every).scalar_one())


def _ratio(node: Node, image: _Image) -> float | None:
    """Of the central frame of the image."""
    with node.instances.open(image.content) as file:
        dataset = parse(file.read())
    return frame_snr(dataset, frames.count(dataset) // 2 + 1, image.modality)


def _central_images(node: Node, members: Members) -> Iterator[_Image]:
    """One image for each series, in the order of patients."""
    photometric = instances.c.header[(_PHOTOMETRIC, "Value", 0)].as_string()
    of_series = and_(series.c.project == instances.c.project, series.c.series_uid == instances.c.series_uid)
    of_study = and_(studies.c.project == instances.c.project, studies.c.study_uid == instances.c.study_uid)
    wanted = (
        select(
            studies.c.patient,
            series.c.modality,
            instances.c.series_uid,
            instances.c.instance_number,
            instances.c.uid,
            instances.c.content,
        )
        .join(series, of_series)
        .join(studies, of_study)
        .where(
            instances.c.project == members.project,
            instances.c.frames > 0,
            func.upper(func.trim(photometric)).in_(sorted(MONOCHROME)),
            series.c.modality.in_(sorted(MODALITIES)),
            instances_within(members),
        )
        .order_by(studies.c.patient, instances.c.series_uid)
    )
    with node.engine.connect() as connection:
        rows = connection.execution_options(yield_per=1000).execute(wanted)
        for _, of_one in groupby(rows, key=lambda row: (row.patient, row.series_uid)):
            found = sorted(of_one, key=_place)
            row = found[len(found) // 2]
            yield _Image(row.patient, row.modality, row.series_uid, row.content)


def _place(row: Any) -> tuple[bool, int, str]:
    """By Instance Number, those without one last; then by UID."""
    return row.instance_number is None, row.instance_number or 0, row.uid
