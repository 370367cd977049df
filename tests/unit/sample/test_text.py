"""How many of the sample's images must be searched for text: that decides how long the demonstration takes."""

from __future__ import annotations

import io
from collections import Counter

import pydicom

from carina.deid.pixels.findings import Need
from carina.deid.pixels.routes import pixel_need
from carina.deid.profile import load_profile
from carina.sample.cohort import patients, studies
from carina.sample.sites import SITES
from carina.sample.writing import stream

RESEARCH = load_profile("research").options


def test_few_of_the_demonstrations_images_need_a_search_and_some_do() -> None:
    """By one study of each kind at each site: what is drawn in it is decided by its kind and the site's machines."""
    needs: dict[tuple[str, str, bool], Counter[Need]] = {}
    total: Counter[Need] = Counter()
    for site in SITES:
        for study in (study for person in patients(site) for study in studies(person)):
            kind = (site.key, study.exam.kind, study.exam.segmented)
            if kind not in needs:
                images = (pydicom.dcmread(io.BytesIO(data)) for data in stream(study))
                needs[kind] = Counter(pixel_need(image, RESEARCH) for image in images)
            assert sum(needs[kind].values()) == study.instances
            total += needs[kind]
    assert 10 < total[Need.ALL] <= 30
    assert total[Need.SAMPLE] > 1000
