"""Instances that follow one another in a series differ in few elements: the rest of a clean header is taken over.

Nothing but the time depends on it: only elements that say nothing of how an instance passes, of whose it is and of any
other element may differ, and each of these is cleaned by its rule as ever.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from pydicom.tag import Tag

from carina.deid.engine.admission import Admission
from carina.deid.engine.memo import Context, Entry
from carina.deid.engine.needles import Needle
from carina.deid.engine.walker import Pieces
from carina.deid.pixels.findings import Findings
from carina.model.instance import Facts

_INSTANCE = 0x00080018
_KEYWORDS = """
    InstanceCreationDate InstanceCreationTime SOPInstanceUID AcquisitionDate ContentDate AcquisitionDateTime
    SeriesTime AcquisitionTime ContentTime KVP SliceThickness SpacingBetweenSlices DataCollectionDiameter
    ReconstructionDiameter DistanceSourceToDetector DistanceSourceToPatient GantryDetectorTilt TableHeight
    ExposureTime XRayTubeCurrent Exposure ExposureInuAs GeneratorPower FocalSpots RepetitionTime EchoTime InversionTime
    TriggerTime NominalInterval CardiacNumberOfImages SAR dBdt FlipAngle CTDIvol TablePosition FrameReferenceTime
    ActualFrameDuration DecayFactor ScatterFractionFactor DoseCalibrationFactor
    AcquisitionNumber InstanceNumber ImagePositionPatient ImageOrientationPatient TemporalPositionIdentifier
    SliceLocation ImageIndex
    SmallestImagePixelValue LargestImagePixelValue WindowCenter WindowWidth RescaleIntercept RescaleSlope
"""
BY_ITSELF = frozenset(int(Tag(keyword)) for keyword in _KEYWORDS.split())
"""Attributes that decide nothing but what is written of themselves."""


@dataclass(frozen=True)
class Shared:
    """What must be equal beside the elements.

    pixels   how many bytes Pixel Data has; None without
    reading  the elements that all others are read by
    """

    syntax: str
    pixels: int | None
    reading: bytes = field(repr=False)
    findings: Findings | None = None

    @classmethod
    def of(cls, found: Pieces, reading: bytes, findings: Findings | None) -> Shared:
        """Of a file in pieces."""
        pixels = None if found.pixels is None else found.pixels[3] - found.pixels[2]
        return cls(found.syntax, pixels, reading, findings)


@dataclass(frozen=True)
class CleanHeader:
    """A clean header, and what it came from.

    elements    as they are written, by tag, in order
    actions     how often each rule was met
    needles     what the original names
    size        of the frames in Pixel Data, where these are native: bytes
    fragments   Pixel Data as it is written, where it is not native
    """

    entries: list[Entry] = field(repr=False)
    admission: Admission
    context: Context
    facts: Facts
    elements: dict[int, bytes] = field(repr=False)
    actions: Counter[str]
    needles: frozenset[Needle] = field(repr=False)
    size: int
    fragments: bytes = field(repr=False)
    shared: Shared | None = None

    @property
    def is_alike(self) -> bool:
        """Whether another header may be like this one: not if its pixels are a part of it."""
        return not self.fragments

    def like_this(self, entries: list[Entry], shared: Shared) -> CleanHeader | None:
        """The clean header of these elements; None where they differ too much."""
        if shared != self.shared or len(entries) != len(self.entries):
            return None
        pairs = [(old, new) for old, new in zip(self.entries, entries, strict=True) if old is not new]
        if not all(_differ_by_themselves(old, new) for old, new in pairs):
            return None
        elements, actions = dict(self.elements), self.actions.copy()
        needles = self.needles
        for old, new in pairs:
            clean = new.clean.get(self.context) or self.context.clean(new)
            if bool(clean.data) is not (new.number in elements):
                return None
            if clean.data:
                elements[new.number] = clean.data
            before = self.context.clean(old).actions
            if before != clean.actions:
                actions.subtract(before)
                actions.update(clean.actions)
            if old.needles != new.needles:
                needles = frozenset()
        if needles is not self.needles:
            needles = needles.union(*[entry.needles for entry in entries if entry.needles])
        return replace(self, entries=entries, elements=elements, actions=+actions, needles=needles)


def _differ_by_themselves(old: Entry, new: Entry) -> bool:
    if old.number != new.number or new.number not in BY_ITSELF or old.words or new.words:
        return False
    value = new.element.value
    return new.number != _INSTANCE or (isinstance(value, str) and bool(value.strip(" \0")))
