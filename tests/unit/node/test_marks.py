"""What a node writes into an image of its own de-identification is true of this very image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from sqlalchemy import select
from tests.support import LUNG, SCANNER, ct, open_test_node

from carina.deid.pixels.findings import Findings
from carina.deid.profile import load_profile
from carina.node import ingest, pixels, worker
from carina.node.site import Node, Project
from carina.storage.schema import instance_versions


def stored(node: Node) -> list[Dataset]:
    """All images of the archive."""
    with node.engine.connect() as connection:
        contents = connection.execute(select(instance_versions.c.content)).scalars().all()
    found = []
    for content in contents:
        with node.instances.open(content) as file:
            found.append(pydicom.dcmread(BytesIO(file.read())))
    return found


def test_of_a_layout_only_the_image_that_was_searched_says_so(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(data: bytes) -> Findings:
        seen.append(str(pydicom.dcmread(BytesIO(data)).InstanceNumber))
        return Findings((), "test")

    projects = {LUNG: Project(LUNG, "Lung", load_profile("research"), "HOSPITAL")}
    with open_test_node(tmp_path / "node", projects=projects, project_of={SCANNER: LUNG}, samples=True) as node:
        for number in range(1, 4):
            ingest.receive(node, ct(number=number), SCANNER)
        while worker.work(node, "test") or pixels.work(node, "pixels", look):
            pass
        images = stored(node)
    assert (len(images), len(seen)) == (3, 1)
    for image in images:
        searched = str(image.InstanceNumber) in seen
        codes = {item.CodeValue for item in image.DeidentificationMethodCodeSequence}
        assert (image.get("BurnedInAnnotation") == "NO") == searched == ("113101" in codes)
