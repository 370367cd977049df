"""The clean header of a dataset: each element through its step, at the root and in every item of every sequence."""

from __future__ import annotations

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.pixels.lookup import put_tables
from carina.deid.rules.rule import Subject
from carina.deid.rules.steps import compiled, unlisted
from carina.deid.words import codes
from carina.deid.words.texts import REMOVED


def clean_header(dataset: Dataset, subject: Subject, options: tuple[str, ...]) -> Dataset:
    """The attributes that stay, in what form they stay; Pixel Data is for `pixels` to add."""
    steps = compiled(options)
    clean = Dataset()
    for element in dataset:
        tag = int(element.tag)
        step = steps.get(tag) or unlisted(tag, element.VR, options)
        written = step(element, subject)
        if written is None:
            continue
        if written.VR == "SQ":
            items = [clean_header(item, subject, options) for item in written.value or ()]
            written = DataElement(tag, "SQ", Sequence(items))
        clean[tag] = written
    codes.put_code(clean, dataset, subject.own)
    put_tables(clean, dataset)
    if clean.get("SegmentLabel") == REMOVED:
        clean.SegmentLabel = f"Segment {clean.get('SegmentNumber', 1)}"
    return clean
